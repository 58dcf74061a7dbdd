"""What a log says of its run: masked, phantom, solved, or that it cannot tell; with the margin, and why not."""

import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aura_study.diagnosis.columns import Log
from aura_study.diagnosis.fitting import (
    FORMS,
    POLICIES,
    Fit,
    Known,
    candidate_forms,
    fits,
    marked_absent,
    weights_of,
)

Array = NDArray[np.float64]
TELL = 3.0
"""How many times further off the worse of two explanations must be."""
FITS = 1 / 3
"""What the better one may leave unexplained of the way that the weights have gone."""
ALWAYS = 0.999
"""Presence from which there is nothing to mask."""
COLLAPSE = 10.0
"""Growth of a weight from which this study speaks of collapse."""
SOLVED_FALL = 100.0
"""Fall of the loss that goes with it, at least."""
FLOORS = tuple(range(4, 17))
"""Clamps of a logarithm that are known, as powers of a tenth."""
FLOOR_WITHIN = 0.003


class Verdict(StrEnum):
    """What the log says."""

    MASKED = "masked"
    PHANTOM = "phantom"
    SOLVED = "solved"
    OPEN = "cannot tell"


EXIT_CODES = {Verdict.MASKED: 0, Verdict.PHANTOM: 1, Verdict.SOLVED: 1, Verdict.OPEN: 2}
WORDS = {
    Verdict.MASKED: "an absent task's weight was left alone",
    Verdict.PHANTOM: "an absent task's weight moved: its regulariser stayed in the total",
    Verdict.SOLVED: "a task is present and solved: its weight or scale runs with its loss",
    Verdict.OPEN: "the log does not decide it",
}


@dataclass(frozen=True)
class Solved:
    """A task that is present and whose loss runs to 0.

    Attributes:
        task: name.
        reason: in one sentence.
        margin: how many times better it explains the log than that nothing of it is so.
    """

    task: str
    reason: str
    margin: float


