"""What the command line shows of a verification."""

from rich.table import Table
from rich.text import Text

from aura_study.runs.words import number
from aura_study.study.verify import EXACT, ROUNDING, SEEDED, Status, Verification


def table(found: Verification) -> Table:
    """The checks as a rich table that can be read at 80 columns."""
    styles = {Status.REPRODUCED: "bold green", Status.NOT_RUN: "dim"}
    shown = Table(title=f"Verification of run {found.run}", show_lines=True)
    for heading in ("claim", "recorded", "measured again", "reproduced"):
        shown.add_column(heading, overflow="fold")
    words = {Status.REPRODUCED: "yes", Status.NOT_RUN: "not run"}
    for check in found.checks:
        again = f"{number(check.measured)}\n{check.verdict}" if check.verdict else ""
        outcome = Text(words.get(check.status, f"no: {check.status}"), style=styles.get(check.status, "bold red"))
        outcome.append(f"\n{check.why}", style="not bold default")
        shown.add_row(check.claim, f"{number(check.recorded)}\n{check.recorded_verdict}", again, outcome)
    return shown


def summary(found: Verification) -> str:
    """Counts, notes and the outcome, for the last lines."""
    count = {status: sum(check.status == status for check in found.checks) for status in Status}
    told = ", ".join(f"{times} {status}" for status, times in count.items() if times)
    tolerances = (
        f"tolerances: deterministic {EXACT:g} relative or {ROUNDING:g} absolute; seeded: inside the recorded interval "
        f"or {SEEDED:.0%}; the verdict always"
    )
    told_of = [*(f"note: {note}" for note in found.notes), *(f"altered: {what}" for what in found.altered)]
    return "\n".join([*told_of, tolerances, f"{len(found.checks)} claims: {told}"])
