"""The lines of a method that weigh its losses, cut out of its source: an adapter for a module that computes its own."""

import ast
import builtins
import copy
import inspect
import re
import textwrap
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from aura_study.audit.calls.methods import function_of

LOSS = re.compile(r"loss|criterion|cross_entropy|nll|bce|mse|kl_div|dice", re.IGNORECASE)
SHORT = re.compile(r"l\d*|l_\w+|\w+_l|ce\d*|[a-z]+_(ce|bce|mse|l1|l2|nll|kl)")
GIVEN = "given"
"""Name, in an adapter, of the losses that are still to be taken."""
NOUGHT = re.compile(r"0|.*(zeros|zeros_like|tensor)\(.*\)$")
"""What a sum begins with."""
TOTAL = re.compile(r"total|loss|objective", re.IGNORECASE)


@dataclass(frozen=True)
class Excerpt:
    """What is left of a method once its losses are given.

    Attributes:
        tasks: names of the losses, in the order in which they are used.
        lines: of Python, with ``losses`` by these names and ``module``; the last returns the total.
    """

    tasks: tuple[str, ...]
    lines: tuple[str, ...]


def excerpt(module: Any, method: str, tasks: Sequence[str]) -> Excerpt | None:
    """The end of a method, from where it first reads what the module learns; None where that needs more than losses.

    Args:
        module: its own scalars and vectors are what it learns.
        method: a name, ``"__call__"`` for ``forward``.
        tasks: names for losses of which the source does not tell any.
    """
    if not isinstance(module, nn.Module):
        return None
    called = function_of(module, "forward" if method == "__call__" else method)
    function: Any = inspect.unwrap(getattr(called, "__func__", called))
    learned, tree = set(_learned(module)), _source(function)
    if tree is None or not learned or not tree.args.args:
        return None
    own = tree.args.args[0].arg
    places = (place for place, line in enumerate(tree.body) if _reads(line, own, learned))
    cuts = (_cut(copy.deepcopy(tree), place, own, learned, function, tasks) for place in places)
    return next(filter(None, cuts), None)


def _cut(
    tree: ast.FunctionDef, start: int, own: str, learned: set[str], function: Any, tasks: Sequence[str]
) -> Excerpt | None:
    """The lines from that place on; None where they need more than losses."""
    before, after = tree.body[:start], [line for line in tree.body[start:] if not isinstance(line, ast.Expr)]
    end = next((place for place, line in enumerate(after) if isinstance(line, ast.Return)), None)
    last = after[end] if end is not None else None
    if not isinstance(last, ast.Return) or last.value is None:
        return None
    after = [*after[:end], ast.copy_location(ast.Return(_total(last.value)), last)]
    if not any(_reads(line, own, learned) for line in after):
        return None
    known = {own, *vars(builtins), *function.__globals__}
    looped = _one_by_one(after, own, learned, known)
    after = [*_beginnings(_unknown(after, known), before, known), *after]
    given = _unknown(after, known)
    arguments = {node.arg for node in ast.walk(tree.args) if isinstance(node, ast.arg)}
    handed = (tuple(tasks), f"{GIVEN} = iter(losses.values())") if looped else _handed(given, before, tasks)
    if handed is None or arguments & set(given) or (looped and set(given) != {GIVEN}):
        return None
    foreign = [name for name in _free(after) if name in function.__globals__ and name != "torch"]
    named = [_import(name, function) for name in foreign if not hasattr(builtins, name)]
    shown = [ast.unparse(ast.fix_missing_locations(_Renamed(own).visit(line))) for line in after]
    return Excerpt(handed[0], (*named, handed[1], *(part for line in shown for part in line.splitlines())))


def _one_by_one(after: list[ast.stmt], own: str, learned: set[str], known: set[str]) -> bool:
    """Whether a loop makes a loss at each turn and weighs it; it takes the next of those given then, in place."""
    for line in after:
        if not isinstance(line, ast.For) or not _reads(line, own, learned):
            continue
        made = next((i for i, inner in enumerate(line.body) if _reads(inner, own, learned)), 0)
        setting = next((i for i in range(made) if _sets_a_loss(line.body[i])), None)
        if setting is None or any(isinstance(node, ast.Continue) for one in line.body[:made] for node in ast.walk(one)):
            return False  # a turn that is passed over is what the audit asks about
        loss = line.body[setting]
        taken = ast.parse(f"{ast.unparse(loss.targets[0])} = next({GIVEN})").body[0]  # type: ignore[attr-defined]
        line.body[: setting + 1] = [ast.copy_location(taken, loss)]
        line.body = [inner for inner in line.body if not _only_notes(inner)]
        if set(_unknown([ast.copy_location(ast.Expr(line.iter), line)], known)):
            first = line.target.elts[0] if isinstance(line.target, ast.Tuple) else line.target
            line.target, line.iter = first, ast.parse("range(len(losses))", mode="eval").body
            known |= {"losses"}
        return True
    return False


def _sets_a_loss(line: ast.stmt) -> bool:
    named = isinstance(line, ast.Assign) and len(line.targets) == 1 and isinstance(line.targets[0], ast.Name)
    return named and _is_loss(line.targets[0].id, [line.value])  # type: ignore[attr-defined]


def _only_notes(line: ast.stmt) -> bool:
    """Whether a line is a call whose answer nobody reads: a log, a list that is appended to."""
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Call)


def _beginnings(names: Sequence[str], before: Sequence[ast.stmt], known: set[str]) -> list[ast.stmt]:
    """The lines that give a value to what is no loss, such as a sum's first, from what is known."""
    lines: list[ast.stmt] = []
    for name in names:
        setting = [line for line in before if isinstance(line, ast.Assign) and _sets(line, name)]
        if len(setting) == 1 and (
            NOUGHT.match(ast.unparse(setting[0].value)) or not _is_loss(name, [setting[0].value])
        ):
            lines += setting if not _unknown([ast.copy_location(ast.Expr(setting[0].value), setting[0])], known) else []
    return lines