@dataclass(frozen=True)
class Diagnosis:
    """What a log says of its run.

    Attributes:
        log: as it was understood.
        verdict: of the run.
        reason: in one sentence.
        margin: how many times further off the next explanation lies; NaN where nothing was told.
        fits: the best case of either policy, by its name; empty without losses.
        solved: tasks that are solved.
        open: what the log could not tell, a sentence each.
    """

    log: Log
    verdict: Verdict
    reason: str
    margin: float
    fits: dict[str, Fit]
    solved: tuple[Solved, ...]
    open: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0 masked; 1 phantom, or solved; 2 cannot tell."""
        return EXIT_CODES[self.verdict]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "verdict": str(self.verdict),
            "exit_code": self.exit_code,
            "reason": self.reason,
            "margin": _plain(self.margin),
            "tasks": {task: {k: _plain(v) for k, v in row.items()} for task, row in quotients(self.fits).items()},
            "fits": {
                policy: {
                    "form": fit.form,
                    "optimizer": fit.optimizer,
                    "phantom_number": _plain(fit.phantom),
                    "presence": {task: _plain(p) for task, p in fit.presence.items()},
                }
                for policy, fit in self.fits.items()
            },
            "solved": [{"task": one.task, "reason": one.reason, "margin": _plain(one.margin)} for one in self.solved],
            "could_not_tell": list(self.open),
            "guessed": list(self.log.guesses),
        }

    def __str__(self) -> str:
        lines = [f"{self.verdict.upper()}: {WORDS[self.verdict]}", *_wrapped(self.reason, "  ")]
        if rows := quotients(self.fits):
            lines += ["", "  log weight missed by   masked  unmasked  ratio   presence"]
            for task, row in rows.items():
                ratio = f"{row['quotient']:.1f}" if row["quotient"] < 1000 else ">1000"
                numbers = f"{row['masked']:8.2g}{row['unmasked']:10.2g}{ratio:>7}{row['presence']:11.2g}"
                lines.append(f"    {textwrap.shorten(task, 19, placeholder='...'):19}{numbers}")
            for policy, fit in self.fits.items():
                lines.append(
                    f"  best {policy}: {fit.form}, {fit.optimizer}, learning rates that add up to {fit.phantom:.3g}"
                )
        for one in [one for one in self.solved if one.reason != self.reason]:
            lines += _wrapped(f"solved, {one.task}: {one.reason}", "  ")
        for title, sentences in (("Could not tell", self.open), ("Guessed", self.log.guesses)):
            if sentences:
                lines += ["", f"{title}:"]
                for sentence in sentences:
                    lines += _wrapped(sentence, "  - ")
        return "\n".join(lines)


def _wrapped(text: str, first: str) -> list[str]:
    return textwrap.wrap(text, 80, initial_indent=first, subsequent_indent=" " * len(first))


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def diagnose(log: Log, known: Known | None = None) -> Diagnosis:
    """Which dynamics a log shows.

    Args:
        log: as `aura_study.diagnosis.columns.understand` gives it.
        known: what the log does not say.

    Raises:
        CannotRead: values that cannot be what they are said to be.
    """
    known = known or Known()
    solved = (*floors(log), *solved_tasks(log, known))
    found = fits(log, known)
    verdict, reason, margin = _policy(log, found)
    doubts = tuple(_doubts(log, known, found, verdict))
    if verdict in (Verdict.MASKED, Verdict.OPEN) and solved:
        first = max(solved, key=lambda one: one.margin)
        return Diagnosis(log, Verdict.SOLVED, first.reason, first.margin, found, solved, doubts)
    return Diagnosis(log, verdict, reason, margin, found, solved, doubts)


def floors(log: Log) -> Iterator[Solved]:
    """Tasks whose weight carries the whole total, over which it is the logarithm of a round clamp.

    That is a loss below its clamp in a sum of weight times log loss.
    """
    for task, weights in zip(log.tasks, log.values, strict=True):
        with np.errstate(all="ignore"):
            ratio = log.total / weights
        ratio = ratio[np.isfinite(ratio)][1:]  # the weights of the first record may not be at work yet
        if ratio.size < 3 or not np.ptp(np.log(np.abs(log.total[np.isfinite(log.total)])[1:])) > 10 * FLOOR_WITHIN:
            continue
        for power in FLOORS:
            off = np.abs(ratio / (-power * math.log(10)) - 1)
            if off.max() < FLOOR_WITHIN:
                spread = float(np.std(np.log(np.abs(log.total[np.isfinite(log.total)])[1:])))
                yield Solved(
                    task,
                    f"the total over the weight of {task} is ln 1e-{power} in {ratio.size} records: it is one term, "
                    f"weight times log loss, of a task that is present and below its clamp",
                    spread / max(float(np.std(ratio) / abs(np.mean(ratio))), 1e-6),
                )


def solved_tasks(log: Log, known: Known) -> Iterator[Solved]:
    """Tasks whose weight has collapsed with a loss that is really falling: their product stays where it is."""
    weights = weights_of(log, FORMS[candidate_forms(log, known)[0]])
    for task, w, loss in zip(log.tasks, weights, log.losses, strict=True):
        here = np.flatnonzero(np.isfinite(w) & np.isfinite(loss) & (loss > 0))
        if here.size < 6:
            continue
        tail = here[here.size // 2 :]
        fall, growth = loss[here[0]] / loss[here[-1]], w[here[-1]] / w[here[0]]
        rise = math.log(w[tail[-1]] / w[tail[0]])
        drift = abs(math.log(w[tail[-1]] * loss[tail[-1]] / (w[tail[0]] * loss[tail[0]])))
        if fall >= SOLVED_FALL and growth >= COLLAPSE and rise > TELL * drift:
            yield Solved(
                task,
                f"the weight of {task} grew x {growth:.3g} while its loss fell x {fall:.3g}; their product has stayed, "
                "so that the weight is what the loss asks for",
                rise / max(drift, 1e-6),
            )


def _policy(log: Log, found: dict[str, Fit]) -> tuple[Verdict, str, float]:
    """The policy that a task's weight tells: the other lies `TELL` times further off, and no task tells the reverse."""
    if not found:
        return Verdict.OPEN, "no task has losses beside its weight, so that no dynamics can be fitted", math.nan
    rows = quotients(found)
    task = max(rows, key=lambda name: rows[name]["quotient"])
    row = rows[task]
    told = {_nearer(one) for one in rows.values() if one["quotient"] >= TELL}
    misses = f"miss log weight of {task} by {row['masked']:.2g}, unmasked ones by {row['unmasked']:.2g}"
    if not told:
        return Verdict.OPEN, f"masked and unmasked dynamics both give these weights: masked ones {misses}", math.nan
    better = min(found.values(), key=lambda fit: fit.unlikely)
    if told != {better.policy}:
        return Verdict.OPEN, "one task's weight moved as masked dynamics have it, another's as unmasked ones", math.nan
    if better.misses[task] > max(2 * better.floors[task], FITS * _way(log, better, task)):
        return Verdict.OPEN, f"neither dynamics give these weights: masked ones {misses}", math.nan
    verdict = Verdict.MASKED if better.policy == "masked" else Verdict.PHANTOM
    return verdict, f"at their best masked dynamics {misses}", row["quotient"]


