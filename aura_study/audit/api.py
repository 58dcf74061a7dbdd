"""Audit a loss weighting: find out how it is called, mark each task absent in every way it accepts, measure, judge."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from aura_study.audit.balancers import BalancerReport, audit_balancer, balancer_kind
from aura_study.audit.build import CannotAudit, Construction, constructions, task_guesses, task_names
from aura_study.audit.conventions import Absence, Convention, adapter, candidates, named
from aura_study.audit.evidence import OPTIMISERS, Bench
from aura_study.audit.records import Evidence, Settings
from aura_study.audit.report import Report
from aura_study.audit.subject import Subject
from aura_study.audit.verdicts import MOVED, Finding, Verdict, distance, judge, worst

ADAPT = (
    "Say how it is called in one line: audit(make, tasks=[...], call=lambda module, losses: ...), where losses is a "
    "dict of scalars by task name and the result is the total (or one weight per task); a third argument `present` "
    "takes a mask. Or audit a function of no arguments that returns the module."
)

GUESSED_MASK = "its second argument was taken for a presence mask; if it is none, say how it is called with `call`"


def audit(
    make_module: Any,
    tasks: int | Sequence[str] | None = None,
    call: Callable[..., Any] | str | None = None,
    *,
    args: Mapping[str, Any] | Sequence[Any] | None = None,
    absence: str | None = None,
    settings: Settings | None = None,
) -> Report | BalancerReport:
    """Measure whether a loss weighting moves the weight of a task that is absent.

    Args:
        make_module: function of no arguments that makes the weighting, its class, or an instance (copied, untouched).
        tasks: number or names of its tasks; found by trial if not given.
        call: how to call it: ``call(module, losses)`` or ``call(module, losses, present)`` with a dict of scalars by
            name and a boolean tensor ``(tasks,)``, or the name of a built-in way, ``[METHOD:]FORM[+mask]`` with FORM
            one of varargs, keywords, mapping, list, stacked; found by trial if not given.
        args: constructor arguments, by name or in order; the tasks' number or names are tried if not given.
        absence: the one way of marking a task absent to ask about; all that the module accepts if not given.
        settings: learning rate and length of the absence.

    Returns:
        A report with one finding per mark. A module that takes a presence mask is told of an absence by that mask:
        its findings are those with the mask, and what a bare 0 would do is a note. A balancer that combines gradients
        or learns nothing from its total (see `aura_study.audit.balancers`) is audited by its update.

    Raises:
        CannotAudit: no way to make or call the module was found, or it accepts no mark; says why and how to adapt.
        ValueError: an unknown ``absence`` or built-in ``call``, fewer than two tasks, or repeated names.
    """
    if absence is not None and absence not in set(Absence):
        raise ValueError(f"unknown absence {absence!r}; one of {[str(mark) for mark in Absence]}")
    settings = settings or Settings()
    if call is None and (report := _as_balancer(make_module, tasks, args, absence)) is not None:
        return report
    with _laboratory():
        construction, names, conventions = _find(make_module, tasks, call, args)
        wanted = tuple(Absence) if absence is None else (Absence(absence),)
        return _report(construction, names, conventions, wanted, settings, asked=absence is not None)


def assert_no_phantom_gradient(make_module: Any, *arguments: Any, **options: Any) -> Report | BalancerReport:
    """`audit`, for a test: returns the report if every way of marking a task absent is safe.

    Raises:
        AssertionError: not safe; the message is the report.
        CannotAudit: as `audit`.
    """
    report = audit(make_module, *arguments, **options)
    if not report.safe:
        raise AssertionError(str(report))
    return report


@contextmanager
def _laboratory() -> Iterator[None]:
    """Own random state, gradients on, warnings of the audited code off."""
    with (
        torch.random.fork_rng(devices=[]),
        torch.inference_mode(False),
        torch.enable_grad(),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


def _seeded(make: Callable[[], Any]) -> Callable[[], Any]:
    def make_alike() -> Any:
        torch.manual_seed(0)
        return make()

    return make_alike


def _as_balancer(
    target: Any, tasks: int | Sequence[str] | None, args: Mapping[str, Any] | Sequence[Any] | None, absence: str | None
) -> BalancerReport | None:
    """The report on a balancer that is audited by its update; None for anything else."""
    names = task_names(tasks)
    try:
        found = list(constructions(target, names, args))
    except CannotAudit:
        return None
    for construction in found:
        with _laboratory():
            try:
                make = _seeded(construction.make)
                kind = balancer_kind(make())
            except (Exception, SystemExit):  # not made this way; the audit of weightings says why if no way is found
                continue
            if kind is not None:
                return audit_balancer(make, kind, len(names), absence, construction.text)
    return None


def _find(
    target: Any,
    tasks: int | Sequence[str] | None,
    call: Callable[..., Any] | str | None,
    args: Mapping[str, Any] | Sequence[Any] | None,
) -> tuple[Construction, tuple[str, ...], list[Convention]]:
    """The first construction with a convention that works, and all the conventions that do."""
    names = task_names(tasks)
    failures: list[str] = []
    for construction in constructions(target, names, args):
        try:
            module = _seeded(construction.make)()
            if module is None or isinstance(module, torch.Tensor | int | float | str):
                raise TypeError(f"gave {type(module).__name__}, not a loss weighting")
            guesses = [names] if construction.told or tasks is not None else task_guesses(module)
        except (Exception, SystemExit) as error:
            failures.append(f"{construction.text}: {describe(error)}")
            continue
        for guess in guesses:
            working = _working(construction, guess, call, failures)
            if working:
                return construction, guess, working
    shown = list(dict.fromkeys(failures))[:8] or ["nothing to call was found"]
    raise CannotAudit("No way of calling it gave a total:\n  " + "\n  ".join(shown), ADAPT)


def _working(
    construction: Construction, names: tuple[str, ...], call: Callable[..., Any] | str | None, failures: list[str]
) -> list[Convention]:
    module = _seeded(construction.make)()
    options = (
        candidates(module, names) if call is None else named(call, module) if isinstance(call, str) else [adapter(call)]
    )
    working: list[Convention] = []
    for convention in options:
        if any(convention.name == other.name for other in working):
            continue  # a mask of another kind
        try:
            subject = Subject(_seeded(construction.make), convention, names)
            subject.probe({name: 1.0 + 0.25 * i for i, name in enumerate(names)})
            working.append(convention)
        except (Exception, SystemExit) as error:
            failures.append(f"{construction.text}, {len(names)} tasks, {convention.text}: {describe(error)}")
    return working


def _report(
    construction: Construction,
    names: tuple[str, ...],
    conventions: list[Convention],
    wanted: Sequence[Absence],
    settings: Settings,
    asked: bool,
) -> Report:
    findings: list[Finding] = []
    refused: dict[Absence, str] = {}
    notes: list[str] = []
    benches: dict[str, Bench] = {}
    takes_mask = any(convention.masked for convention in conventions)
    if takes_mask and not asked:
        wanted = [mark for mark in wanted if mark != Absence.TINY]  # the note on 0 says what a loss without mask does
    for mark in wanted:
        options = [convention for convention in conventions if mark in convention.marks]
        if mark == Absence.NAN and takes_mask:
            options = [convention for convention in options if convention.masked]
        error = f"no way of calling it can say that {mark} marks an absence"
        for convention in options:
            try:
                if convention.name not in benches:
                    benches[convention.name] = Bench(_seeded(construction.make), convention, names, settings)
                finding = _finding(benches[convention.name], mark)
            except (Exception, SystemExit) as raised:
                error = describe(raised)
                continue
            finally:
                if convention.name in benches:
                    benches[convention.name].leave()
            if convention.guessed_mask and GUESSED_MASK not in notes:
                notes.append(GUESSED_MASK)
            if takes_mask and not asked and mark == Absence.ZERO and not convention.masked:
                notes.append(_without_mask(finding))
            else:
                findings.append(finding)
            break
        else:
            refused[mark] = error
    if not findings:
        reasons = "; ".join(f"{mark}: {reason}" for mark, reason in refused.items())
        raise CannotAudit(f"It accepts no such way of marking a task absent ({reasons})", ADAPT)
    return Report(construction.text, names, settings, tuple(findings), refused, tuple(notes))


def _finding(bench: Bench, mark: Absence) -> Finding:
    bench.accepts(mark)
    drifts = tuple(bench.drift(mark, task, optimiser) for optimiser in OPTIMISERS for task in bench.tasks)
    evidence = Evidence(mark, bench.convention, bench.warm, drifts)
    if any(drift.broke_at is not None for drift in drifts) or bench.warm.responds is None:
        return judge(evidence, bench.settings)
    moved = distance(worst(drifts).growth) > MOVED
    if not moved:
        residue = bench.residue(mark, bench.tasks[0])
        return judge(Evidence(mark, bench.convention, bench.warm, drifts, residue=residue), bench.settings)
    returns = {
        optimiser: bench.come_back(mark, worst([d for d in drifts if d.optimiser == optimiser]).task, optimiser)
        for optimiser in OPTIMISERS
    }
    ceiling = bench.ceiling(mark, worst(drifts).task)
    return judge(Evidence(mark, bench.convention, bench.warm, drifts, returns, ceiling), bench.settings)


def _without_mask(finding: Finding) -> str:
    verdict = "is safe too" if finding.verdict == Verdict.SAFE else f"is {finding.verdict}: {finding.reason}"
    return f"it takes a presence mask; without the mask, a loss of 0 counts as present and {verdict}"


def describe(error: BaseException) -> str:
    """An error in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
