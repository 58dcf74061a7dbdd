"""Audit a loss weighting in three phases: find out how it is called, measure it without a task, judge the evidence."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aura_study.audit.balancers import BalancerReport, audit_balancer, balancer_kind
from aura_study.audit.calls.call import ready_subjects
from aura_study.audit.calls.construct import COUNTS, named_by_arguments, task_names
from aura_study.audit.calls.make import Made, make_in_every_way
from aura_study.audit.evidence import Settings
from aura_study.audit.judge import judge
from aura_study.audit.laboratory import CannotAudit, laboratory, without_accelerator
from aura_study.audit.marks import Absence
from aura_study.audit.measuring.measure import measure
from aura_study.audit.report import Report


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

    Example:

    >>> from aura_study.losses import MaskedKendallLoss, UnmaskedKendallLoss
    >>> audit(MaskedKendallLoss, tasks=["depth", "normals"]).safe
    True
    >>> print(audit(UnmaskedKendallLoss, tasks=["depth", "normals"], absence="omit").findings[0].verdict)
    phantom
    """
    if absence is not None and absence not in set(Absence):
        raise ValueError(f"unknown absence {absence!r}; one of {[str(mark) for mark in Absence]}")
    mark = None if absence is None else Absence(absence)
    if tasks is not None:
        task_names(tasks)

    def work() -> Report | BalancerReport:
        told = tasks or named_by_arguments(make_module)
        failures = []
        for names in [task_names(told)] if told else map(task_names, COUNTS):
            try:
                return of_tasks(names)
            except CannotAudit as failure:
                failures.append(failure)
        raise failures[0]

    def of_tasks(names: Sequence[str]) -> Report | BalancerReport:
        made = make_in_every_way(make_module, names, args)
        for one in made.values() if call is None else ():
            if isinstance(one, Made) and (kind := balancer_kind(one.module)):
                return audit_balancer(one.way.make, kind, len(names), absence, one.way.text)
        subjects = ready_subjects(made, names, tasks is not None, call)
        measured = measure(subjects, mark, settings or Settings())
        return judge(measured)

    with laboratory():
        return without_accelerator(work)


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