def quotients(found: dict[str, Fit]) -> dict[str, dict[str, float]]:
    """Of every task that was fitted: how far off both policies lie, the larger over the smaller, and its presence."""
    if not found:
        return {}
    masked, unmasked = found["masked"], found["unmasked"]
    rows = {}
    for task, floor in masked.floors.items():
        one, other = masked.misses[task], unmasked.misses[task]
        quotient = max(one, other) / max(min(one, other), floor, unmasked.floors[task], 1e-12)
        rows[task] = {"masked": one, "unmasked": other, "quotient": quotient, "presence": masked.presence[task]}
    return rows


def _nearer(row: dict[str, float]) -> str:
    return min(POLICIES, key=lambda policy: row[policy])


def _way(log: Log, fit: Fit, task: str) -> float:
    """Root mean square of the way of a log weight from where it begins, logged or predicted, whichever is longer."""
    logs = [np.log(weights_of(log, FORMS[fit.form])[log.tasks.index(task)]), np.log(fit.paths[task])]
    return max(float(np.sqrt(np.nanmean((way - way[0]) ** 2))) for way in logs)


def _doubts(log: Log, known: Known, found: dict[str, Fit], verdict: Verdict) -> Iterator[str]:
    without = [task for task, losses in zip(log.tasks, log.losses, strict=True) if not np.isfinite(losses).any()]
    if without:
        yield f"{', '.join(without)}: no column of losses, so that nothing was fitted"
    if not found:
        return
    masked = found["masked"]
    guessed = [task for task in masked.misses if _presence_free(log, known, task)]
    if guessed:
        yield f"{', '.join(guessed)}: how often it is there; say --presence TASK=SHARE or --rows, --batch"
    always = [task for task in masked.misses if task not in guessed and masked.presence[task] >= ALWAYS]
    if always:
        yield f"{', '.join(always)}: there in every batch, where masked and unmasked are the same"
    if log.rates is None and known.rate is None:
        yield "the learning rate: fitted; say --lr, or --column lr=COLUMN"
    elif log.steps is None:
        yield "the steps of an epoch, and so the sum of the rates: fitted; say --steps-per-epoch"
    if verdict == Verdict.OPEN and not guessed and len(always) < len(masked.misses) and masked.phantom < 0.1:
        yield f"rates that add up to {masked.phantom:.2g} move no weight far enough to tell"
    unsaid = [name for name, value in (("--form", known.form), ("--optimizer", known.optimizer)) if value is None]
    if verdict == Verdict.OPEN and unsaid:
        yield f"the term and the optimiser: what fits best was taken; {' and '.join(unsaid)} would say"


def _presence_free(log: Log, known: Known, task: str) -> bool:
    place = log.tasks.index(task)
    return (
        task not in known.presence
        and not log.by_step
        and bool(np.isnan(log.presence[place]).all())
        and not marked_absent(log.losses[place], log.by_step).any()
    )
