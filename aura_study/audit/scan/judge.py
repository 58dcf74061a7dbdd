"""Places of learned weighting and balancers, how absence is marked around each, and what reading alone can tell."""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from aura_study.audit.scan.absence import Mark, marks
from aura_study.audit.scan.balancers import Balancing, balancings
from aura_study.audit.scan.flow import Found, Place, Walk, Weighing
from aura_study.audit.scan.names import Names, called, statements
from aura_study.audit.scan.sources import Source


class Judgement(StrEnum):
    """What reading alone can tell."""

    LIKELY = "phantom likely"
    GUARDED = "guarded"
    OPEN = "cannot tell"


@dataclass(frozen=True)
class Finding:
    """One place.

    Attributes:
        file, line: where, relative to the path that was scanned.
        place: the same for a reader, with a notebook's cell.
        name: class or function; empty for a file's own statements.
        kind: "learned weighting" or "balancer".
        form: parameterisation, or the balancer's name.
        parameters: what is learned.
        absence: the marks of absence near it, each with its place.
        guards: how the place itself leaves an absent task out.
        judgement: by the rules of `_judged`.
        reason: in one sentence.
        advice: the command or the patch.
    """

    file: str
    line: int
    place: str
    name: str
    kind: str
    form: str
    parameters: tuple[str, ...]
    absence: tuple[str, ...]
    guards: tuple[str, ...]
    judgement: Judgement
    reason: str
    advice: str


GUARD_TEXT = {
    "none": "a loss of None is left out",
    "omit": "a task that is not among the losses is left out",
    "mask": "a mask multiplies the whole term",
    "zero": "a loss of 0 is left out",
    "skip": "a task without valid samples is left out",
    "NaN": "a loss that is no number is left out",
}
ZEROS = frozenset(("zero", "masked mean", "masked loss"))
HOLDS = frozenset(("zero", "mask", "skip"))
"""Marks that make a loss of 0, and the guards that hold against one; skipping and NaN reach no weighting."""
COMMAND = "aura-study audit "
PATCH = (
    "keep weight and regulariser in one term, and leave the whole of it out: "
    "sum(w * loss + r for w, r, loss in ... if loss is not None)"
)


def findings(source: Source, names: Names, uses: "Uses") -> Iterator[Finding]:
    """Every place that the file's classes, functions and statements lead to; one may stand in another file."""
    for met, guards in _weightings(source, names):
        first = min((weighing for _, weighing in met), key=lambda weighing: weighing.line)
        inside = guards.union(*(weighing.guards for _, weighing in met))
        near = _near(first.place, uses)
        where = first.place.source
        yield Finding(
            where.path,
            where.line(first.line),
            where.place(first.line),
            first.place.name,
            "learned weighting",
            first.form,
            tuple(sorted({parameter for parameter, _ in met})),
            tuple(f"{mark.kind} ({near_by.place(mark.line)})" for near_by, mark in near),
            tuple(sorted(inside - {"masked loss"})),
            *_judged(inside, {mark.kind for _, mark in near}),
            _command(first.place.source, first.place.scope),
        )
    for balancing in balancings(source):
        yield _balancer(balancing, uses)


def _balancer(found: Balancing, uses: "Uses") -> Finding:
    near = _near(Place(found.source, found.scope), uses)
    likely = any(mark.kind in ZEROS for _, mark in near)
    return Finding(
        found.source.path,
        found.source.line(found.line),
        found.source.place(found.line),
        found.name,
        "balancer",
        found.method,
        (),
        tuple(f"{mark.kind} ({source.place(mark.line)})" for source, mark in near),
        (),
        Judgement.LIKELY if likely else Judgement.OPEN,
        "a loss of 0 is balanced like any other" if likely else "no mark of absence near it",
        "aura_study.balancing.PresentOnly hands a balancer the present tasks alone",
    )


def _weightings(source: Source, names: Names) -> Iterator[tuple[list[tuple[str, Weighing]], frozenset[str]]]:
    """For each place: what weighs there and is also added, and the guards on the whole of it."""
    top = Walk(names, Place(source, source.tree), found := Found())
    top.statements(source.tree.body)
    yield from _met(found)
    for node in statements(source.tree.body):
        if isinstance(node, ast.ClassDef):
            known = {key: value for key, value in top.env.items() if "." not in key}
            Walk(names, Place(source, node), found := Found(), known).of_class(node)
            yield from _met(found)


def _met(found: Found) -> Iterator[tuple[list[tuple[str, Weighing]], frozenset[str]]]:
    places: dict[int, list[tuple[str, Weighing]]] = {}
    for parameter in sorted(found.regularised):
        for weighing in found.weighings.get(parameter, []):
            places.setdefault(id(weighing.place.scope), []).append((parameter, weighing))
    for met in places.values():
        if any(weighing.sounds for _, weighing in met):
            yield met, frozenset(guard for parameter, _ in met for guard in found.guards.get(parameter, ()))


def _near(place: Place, uses: "Uses") -> list[tuple[Source, Mark]]:
    """Marks in the place itself, in what calls it by name, and in the functions that either of them calls."""
    scopes: dict[int, tuple[Source, ast.AST]] = {id(place.scope): (place.source, place.scope)}
    scopes |= {id(scope): (source, scope) for source, scope in uses.callers.get(place.name, ())}
    for source, scope in list(scopes.values()):
        for name in uses.called_in(scope):
            scopes |= {id(function): (home, function) for home, function in uses.names.function(name, source)}
    found = {(source.path, mark): (source, mark) for source, scope in scopes.values() for mark in marks(source, scope)}
    return list(found.values())


class Uses:
    """Which class, function or file calls what."""

    def __init__(self, sources: Iterable[Source], names: Names) -> None:
        self.names = names
        self.callers: dict[str, list[tuple[Source, ast.AST]]] = {}
        self._called: dict[ast.AST, list[str]] = {}  # by the node: the id of one that is gone comes again
        for source in sources:
            own = ast.Module([node for node in source.tree.body if not hasattr(node, "name")], [])
            for scope in (own, *(node for node in source.tree.body if hasattr(node, "name"))):
                for name in self.called_in(scope):
                    self.callers.setdefault(name, []).append((source, scope))

    def called_in(self, scope: ast.AST) -> list[str]:
        """Names of what is called there, always in one order."""
        if scope not in self._called:
            names = {called(node) for node in ast.walk(scope) if isinstance(node, ast.Call)}
            self._called[scope] = sorted(names - {"", "__init__", "forward"})
        return self._called[scope]


def _judged(guards: frozenset[str], kinds: set[str]) -> tuple[Judgement, str]:
    """A zero that no guard holds back makes a phantom; a guard without such a zero holds; else reading cannot tell."""
    kinds, guards = kinds | (guards & {"masked loss"}), guards - {"masked loss"}
    held = "; ".join(GUARD_TEXT[guard] for guard in sorted(guards))
    if kinds & ZEROS and not guards & HOLDS:
        made = f"an absent task's loss is made by a {' and a '.join(sorted(kinds & ZEROS))}, and its regulariser stays"
        return Judgement.LIKELY, f"{made}, though {held}" if held else made
    if guards:
        return Judgement.GUARDED, held
    return Judgement.OPEN, "no mark of absence near it: safe if every task is in every step"


def _command(source: Source, scope: ast.AST) -> str:
    if isinstance(scope, ast.ClassDef) and source.path.endswith(".py") and re.fullmatch(r"[\w./-]+", source.path):
        return f"{COMMAND}{source.path}:{scope.name}"
    return PATCH
