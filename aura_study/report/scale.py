"""A measurement on a line: what the rule accepts, the interval, the measured and the predicted value, in percent."""

from dataclasses import dataclass

from aura_study.claims import CLAIMS, AtLeast, AtMost, RatioWithin
from aura_study.runs.ledger import Row, number

MARGIN = 0.08  # of the line, free at either end
SMALLEST = 1e-9  # relative width below which there is nothing to see


@dataclass(frozen=True)
class Scale:
    """Positions from 0 to 100 on the line, and the line in words."""

    low: float
    high: float
    measured: float
    predicted: float | None
    accepted: tuple[float, float] | None
    words: str


def scale(row: Row) -> Scale | None:
    """The line of a claim, or ``None`` where the interval is not bounded or everything falls on one point."""
    low, high = row.interval
    if low is None or high is None or row.measured is None:
        return None
    edges = _accepted(row)
    values = [low, high, row.measured, row.predicted, *(edges or ())]
    known = [value for value in values if value is not None]
    left, right = min(known), max(known)
    if right - left <= SMALLEST * max(abs(left), abs(right)):
        return None
    span = (right - left) / (1 - 2 * MARGIN)
    start = left - MARGIN * span

    def place(value: float) -> float:
        return round(100 * (value - start) / span, 3)

    band = None
    if edges:
        first, last = edges
        band = (0.0 if first is None else place(first), 100.0 if last is None else place(last))
    predicted = None if row.predicted is None else place(row.predicted)
    return Scale(place(low), place(high), place(row.measured), predicted, band, _words(row, edges))


def _accepted(row: Row) -> tuple[float | None, float | None] | None:
    """What the interval must lie within for the claim to hold; ``None`` at an open end; no pair for other rules."""
    claim = CLAIMS.get(row.claim)
    match claim.rule if claim else None:
        case RatioWithin(tolerance=tolerance) if row.predicted:
            first, last = sorted((row.predicted * (1 - tolerance), row.predicted * (1 + tolerance)))
            return first, last
        case AtMost(bound=bound):
            return None, bound
        case AtLeast(bound=bound):
            return bound, None
    return None


def _words(row: Row, edges: tuple[float | None, float | None] | None) -> str:
    text = f"Measured {number(row.measured)}, interval {number(row.interval[0])} to {number(row.interval[1])}"
    if row.predicted is not None:
        text += f", predicted {number(row.predicted)}"
    if edges:
        first, last = edges
        bounds = [
            f"from {number(first)}" if first is not None else "",
            f"up to {number(last)}" if last is not None else "",
        ]
        text += f"; the rule accepts {' '.join(filter(None, bounds))}"
    return text + "."
