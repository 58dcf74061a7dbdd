"""From evidence to a verdict, by rules that stand here in one place.

In order, the first that applies:

==============  =====================================================================================================
unstable        the total or a gradient is not finite, at once or before the stated phantom number is spent; or an
                absence switches the present tasks off; or the returning task is switched off by its own first steps
inert           a task's loss no longer moves any parameter, at the start, at rest or after the absence: a weight that
                cannot move is still, not safe
unregularised   with every task present and constant losses a weight falls and does not stop: nothing holds it up
phantom         the absent task's weight moved although the task was not there
disturbed       (balancers, see `aura_study.audit.balancers`) the present tasks' update is not theirs alone
leaks           (focal losses, see `aura_study.audit.focal`) class weights or label smoothing change p_t
safe            none of these
==============  =====================================================================================================
"""

import math

from aura_study.audit.evidence import Drift, Evidence, Measured, Settings
from aura_study.audit.marks import RARE
from aura_study.audit.measuring.numbers import MOVED, distance, worst
from aura_study.audit.report import Finding, Report, Verdict
from aura_study.audit.solved import judge_solved

SWITCHED_OFF, STILL_OFF = 1e-2, 0.1
FALLEN, FALLING = 1e-2, 0.1
LEVEL = 0.05
GUESSED_MASK = "its second argument was taken for a presence mask; if it is none, say how it is called with `call`"


def judge(measured: Measured) -> Report:
    """The report on what was measured."""
    settings = measured.settings
    notes = []
    if measured.without_mask is not None:
        notes.append(_without_mask(_finding(measured.without_mask, settings)))
    findings = [_finding(evidence, settings) for evidence in measured.evidence]
    if len(findings) > 1:  # a rare mark is told of where it works, or where it is asked about
        findings = [one for one in findings if one.absence not in RARE or one.verdict == Verdict.SAFE]
    for convention in dict.fromkeys(finding.evidence.convention for finding in findings):
        if convention.guessed_mask:
            notes.append(GUESSED_MASK)
        if convention.guessed:
            notes.append(f"{convention.guessed}; if that is wrong, say how it is called with `call`")
    notes += _by_symmetry(measured)
    return Report(
        measured.target,
        measured.tasks,
        settings,
        tuple(findings),
        measured.not_accepted,
        tuple(notes),
        judge_solved(measured.solved),
    )


def _by_symmetry(measured: Measured) -> list[str]:
    few = max((evidence.measured for evidence in measured.evidence), key=len)
    if len(few) == len(measured.tasks):
        return []
    return [
        f"{len(few)} of {len(measured.tasks)} tasks were taken away for the whole absence ({', '.join(few[:6])}); the "
        "first absent step of every other one is like theirs"
    ]


def _by_task(evidence: Evidence) -> list[str]:
    """Growth of each task's weight, where some move and others do not."""
    by_task: dict[str, float] = {}
    for drift in evidence.drifts:
        by_task[drift.task] = max(drift.growth, by_task.get(drift.task, 1.0), key=distance)
    still = [distance(growth) <= MOVED for growth in by_task.values()]
    if all(still) or not any(still):
        return []
    told = [f"{task} {'unmoved' if distance(g) <= MOVED else f'x {g:.3g}'}" for task, g in list(by_task.items())[:8]]
    return [f"by task: {', '.join(told)}"]


def _negative_total(evidence: Evidence, settings: Settings, moved: Drift | None) -> list[str]:
    """Whether a total below 0 is sound, or an absent task's term that falls."""
    told = []
    rest = evidence.warm.reading.total
    if rest is not None and rest < 0 and evidence.warm.responds is not None:
        told.append(
            f"its total is {rest:.2g} with every task present, at rest: a density may exceed 1, so that this is sound; "
            "abs or a clamp at 0 would stop its weights"
        )
    first, last = moved.totals if moved else (None, None)
    if moved and first is not None and last is not None and last < min(first, 0.0):
        rate = (first - last) / (settings.lr * max(settings.steps - 1, 1))
        told.append(
            f"its total fell from {first:.2g} to {last:.2g} while {moved.task!r} was absent, by {rate:.2g} of the "
            f"learning rate a step ({moved.optimiser}): that is the absent term, and no likelihood"
        )
    return told


