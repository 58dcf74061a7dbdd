"""What the command line shows of a verification."""

from rich.table import Table
from rich.text import Text

from aura_study.runs.words import number
from aura_study.study.verify import EXACT, ROUNDING, SEEDED, Status, Verification


def table(found: Verification) -> Table | None:
    """The claims that were run again or whose record was altered, readable at 80 columns; ``None`` if none was."""
    checks = [check for check in found.checks if check.status != Status.NOT_RUN]
    shown = Table(title=f"Verification of run {found.run}", show_lines=True)
    for heading in ("claim", "recorded", "measured again", "reproduced"):
        shown.add_column(heading, overflow="fold")
    for check in checks:
        again = f"{number(check.measured)}\n{check.verdict}" if check.verdict else ""
        fine = check.status == Status.REPRODUCED
        outcome = Text("yes" if fine else f"no: {check.status}", style="bold green" if fine else "bold red")
        outcome.append(f"\n{check.why}", style="not bold default")
        shown.add_row(check.claim, f"{number(check.recorded)}\n{check.recorded_verdict}", again, outcome)
    return shown if checks else None


def _not_run(found: Verification) -> list[str]:
    """Each reason for which claims were not run again, once, with the claims."""
    claims: dict[str, list[str]] = {}
    for check in found.checks:
        if check.status == Status.NOT_RUN:
            claims.setdefault(check.why, []).append(check.claim)
    return [f"not run: {', '.join(keys)}\n  {why}" for why, keys in claims.items()]


def summary(found: Verification) -> str:
    """Counts, notes and the outcome, for the last lines."""
    count = {status: sum(check.status == status for check in found.checks) for status in Status}
    told = ", ".join(f"{times} {status}" for status, times in count.items() if times)
    tolerances = (
        f"tolerances: deterministic {EXACT:g} relative or {ROUNDING:g} absolute; seeded: inside the recorded interval "
        f"or {SEEDED:.0%}; the verdict always"
    )
    told_of = [*(f"note: {note}" for note in found.notes), *(f"altered: {what}" for what in found.altered)]
    return "\n".join([*_not_run(found), *told_of, tolerances, f"{len(found.checks)} claims: {told}"])
