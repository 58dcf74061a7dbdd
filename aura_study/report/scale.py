"""A measurement on a line: what the rule accepts, the interval, the measured and the predicted value, in percent."""

from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator

from aura_study.claims import CLAIMS
from aura_study.claims.rules import AtLeast, AtMost, Each, PredictedAtMost, RatioWithin, SameSide, Within
from aura_study.runs.ledger import Row, number

MARGIN = 0.08  # of the line, free at either end
TICKS = 5  # at most
SMALLEST = 1e-9  # relative width below which there is nothing to see


@dataclass(frozen=True)
class Scale:
    """Positions from 0 to 100 on the line, its ticks with their numbers, and the rule's zone and the line in words."""

    low: float
    high: float
    measured: float
    predicted: float | None
    accepted: tuple[float, float] | None
    ticks: list[tuple[float, str]]
    zone: str
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
    ticks = [(place(value), text) for value, text in _ticks(start, start + span)]
    return Scale(place(low), place(high), place(row.measured), predicted, band, ticks, _zone(edges), _words(row, edges))


def _ticks(start: float, stop: float) -> list[tuple[float, str]]:
    """Round numbers on the line, with their words."""
    places = [float(place) for place in MaxNLocator(TICKS).tick_values(start, stop) if start <= place <= stop]
    smallest = SMALLEST * (stop - start)  # what is left of 0 by rounding
    return [(place, number(place if abs(place) > smallest else 0.0).replace("-", "\N{MINUS SIGN}")) for place in places]


def _accepted(row: Row) -> tuple[float | None, float | None] | None:
    """What the interval must lie within for the claim to hold, ``None`` at an open end; no pair for a rule of old."""
    claim = CLAIMS.get(row.claim)
    match claim.rule if claim and claim.rule_text() == row.rule else None:
        case RatioWithin(tolerance=tolerance) if row.predicted:
            first, last = sorted((row.predicted * (1 - tolerance), row.predicted * (1 + tolerance)))
            return first, last
        case PredictedAtMost(tolerance=tolerance) if row.predicted:
            return None, row.predicted * (1 + tolerance)
        case Within(reach=reach):
            return -reach, reach
        case AtMost(bound=bound):
            return None, bound
        case AtLeast(bound=bound):
            return bound, None
        case SameSide(bound=bound) if row.predicted is not None:
            return (bound, None) if row.predicted >= bound else (None, bound)
        case Each():
            return 1.0, None
    return None


def _zone(edges: tuple[float | None, float | None] | None) -> str:
    """The accepted stretch in words."""
    first, last = edges or (None, None)
    bounds = [f"from {number(first)}" if first is not None else "", f"up to {number(last)}" if last is not None else ""]
    return " ".join(filter(None, bounds))


def _words(row: Row, edges: tuple[float | None, float | None] | None) -> str:
    text = f"Measured {number(row.measured)}, interval {number(row.interval[0])} to {number(row.interval[1])}"
    if row.predicted is not None:
        text += f", predicted {number(row.predicted)}"
    if edges:
        text += f"; the rule accepts {_zone(edges)}"
    return text + "."