def _without_mask(finding: Finding) -> str:
    verdict = "is safe too" if finding.verdict == Verdict.SAFE else f"is {finding.verdict}: {finding.reason}"
    return f"it takes a presence mask; without the mask, a loss of 0 counts as present and {verdict}"


def _finding(evidence: Evidence, settings: Settings) -> Finding:
    """Apply the rules."""
    farthest = worst(evidence.drifts)
    verdict, reason = (
        _unstable(evidence, settings)
        or _inert(evidence)
        or _unregularised(evidence)
        or _phantom(farthest, evidence, settings)
        or _cold(evidence)
        or (Verdict.SAFE, f"while {evidence.says}, the absent task's weight stays exactly where it was")
    )
    if verdict == Verdict.SAFE and evidence.warm.responds is None:
        reason = "the weights are not learned from the total, and after an absence they are what they are without"
    return Finding(
        evidence.mark,
        evidence.convention.text,
        verdict,
        reason,
        farthest.growth,
        tuple(_notes(evidence, settings, verdict)),
        evidence,
    )


def _unstable(evidence: Evidence, settings: Settings) -> tuple[Verdict, str] | None:
    if not evidence.warm.reading.finite:
        return Verdict.UNSTABLE, "the total or a gradient is not finite even with every task present"
    if evidence.cold is not None and not evidence.cold.finite and not _at_once(evidence):
        return Verdict.UNSTABLE, (
            f"if {evidence.cold.task!r} is absent from the very first batch, the total or a gradient is NaN or "
            "infinite, then or when it comes"
        )
    broken = [drift for drift in evidence.drifts if drift.broke_at is not None]
    if broken:
        first = min(broken, key=lambda drift: drift.broke_at or 0.0)
        if first.on_return:
            return Verdict.UNSTABLE, (
                f"after an absence of {first.task!r} while {evidence.says}, its return makes the total or a "
                "gradient NaN or infinite"
            )
        if not first.broke_at:
            return Verdict.UNSTABLE, f"when {evidence.says}, the total or a gradient is NaN or infinite"
        if evidence.warm.responds is None:
            return Verdict.UNSTABLE, f"an absence of {first.task!r} makes the total or a gradient NaN or infinite"
        return Verdict.UNSTABLE, (
            f"the phantom gradient drives the absent task's parameter until the total is NaN or infinite, "
            f"at phantom number {first.broke_at:.2g} ({first.optimiser})"
        )
    unread = [drift for drift in evidence.drifts if not math.isfinite(drift.growth)]
    if unread:
        return Verdict.UNSTABLE, f"after the absence the weight of {unread[0].task!r} is NaN or infinite"
    for drift in evidence.drifts:
        low, high = drift.present_ratio
        if not (math.isfinite(high) and low > SWITCHED_OFF):
            return Verdict.UNSTABLE, f"the absence of {drift.task!r} switches present tasks off: weights x {low:.2g}"
    for optimiser, back in evidence.returns.items():
        if not back.finite:
            return Verdict.UNSTABLE, f"when the task returns, the total turns NaN or infinite ({optimiser})"
        if back.floor < SWITCHED_OFF and back.last < STILL_OFF:
            return Verdict.UNSTABLE, (
                f"when the task returns, its first steps switch it off: its weight falls to {back.floor:.1g} of what "
                f"it was ({optimiser})"
            )
    return None


def _at_once(evidence: Evidence) -> bool:
    return any(drift.broke_at == 0 for drift in evidence.drifts)


def _inert(evidence: Evidence) -> tuple[Verdict, str] | None:
    responds = evidence.warm.responds
    if responds is not None and (still := [task for task, moves in responds.items() if not moves]):
        return Verdict.INERT, f"the loss of {still[0]!r} moves no parameter: its weight can no longer learn"
    if dead := [drift.task for drift in evidence.drifts if drift.dead]:
        return Verdict.INERT, f"after an absence the loss of {dead[0]!r} moves no parameter: its weight cannot learn"
    return None


