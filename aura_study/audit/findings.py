"""What the reports of a weighting and of a balancer share: a verdict over findings, one per mark of absence."""

from typing import Generic, Protocol, TypeVar

from aura_study.audit.conventions import Absence
from aura_study.audit.verdicts import Verdict


class _Judged(Protocol):
    @property
    def absence(self) -> Absence: ...

    @property
    def verdict(self) -> Verdict: ...


Finding = TypeVar("Finding", bound=_Judged)


class Findings(Generic[Finding]):
    """Findings on the marks that were accepted, from the commonest mark to the rarest."""

    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """Safe if all findings are; else the first that is not."""
        unsafe = [finding.verdict for finding in self.findings if finding.verdict != Verdict.SAFE]
        return unsafe[0] if unsafe else Verdict.SAFE

    @property
    def safe(self) -> bool:
        """Whether every way of marking a task absent is safe."""
        return self.verdict == Verdict.SAFE

    @property
    def exit_code(self) -> int:
        """0 if safe, 1 if not."""
        return 0 if self.safe else 1

    def __getitem__(self, absence: str) -> Finding:
        """The finding on one mark, by name."""
        for finding in self.findings:
            if finding.absence == absence:
                return finding
        raise KeyError(f"{absence!r} was not measured; findings: {[str(finding.absence) for finding in self.findings]}")