def _unknown(lines: Sequence[ast.stmt], known: set[str]) -> list[str]:
    return [name for name in _free(lines) if name not in known]


def _source(function: Any) -> ast.FunctionDef | None:
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    except (OSError, TypeError, SyntaxError):
        return None
    return body[0] if isinstance(body[0], ast.FunctionDef) else None


def _learned(module: nn.Module) -> Iterator[str]:
    """Names of attributes that hold scalars or vectors and no matrix: no layer, and no norm of one."""
    yield from (name for name, leaf in module.named_parameters(recurse=False) if leaf.ndim < 2)
    for name, child in module.named_children():
        leaves = list(child.parameters())
        if leaves and all(leaf.ndim < 2 for leaf in leaves) and "norm" not in type(child).__name__.lower():
            yield name


def _reads(line: ast.stmt, own: str, learned: set[str]) -> bool:
    return any(
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == own
        and node.attr in learned
        for node in ast.walk(line)
    )


def _total(value: ast.expr) -> ast.expr:
    """The total in what is returned: itself, the first of several, or the entry that is named so."""
    if isinstance(value, ast.Tuple) and value.elts:
        return value.elts[0]
    if isinstance(value, ast.Dict) and value.values:
        keys = [key.value if isinstance(key, ast.Constant) else "" for key in value.keys]
        ranked = sorted(range(len(keys)), key=lambda place: not TOTAL.search(str(keys[place])))
        return value.values[ranked[0]]
    return value


def _free(lines: Sequence[ast.stmt], bound: set[str] | None = None) -> list[str]:
    """Names that are read before anything of the lines gives them a value, in the order in which they are read."""
    bound = set() if bound is None else bound
    found: dict[str, None] = {}
    for line in lines:
        blocks = [block for name in ("body", "orelse") if (block := getattr(line, name, None))]
        inside = {node for block in blocks for inner in block for node in ast.walk(inner)}
        nodes = [node for node in ast.walk(line) if node not in inside]
        names = [node for node in nodes if isinstance(node, ast.Name)]
        scopes = [part.target for part in nodes if isinstance(part, ast.comprehension | ast.For)]
        inner = {node.id for target in scopes for node in ast.walk(target) if isinstance(node, ast.Name)}
        added = {line.target.id} if isinstance(line, ast.AugAssign) and isinstance(line.target, ast.Name) else set()
        read = sorted((node for node in names if isinstance(node.ctx, ast.Load)), key=_place)
        found |= dict.fromkeys(node.id for node in read if node.id not in bound | inner)
        found |= dict.fromkeys(added - bound)
        bound |= {node.id for node in names if isinstance(node.ctx, ast.Store)}
        for block in blocks:
            found |= dict.fromkeys(_free(block, bound))
    return list(found)


def _place(node: ast.Name) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _handed(
    names: Sequence[str], before: Sequence[ast.stmt], tasks: Sequence[str]
) -> tuple[tuple[str, ...], str] | None:
    """Names of the tasks, and the line that hands their losses over; None where a name is no loss."""
    values = {name: _values(name, before) for name in names}
    if not names or not all(_is_loss(name, values[name]) for name in names):
        return None
    if len(names) > 1:
        return tuple(re.sub(r"^loss_|_loss$", "", name) for name in names), f"{', '.join(names)} = losses.values()"
    (name,) = names
    for value in values[name]:
        inner = value.args[0] if isinstance(value, ast.Call) and value.args else value
        if isinstance(value, ast.Dict) and value.keys and all(isinstance(key, ast.Constant) for key in value.keys):
            return tuple(
                str(key.value) for key in value.keys if isinstance(key, ast.Constant)
            ), f"{name} = dict(losses)"
        if isinstance(inner, ast.List | ast.Tuple) and inner.elts:
            every = "list(losses.values())" if inner is value else "torch.stack(list(losses.values()))"
            return tuple(f"task_{place}" for place in range(len(inner.elts))), f"{name} = {every}"
    empty = any(isinstance(value, ast.Dict) or ast.unparse(value) == "dict()" for value in values[name])
    return tuple(tasks), f"{name} = dict(losses)" if empty else f"{name} = list(losses.values())"


def _values(name: str, lines: Sequence[ast.stmt]) -> list[ast.expr]:
    """What the lines assign to a name."""
    nodes = [node for line in lines for node in ast.walk(line) if isinstance(node, ast.Assign | ast.AnnAssign)]
    return [node.value for node in nodes if node.value is not None and _sets(node, name)]


def _sets(line: ast.Assign | ast.AnnAssign, name: str) -> bool:
    targets = line.targets if isinstance(line, ast.Assign) else [line.target]
    return any(isinstance(node, ast.Name) and node.id == name for target in targets for node in ast.walk(target))


def _is_loss(name: str, values: Sequence[ast.expr]) -> bool:
    return bool(LOSS.search(name) or SHORT.fullmatch(name)) or any(LOSS.search(ast.unparse(value)) for value in values)


def _import(name: str, function: Any) -> str:
    held = function.__globals__[name]
    if isinstance(held, types.ModuleType):
        return f"import {held.__name__} as {name}"
    return f"{name} = module.{function.__name__}.__globals__[{name!r}]"


class _Renamed(ast.NodeTransformer):
    """What a method calls itself is ``module`` in the adapter."""

    def __init__(self, own: str) -> None:
        self._own = own

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.copy_location(ast.Name("module", node.ctx), node) if node.id == self._own else node