def _unregularised(evidence: Evidence) -> tuple[Verdict, str] | None:
    fall, falling = evidence.warm.fall, evidence.warm.falling
    for task in fall:
        if fall[task] < 0 or (fall[task] < FALLEN and falling[task] > FALLING):
            return Verdict.UNREGULARISED, (
                f"with every task present the weight of {task!r} falls without end "
                f"(x {fall[task]:.1g} so far): no regulariser holds it up"
            )
    return None


def _phantom(farthest: Drift, evidence: Evidence, settings: Settings) -> tuple[Verdict, str] | None:
    if distance(farthest.growth) <= MOVED:
        return None
    if evidence.warm.responds is None:
        return Verdict.PHANTOM, (
            f"after an absence of {farthest.task!r} a weight is x {farthest.growth:.3g} of what it is without"
        )
    return Verdict.PHANTOM, (
        f"the weight of {farthest.task!r} moved x {farthest.growth:.3g} while it was absent "
        f"({farthest.optimiser}, phantom number {settings.phantom_number:g})"
    )


def _cold(evidence: Evidence) -> tuple[Verdict, str] | None:
    cold = evidence.cold
    if cold is None or cold.raised:
        return None
    return Verdict.PHANTOM, (
        f"if {cold.task!r} is absent from the very first batches, weights are x {cold.ratio:.3g} of what a start with "
        "every task gives"
    )


def _notes(evidence: Evidence, settings: Settings, verdict: Verdict) -> list[str]:
    notes = []
    farthest = worst(evidence.drifts)
    moved = distance(farthest.growth) > MOVED
    if moved and verdict not in (Verdict.PHANTOM, Verdict.SAFE) and math.isfinite(farthest.growth):
        notes.append(f"the absent weight moved x {farthest.growth:.3g} before that")
    if moved and evidence.ceiling is not None:
        halfway, end = evidence.ceiling.halfway, evidence.ceiling.end
        if evidence.ceiling.died is not None:
            notes.append(
                f"the parameter of {farthest.task!r} dies in a longer absence: from a phantom number of about "
                f"{max(evidence.ceiling.died, 0.5):.2g} on its loss moves nothing any more, for good"
            )
        elif math.isfinite(end) and distance(max(end, 1e-300) / max(halfway, 1e-300)) < LEVEL:
            notes.append(f"the growth levels off at x {end:.3g}")
        else:
            notes.append("no bound on the growth was seen")
    lengths = [
        f"{back.recovery:.2g} ({optimiser})" if math.isfinite(back.recovery) else f"more than 3 ({optimiser})"
        for optimiser, back in evidence.returns.items()
        if back.finite and back.recovery > 0
    ]
    if lengths:
        notes.append(f"after its return the weight needs {', '.join(lengths)} times the absence to recover")
    if evidence.cold is not None and evidence.cold.raised:
        notes.append(f"absent from the very first batch it raises {evidence.cold.raised}")
    notes += _by_task(evidence)
    if verdict != Verdict.UNREGULARISED:
        notes += _negative_total(evidence, settings, farthest if moved else None)
    if evidence.warm.responds and evidence.warm.constant:
        notes.append(
            f"the weight of {', '.join(sorted(evidence.warm.constant))} is a constant: no parameter is its own"
        )
    ratios = [ratio for drift in evidence.drifts for ratio in drift.present_ratio]
    if all(map(math.isfinite, ratios)) and max(map(distance, ratios)) > MOVED:
        notes.append(f"present tasks' weights change at once, x {min(ratios):.3g} to x {max(ratios):.3g}")
    if evidence.residue is not None and evidence.residue.momentum + evidence.residue.decay > 0:
        notes.append(
            f"a gradient of 0 is not rest: Adam's momentum moved it by {evidence.residue.momentum:.2g}, "
            f"AdamW's decay by {evidence.residue.decay:.2g} (FrozenKendallLoss stops both)"
        )
    return notes
