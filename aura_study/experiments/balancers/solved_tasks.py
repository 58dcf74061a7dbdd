"""What a task that is present and solved does to every balancer, against the same balancer told that it is away."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch

from aura_study.balancing import BALANCERS, Balancer, Broken, Effect, PresentOnly, balancer
from aura_study.balancing.effects import broken, distance, in_words
from aura_study.balancing.session import Session, same_draws
from aura_study.claims import Measurement
from aura_study.claims.statistics.intervals import seeds, share_interval
from aura_study.experiments.balancers.parameters import BalancersParameters
from aura_study.experiments.balancers.problems import RandomGradients, present_mask
from aura_study.experiments.balancers.stretches import CORRELATIONS
from aura_study.runs.jobs import side_by_side

DEPTHS = (1e-3, 1e-6, 1e-9, 0.0)
"""What is left of the solved task's loss and gradient."""
CLAIMED = 1e-6
WARM, FALL, STAY, BACK = 6, 6, 12, 6
EPOCH = 2
"""Steps of DWA's epoch."""
TASKS = (4, 8)
"""Of the problems; the first alone where fewer than four random ones are asked for."""
LEAST = 1e-12


def left(step: int, depth: float) -> float:
    """Factor on the solved task's loss and gradient in a step: 1, down to ``depth`` in equal ratios, there, 1 again."""
    fallen = min(step - WARM + 1, FALL)
    if fallen <= 0 or step >= WARM + FALL + STAY:
        return 1.0
    return depth if fallen == FALL else float(max(depth, LEAST) ** (fallen / FALL))


def follow(entry: Balancer, tasks: int, seed: int, depth: float, lr: float) -> Iterator[dict[str, object]]:
    """One balancer step by step; the last task is being solved, and the reference is told meanwhile that it is away.

    Rows: phase, and what `distance` finds of the update against the reference's, with the solved task's share of the
    weights by both; ``error`` where the balancer raised, which ends it.
    """
    problem = RandomGradients(tasks, 96, seed, CORRELATIONS[seed % len(CORRELATIONS)])
    reference = Session(PresentOnly(entry.make(tasks).double()), entry.kind, lr=lr, epoch=EPOCH)
    asked = Session(entry.make(tasks).double(), entry.kind, lr=lr, epoch=EPOCH)
    everyone, others = torch.ones(tasks, dtype=torch.bool), present_mask(tasks, 1)
    for step in range(WARM + FALL + STAY + BACK):
        problem.draw()
        factor = torch.where(others, 1.0, left(step, depth)).double()
        solved = WARM <= step < WARM + FALL + STAY
        phase = "back" if step >= WARM + FALL + STAY else "solved" if step >= WARM + FALL - 1 else "before"
        with same_draws(1000 * seed + step):
            right = reference.answer(problem.losses(), problem.gradients(), others if solved else everyone)
        try:
            with same_draws(1000 * seed + step):
                answer = asked.answer(factor * problem.losses(), factor.unsqueeze(1) * problem.gradients(), everyone)
            problem.move(right.update)
            asked.close(factor * problem.losses(), everyone)
        except Exception as error:  # what a balancer raises is a finding, of whatever type
            yield {"phase": phase, "finite": False, "error": f"{type(error).__name__}: {str(error)[:120]}"}
            return
        reference.close(problem.losses(), others if solved else everyone)
        shares = [float(one.weights[-1].abs() / one.weights.abs().sum()) for one in (answer, right)]
        yield {"phase": phase, **distance(answer.update, right.update), "share": shares[0], "share_right": shares[1]}


