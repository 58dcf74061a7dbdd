"""The audit of balancers: what an absent task does to the others' update, and what it leaves behind.

A loss weighting is audited by the motion of its weights (`aura_study.audit.api`). A balancer may have no weights to
follow: it may combine gradients, keep a history, or need an epoch to end. It is audited by its answer instead, against
the same balancer on the present tasks alone (`PresentOnly`), on a few steps of random losses and gradients:

==========  ===========================================================================================================
unstable    the update is NaN, or 0 or next to nothing, while the task is away or on its return
phantom     the update of the step on which the task returns is not what it would have been: the state moved
disturbed   the update of the present tasks is shorter or points elsewhere while the task is away
safe        none of these
==========  ===========================================================================================================
"""

import copy
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aura_study.audit.laboratory import CannotAudit, say
from aura_study.audit.marks import MARK_TEXT, Absence
from aura_study.audit.report import Findings, Verdict
from aura_study.audit.solved_balancer import solve
from aura_study.balancing import Broken, Effect, Kind, PresentOnly
from aura_study.balancing.effects import distance, in_words, return_in_words
from aura_study.balancing.session import Answer, Fill, Session, same_draws

PARAMS, WARM, AWAY, EPOCH = 24, 6, 6, 2
GRADIENT_NAMES = ("jacobian", "gradients", "grads", "jac", "matrix")
FIX = "Hand over the present tasks only and keep the others' state still: aura_study.balancing.PresentOnly(balancer)."
FILLS = {
    Absence.ZERO: Fill.ZERO,
    Absence.TINY: Fill.TINY,
    Absence.NAN: Fill.NAN,
    Absence.OMIT: Fill.LEFT_OUT,
    Absence.MASK: Fill.NAN,
}


@dataclass(frozen=True)
class BalancerFinding:
    """The verdict on one way of marking a task absent.

    Attributes:
        absence: the mark.
        verdict: by the rules of this module.
        reason: in one sentence.
        during, after: effects on the update while the task is away, at the worst step, and on its return.
        length, cosine: of the worst step's update, over and against the present-only one.
        growth: of the returning task's share of the weights; NaN where the balancer has none.
        call: how it was called, as Python.
        notes: further findings, one sentence each.
    """

    absence: Absence
    verdict: Verdict
    reason: str
    during: Effect
    after: Effect
    length: float
    cosine: float
    growth: float
    call: str
    notes: tuple[str, ...] = ()

    @property
    def tried(self) -> str:
        """Name of the mark."""
        return str(self.absence)


