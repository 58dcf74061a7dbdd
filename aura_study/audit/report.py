"""What the audit says: a verdict over findings, one per mark of absence; readable, as JSON, and as an exit code."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

from aura_study.audit.evidence import Evidence, Settings
from aura_study.audit.marks import AMBIGUOUS, Absence
from aura_study.audit.solved import SolvedFinding


class Verdict(StrEnum):
    """What the audit says of one mark of absence."""

    SAFE = "safe"
    PHANTOM = "phantom"
    UNSTABLE = "unstable"
    INERT = "inert"
    UNREGULARISED = "unregularised"
    DISTURBED = "disturbed"
    LEAKS = "leaks"


@dataclass(frozen=True)
class Finding:
    """The verdict on one way of marking a task absent.

    Attributes:
        absence: the mark.
        call: how the module was called, as Python.
        verdict: by the rules of `aura_study.audit.judge`.
        reason: in one sentence.
        growth: of the absent task's weight over the stated phantom number, the farthest from 1 over tasks and
            optimisers; NaN if it could not be read.
        notes: further findings, one sentence each.
        evidence: the measurements.
    """

    absence: Absence
    call: str
    verdict: Verdict
    reason: str
    growth: float
    notes: tuple[str, ...]
    evidence: Evidence

    @property
    def tried(self) -> str:
        """Name of the mark."""
        return str(self.absence)


class _Judged(Protocol):
    @property
    def tried(self) -> str:
        """Name of what was tried: a mark of absence, a setting."""
        ...

    @property
    def verdict(self) -> Verdict: ...


F = TypeVar("F", bound=_Judged)


class Findings(Generic[F]):
    """What all reports share: a finding on each thing that was tried and accepted."""

    findings: tuple[F, ...]

    @property
    def verdict(self) -> Verdict:
        """Safe if all findings that count are; else the first that is not."""
        unsafe = [finding.verdict for finding in self._deciding() if finding.verdict != Verdict.SAFE]
        return unsafe[0] if unsafe else Verdict.SAFE

    def _deciding(self) -> Sequence[F]:
        """The findings that count; all of them, unless a kind of report says otherwise."""
        return self.findings

    @property
    def safe(self) -> bool:
        """Whether everything that was tried is safe."""
        return self.verdict == Verdict.SAFE

    @property
    def exit_code(self) -> int:
        """0 if safe, 1 if not."""
        return 0 if self.safe else 1

    def __getitem__(self, tried: str) -> F:
        """The finding on one thing that was tried, by name."""
        for finding in self.findings:
            if finding.tried == tried:
                return finding
        raise KeyError(f"{tried!r} was not measured; findings: {[finding.tried for finding in self.findings]}")


FIX = {
    Verdict.PHANTOM: "Leave the absent task's whole term out of the total, weight and regulariser: "
    "sum over the present tasks only, as MaskedKendallLoss does; FrozenKendallLoss also stops momentum and decay.",
    Verdict.UNSTABLE: "Leave an absent task out instead of multiplying or masking what was computed from it "
    "(0 * NaN is NaN, and so is the gradient of torch.where), or clean its loss before it enters the term.",
    Verdict.INERT: "Let the parameter's gradient survive everywhere: replace clamp or relu by softplus or exp.",
    Verdict.UNREGULARISED: "Add the regulariser that belongs to the weight, such as + log sigma.",
}


@dataclass(frozen=True)
class Report(Findings[Finding]):
    """What the audit found.

    Attributes:
        target: what was audited, as it was made.
        tasks: names of its tasks.
        settings: of the absence.
        findings: one per mark of absence that the module accepts.
        not_accepted: marks that it does not, with the reason.
        notes: what a user should know beyond the findings.
        solved: what becomes of a task that is present and solved, which decides nothing; None if that was not measured.
    """

    target: str
    tasks: tuple[str, ...]
    settings: Settings
    findings: tuple[Finding, ...]
    not_accepted: Mapping[Absence, str]
    notes: tuple[str, ...] = ()
    solved: SolvedFinding | None = None

    def _deciding(self) -> Sequence[Finding]:
        """Those of the marks that say an absence explicitly, if one of these is safe: that is what to do."""
        explicit = [one for one in self.findings if one.absence not in AMBIGUOUS and one.verdict == Verdict.SAFE]
        return explicit or self.findings

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; numbers that are not finite become None."""
        return {
            "target": self.target,
            "tasks": list(self.tasks),
            "verdict": str(self.verdict),
            "safe": self.safe,
            "exit_code": self.exit_code,
            "phantom_number": self.settings.phantom_number,
            "lr": self.settings.lr,
            "steps": self.settings.steps,
            "findings": [_finding(finding) for finding in self.findings],
            "not_accepted": {str(mark): reason for mark, reason in self.not_accepted.items()},
            "solved": self.solved.to_dict() if self.solved else None,
            "notes": list(self.notes),
            "fix": self.fixes(),
        }

    def fixes(self) -> list[str]:
        """What to do about the verdicts that are not safe."""
        found = {finding.verdict for finding in self.findings}
        return [text for verdict, text in FIX.items() if verdict in found]

    def _headline(self) -> str:
        found = dict.fromkeys(finding.verdict for finding in self.findings)
        marks = {
            verdict: ", ".join(finding.absence for finding in self.findings if finding.verdict == verdict)
            for verdict in found
        }
        parts = "; ".join(f"{verdict} ({names})" for verdict, names in marks.items())
        if self.safe and len(found) > 1:
            return f"SAFE by {marks[Verdict.SAFE]} alone: {parts}"
        return f"{'SAFE' if self.safe else 'NOT SAFE'}: {parts}"

    def __str__(self) -> str:
        settings = self.settings
        lines = [
            f"{self.target}: {self._headline()}",
            f"tasks {', '.join(self.tasks)}; each absent in turn for {settings.steps} steps at learning rate "
            f"{settings.lr:g} (phantom number {settings.phantom_number:g}), SGD and Adam",
            "",
        ]
        for finding in self.findings:
            lines += [f"  {finding.absence!s:<8} {finding.verdict.upper():<13} {finding.evidence.says}"]
            lines += [f"           called as {finding.call}"]
            for sentence in (finding.reason, *finding.notes):
                lines += textwrap.wrap(sentence, 112, initial_indent=" " * 11, subsequent_indent=" " * 13)
        lines += [
            f"  {mark!s:<8} not accepted  {textwrap.shorten(reason, 88)}" for mark, reason in self.not_accepted.items()
        ]
        if self.solved:
            lines += [f"  solved   {self.solved.fate.upper():<13} present, its loss falls to 0 and stays: no absence"]
            lines += textwrap.wrap(self.solved.reason, 112, initial_indent=" " * 11, subsequent_indent=" " * 13)
        for title, sentences in (("Note", self.notes), ("Fix", self.fixes())):
            for sentence in sentences:
                lines += ["", *textwrap.wrap(f"{title}: {sentence}", 112, subsequent_indent="  ")]
        return "\n".join(lines)


def _finding(finding: Finding) -> dict[str, Any]:
    evidence = finding.evidence
    return {
        "absence": str(finding.absence),
        "call": finding.call,
        "verdict": str(finding.verdict),
        "reason": finding.reason,
        "growth": finite_or_none(finding.growth),
        "notes": list(finding.notes),
        "drifts": [{name: finite_or_none(value) for name, value in asdict(drift).items()} for drift in evidence.drifts],
        "returns": {
            optimiser: {name: finite_or_none(value) for name, value in asdict(back).items()}
            for optimiser, back in evidence.returns.items()
        },
        "long_absence": _plain(evidence.ceiling),
        "absent_from_the_start": _plain(evidence.cold),
        "residue": asdict(evidence.residue) if evidence.residue else None,
    }


def _plain(record: Any) -> dict[str, Any] | None:
    return {name: finite_or_none(value) for name, value in asdict(record).items()} if record else None


def finite_or_none(value: Any) -> Any:
    """``value`` with every number that JSON cannot hold replaced by None."""
    if isinstance(value, tuple | list):
        return [finite_or_none(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