def outcome(steps: pd.DataFrame) -> dict[str, object]:
    """How it broke, the update's median length and cosine while the task is solved, and its share once back."""
    solved, back = (steps[steps["phase"] == phase] for phase in ("solved", "back"))
    length = float(solved["ratio"].median())
    growths = (back["share"] / back["share_right"]).dropna() if "share" in back else pd.Series(dtype=float)
    growth = float(growths.iloc[int(np.abs(np.log(growths.clip(1e-300))).argmax())]) if len(growths) else np.nan
    after = steps[steps["phase"] != "before"]
    how = broken(bool(after["finite"].all()) and len(after) > 0, length, growth)
    worst = solved.iloc[int(solved["difference"].fillna(0.0).to_numpy().argmax())] if len(solved) else None
    bent = Effect.NAN if worst is None else in_words(worst.to_dict())
    cosine = float(solved["cosine"].median())
    return {"broken": str(how), "bent": str(bent), "length": length, "cosine": cosine, "growth": growth}


def solved_tasks(p: BalancersParameters) -> pd.DataFrame:
    """`outcome` of each balancer, depth and problem; columns balancer, depth, tasks, seed and those."""
    names = [entry.name for entry in BALANCERS]
    found = side_by_side(_of_one, names, p, workers=p.workers)
    return pd.DataFrame([row for rows in found for row in rows])


def _of_one(name: str, p: BalancersParameters) -> list[dict[str, object]]:
    entry, count = balancer(name), max(1, min(p.problems // 2, len(TASKS)))
    return [
        {"balancer": name, "depth": depth, "tasks": tasks, "seed": seed}
        | outcome(pd.DataFrame(list(follow(entry, tasks, seed, depth, p.balancer_lr))))
        for depth in DEPTHS
        for tasks in TASKS[:count]
        for seed in seeds(count, p.seed)
    ]


def table(found: pd.DataFrame) -> pd.DataFrame:
    """One row per balancer, the gravest last: how it breaks at each depth in the typical problem, and by its formula.

    ``length`` and ``growth`` are geometric means over the problems at the claimed depth, ``bent`` the commonest effect
    on the update's worst step there, ``at zero`` that at an exact 0.
    """
    rows = []
    for entry in BALANCERS:
        own = found[found["balancer"] == entry.name]
        claimed = own[own["depth"] == CLAIMED]
        row: dict[str, object] = {"balancer": entry.name, "takes": str(entry.kind)}
        row |= {_column(depth): _commonest(own[own["depth"] == depth]["broken"]) for depth in DEPTHS}
        row |= {"bent": _commonest(claimed["bent"]), "at zero": _commonest(own[own["depth"] == 0]["bent"])}
        row |= {name: float(np.exp(np.log(claimed[name].clip(1e-300)).mean())) for name in ("length", "growth")}
        right = row[_column(CLAIMED)] == entry.solved
        row |= {"predicted": "yes" if right else f"no, predicted: {entry.solved}", "why": entry.nearly_zero or "-"}
        rows.append(row)
    order = list(Broken)
    return pd.DataFrame(rows).sort_values(
        _column(CLAIMED), key=lambda column: -column.map(order.index), kind="stable", ignore_index=True
    )


def _column(depth: float) -> str:
    return f"{depth:g}"


def _commonest(values: pd.Series) -> str:
    return str(values.mode().iloc[0])


def predicted_measurement(overview: pd.DataFrame) -> Measurement:
    """N1d: the share of balancers that break, or do not, as the registry predicts."""
    right = overview["predicted"] == "yes"
    share = share_interval(int(right.sum()), len(right))
    broken = {"share of balancers that break": float((overview[_column(CLAIMED)] != Broken.NOT).mean())}
    return Measurement(share.mean, share.low, share.high, f"share of {len(right)} balancers", 1.0, limits=broken)


def nearly_measurement(overview: pd.DataFrame) -> Measurement:
    """N1e: how many balancers break at a millionth and leave an exact 0 without any trace."""
    unmoved = (overview["at zero"] == Effect.UNTOUCHED) & (overview[_column(0.0)] == Broken.NOT)
    return Measurement.over([int((unmoved & (overview[_column(CLAIMED)] != Broken.NOT)).sum())], "balancers", 2.0)