@dataclass(frozen=True)
class BalancerReport(Findings[BalancerFinding]):
    """What the audit of a balancer found. Has the verdict, exit code and form of a weighting's report.

    Attributes:
        target: class of the balancer.
        tasks: number of tasks.
        kind: what it takes.
        findings: one per mark that it accepts.
        not_accepted: marks at which it raises, with the error.
        solved: how it breaks on a task that is present and solved, and a sentence, which decide nothing; None where it
            raises on one.
    """

    target: str
    tasks: int
    kind: Kind
    findings: tuple[BalancerFinding, ...]
    not_accepted: Mapping[Absence, str]
    solved: tuple[Broken, str] | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; numbers that are not finite become None."""
        return {
            "target": self.target,
            "tasks": self.tasks,
            "takes": str(self.kind),
            "verdict": str(self.verdict),
            "safe": self.safe,
            "exit_code": self.exit_code,
            "findings": [{name: _plain(value) for name, value in vars(finding).items()} for finding in self.findings],
            "not_accepted": {str(mark): reason for mark, reason in self.not_accepted.items()},
            "solved": dict(zip(("breaks", "reason"), map(str, self.solved), strict=True)) if self.solved else None,
            "fix": [] if self.safe else [FIX],
        }

    def __str__(self) -> str:
        lines = [f"{self.target}: {'SAFE' if self.safe else 'NOT SAFE'}: {self.verdict}"]
        lines += [f"a balancer of {self.kind}; {self.tasks} tasks, the last one away for {AWAY} steps", ""]
        for finding in self.findings:
            lines += [
                f"  {finding.absence!s:<5} {finding.verdict.upper():<13} {_mark_text(finding.absence, self.kind)}"
            ]
            lines += [f"        {finding.reason}"]
        lines += [f"  {mark!s:<5} not accepted  {reason}" for mark, reason in self.not_accepted.items()]
        if self.solved:
            lines += [f"  solved {self.solved[0].upper():<12} present, its loss falls to a millionth: no absence"]
            lines += [f"        {self.solved[1]}"]
        return "\n".join(lines if self.safe else [*lines, "", f"Fix: {FIX}"])


def balancer_kind(module: Any) -> Kind | None:
    """What ``module`` takes if it is a balancer to be audited by its answer, else None.

    TorchJD's aggregators, its scalarizers that learn nothing from their total, modules whose second argument is named
    as gradients are, and `PresentOnly` around any of these.
    """
    if isinstance(module, PresentOnly):
        return balancer_kind(module.balancer) or Kind.LOSSES
    packages = [base.__module__ for base in type(module).__mro__]
    if any(package.startswith("torchjd.aggregation") for package in packages):
        return Kind.GRADIENTS
    if any(package.startswith("torchjd.scalarization") for package in packages):
        learned = any(True for _ in module.parameters()) and not hasattr(module, "update")
        return None if learned else Kind.LOSSES
    try:
        names = list(inspect.signature(getattr(module, "forward", module)).parameters)
    except (TypeError, ValueError):
        return None
    return Kind.BOTH if len(names) > 1 and names[1] in GRADIENT_NAMES else None


def audit_balancer(
    make: Callable[[], Any], kind: Kind, tasks: int, absence: str | None = None, title: str | None = None
) -> BalancerReport:
    """Audit a balancer by its answers.

    Args:
        make: gives a new one each time.
        kind: what it takes.
        tasks: how many.
        absence: the one mark to ask about; zero, 1e-8, NaN and a task left out if not given. `PresentOnly` is asked
            about its mask, with NaN in the absent task's place.
        title: for the report.

    Raises:
        CannotAudit: a balancer whose state nobody describes, one that needs other arguments, or a mark it cannot take.
    """
    made = make()
    masked = isinstance(made, PresentOnly)
    marks = [Absence.MASK] if masked else [Absence.ZERO, Absence.TINY, Absence.NAN, Absence.OMIT]
    if absence is not None:
        if absence not in marks:
            raise CannotAudit(f"a balancer is not told of an absence by {absence!r}", f"It can be by {_names(marks)}.")
        marks = [Absence(absence)]
    try:
        PresentOnly(copy.deepcopy(made.balancer if masked else made))
    except (TypeError, ValueError) as error:
        raise CannotAudit(str(error), "Declare its state as a class attribute task_state.") from error
    findings, refused = [], {}
    for mark in marks:
        try:
            findings.append(_finding(make, kind, tasks, mark))
        except Exception as error:  # whatever a balancer raises on a mark, it does not accept it
            refused[mark] = f"{type(error).__name__}: {' '.join(str(error).split())[:90]}"
    if not findings:
        raise CannotAudit("; ".join(f"{mark}: {text}" for mark, text in refused.items()), "Is this what it takes?")
    say("solved: the loss of one task falls to a millionth and stays")
    try:
        solved = solve(make, kind, tasks, _Stream(tasks))
    except Exception:  # as with the marks
        solved = None
    return BalancerReport(title or type(made).__name__, tasks, kind, tuple(findings), refused, solved)


class _Stream:
    """Losses and gradients around fixed directions, the same for both sides."""

    def __init__(self, tasks: int) -> None:
        self.random = torch.Generator().manual_seed(0)
        self.centre = (self._normal(tasks, PARAMS) + self._normal(1, PARAMS)) / PARAMS**0.5
        self.draw()

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.random, dtype=torch.float64)

    def draw(self) -> None:
        self.gradients = self.centre + 0.5 * self._normal(*self.centre.shape) / PARAMS**0.5
        self.losses = 0.3 + torch.rand(len(self.centre), generator=self.random, dtype=torch.float64)


def _finding(make: Callable[[], Any], kind: Kind, tasks: int, mark: Absence) -> BalancerFinding:
    say(f"{mark}: one of {tasks} tasks away for {AWAY} steps")
    stream, made = _Stream(tasks), make()
    inner = made.balancer if isinstance(made, PresentOnly) else made
    reference = Session(PresentOnly(copy.deepcopy(inner)).double(), kind, epoch=EPOCH)
    audited = Session(made.double(), kind, FILLS[mark], epoch=EPOCH)
    everyone = torch.ones(tasks, dtype=torch.bool)
    others = everyone.clone()
    others[-1] = False
    found, sound = [], True
    for number in range(WARM + AWAY + 1):
        present = others if WARM <= number < WARM + AWAY else everyone
        answer, right = (_step(session, number, stream, present) for session in (audited, reference))
        sound = sound and (answer.total is None or math.isfinite(answer.total))
        found.append(distance(answer.update, right.update))
        stream.draw()
    *away, back = found[WARM:]
    growth = _share(answer) / _share(right) if _share(right) else math.nan
    worst = max(away, key=_gravity)
    during, after = in_words(worst), return_in_words(back, growth)
    verdict, reason = _judge(during, after, worst, back, growth)
    if verdict in (Verdict.SAFE, Verdict.DISTURBED) and not sound:
        verdict, reason = Verdict.UNSTABLE, "the total is NaN or infinite, though the update is not"
    return BalancerFinding(
        mark, verdict, reason, during, after, worst["ratio"], worst["cosine"], growth, _call(kind, mark)
    )


def _step(session: Session, number: int, stream: _Stream, present: Tensor) -> Answer:
    say()
    with same_draws(number):
        answer = session.answer(stream.losses, stream.gradients, present)
    session.close(0.95 * stream.losses, present)
    return answer


def _gravity(found: Mapping[str, Any]) -> tuple[bool, float]:
    return not found["finite"], 0.0 if math.isnan(found["difference"]) else found["difference"]


def _share(answer: Answer) -> float:
    """Of the returning task in the weights of the losses or gradients; NaN for a balancer that has none."""
    return float(answer.weights[-1].abs() / answer.weights.abs().sum())


def _judge(
    during: Effect, after: Effect, worst: Mapping[str, Any], back: Mapping[str, Any], growth: float
) -> tuple[Verdict, str]:
    if Effect.NAN in (during, after):
        return Verdict.UNSTABLE, f"the update is NaN {'while it is away' if during == Effect.NAN else 'on its return'}"
    if during == Effect.STOPPED:
        return Verdict.UNSTABLE, f"nobody learns while it is away: the update's length is x {worst['ratio']:.2g}"
    if after != Effect.UNTOUCHED:
        share = f", the task's share of the weights is x {growth:.3g}" if not math.isnan(growth) else ""
        return Verdict.PHANTOM, f"on its return the update differs by {back['difference']:.2g} of its length{share}"
    if during == Effect.SHRUNK:
        return Verdict.DISTURBED, f"the present tasks' update shrinks to x {worst['ratio']:.3g}"
    if during == Effect.CHANGED:
        return Verdict.DISTURBED, (
            f"the present tasks' update points elsewhere: cosine {worst['cosine']:.3g}, length x {worst['ratio']:.3g}"
        )
    return Verdict.SAFE, "the present tasks' update and the state are what they are without it"


def _call(kind: Kind, mark: Absence) -> str:
    names = {Kind.LOSSES: "losses", Kind.GRADIENTS: "jacobian", Kind.BOTH: "losses, jacobian"}[kind]
    return f"module({names}{', present=mask' if mark == Absence.MASK else ''})"


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


def _names(marks: Sequence[Absence]) -> str:
    return ", ".join(str(mark) for mark in marks)


def _mark_text(mark: Absence, kind: Kind) -> str:
    if mark == Absence.OMIT:
        return "it is left out: one entry fewer is handed over"
    if mark == Absence.MASK:
        return "a presence mask is False for it (NaN in its place)"
    return MARK_TEXT[mark] if kind != Kind.GRADIENTS else MARK_TEXT[mark].replace("loss", "gradient")
