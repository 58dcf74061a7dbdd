"""What one absent task does to every published balancer, measured step by step against the balancer cured."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from aura_study.balancing import BALANCERS, Balancer, Effect, PresentOnly, balancer
from aura_study.balancing.effects import STOPPED_BELOW, distance, in_words, return_in_words
from aura_study.balancing.session import Answer, Fill, Session, same_draws
from aura_study.claims.statistics.intervals import seeds
from aura_study.experiments.balancers.parameters import BalancersParameters
from aura_study.experiments.balancers.problems import Problem, RandomGradients, SharedLayer, present_mask, sizes
from aura_study.runs.jobs import side_by_side

RETURNED_WITHIN = 0.1
LARGE = 16
LAYER_EPOCH = 3
"""Steps of DWA's epoch on the layer: two of them, of nothing but zeros, fit into a stretch of six."""
CORRELATIONS = (0.3, 0.0, -0.3)


def follow(
    entry: Balancer,
    make_problem: Callable[[], Problem],
    present: Tensor,
    steps: tuple[int, int, int],
    fills: Sequence[Fill],
    lr: float,
    epoch: int,
    draws: int = 0,
) -> Iterator[dict[str, object]]:
    """Train with the cured balancer; ask the same balancer with other fills the same questions, step by step.

    ``steps`` is how long all are there, how long those not ``present`` are away, and how long all are back; ``draws``
    seeds what random balancers draw. One row per fill and step: the update's length over the cured one's, their
    cosine, their difference over the cured length, and the share of the summed weights that the tasks that were away
    have, by both.
    """
    problem = make_problem()
    cured = Session(PresentOnly(entry.make(problem.tasks).double()), entry.kind, lr=lr, epoch=epoch)
    others = {fill: Session(entry.make(problem.tasks).double(), entry.kind, fill, lr, epoch) for fill in fills}
    failed: dict[Fill, str] = {}
    warm, away, back = steps
    everyone = torch.ones_like(present)
    for step in range(warm + away + back):
        gone = warm <= step < warm + away
        here = present if gone else everyone
        if step:
            problem.draw()
        batch = problem.losses(), problem.gradients(), here
        with same_draws(draws + step):
            reference = cured.answer(*batch)
        answers: dict[Fill, Answer] = {}
        sound = [fill for fill in fills if fill not in failed]
        for fill in sound:
            try:
                with same_draws(draws + step):
                    answers[fill] = others[fill].answer(*batch)
            except Exception as error:  # what a balancer raises on a fill is a finding, of whatever type
                failed[fill] = f"{type(error).__name__}: {str(error)[:120]}"
        problem.move(reference.update)
        for session in (cured, *(others[fill] for fill in answers)):
            session.close(problem.losses(), here)
        phase = "away" if gone else "warm" if step < warm else "back"
        for fill in fills:
            if fill in failed:
                found: dict[str, object] = {"error": failed[fill], "finite": False}
            else:
                found = _compared(answers[fill], reference, present)
            yield {"fill": str(fill), "step": step - warm, "phase": phase, **found}


def _compared(answer: Answer, reference: Answer, present: Tensor) -> dict[str, object]:
    return {
        **distance(answer.update, reference.update),
        "share": _share(answer.weights, ~present),
        "share_cured": _share(reference.weights, ~present),
    }


def _share(weights: Tensor, chosen: Tensor) -> float:
    return float(weights[chosen].abs().sum() / weights.abs().sum())


def effects(steps: pd.DataFrame) -> dict[str, object]:
    """One run of one fill in plain words and numbers: its worst step while the tasks are away, and their return."""
    away, back = steps[steps["phase"] == "away"], steps[steps["phase"] == "back"]
    first = back.iloc[0]
    worst = _worst(away)
    recovered = back[~(back["finite"] & (back["difference"] < RETURNED_WITHIN))]
    return {
        "during": str(_effect(worst)),
        "ratio": worst.get("ratio"),
        "cosine": worst.get("cosine"),
        "worst_difference": worst.get("difference"),
        "median_ratio": away["ratio"].median() if "ratio" in away else np.nan,
        "stopped": float((away["ratio"] < STOPPED_BELOW).mean()) if "ratio" in away else np.nan,
        "after": str(_return(first)),
        "share_growth": _growth(first),
        "return_difference": first.get("difference"),
        "recovery": 0 if recovered.empty else int(recovered["step"].max() - back["step"].min() + 1),
        "error": next((text for text in steps.get("error", pd.Series(dtype=object)).dropna()), None),
    }


def _worst(away: pd.DataFrame) -> pd.Series:
    broken = away[~away["finite"].astype(bool)]
    if len(broken) or "difference" not in away or away["difference"].isna().all():
        return broken.iloc[0] if len(broken) else away.iloc[0]
    return away.iloc[int(np.nanargmax(away["difference"].to_numpy(float)))]


def _effect(row: pd.Series) -> Effect:
    return Effect.ERROR if isinstance(row.get("error"), str) else in_words(row.to_dict())


def _return(row: pd.Series) -> Effect:
    return Effect.ERROR if isinstance(row.get("error"), str) else return_in_words(row.to_dict(), _growth(row))


def _growth(row: pd.Series) -> float:
    """The returning tasks' share of the weights over the share they would have had; NaN where there are no weights."""
    share, cured = row.get("share", np.nan), row.get("share_cured", np.nan)
    return float(share / cured) if cured else np.nan


def _run(rows: Iterator[dict[str, object]], entry: Balancer, **where: object) -> list[dict[str, object]]:
    table = pd.DataFrame(rows)
    shared = {"balancer": entry.name, "kind": str(entry.kind), **where}
    return [{**shared, "fill": fill, **effects(steps)} for fill, steps in table.groupby("fill", sort=False)]


def random_problems(p: BalancersParameters, fills: Sequence[Fill] = (Fill.ZERO,)) -> pd.DataFrame:
    """One row per balancer, random problem and fill: short stretches on random gradients of many sizes."""
    names = [entry.name for entry in BALANCERS]
    return pd.DataFrame([row for rows in side_by_side(_on_random, names, p, fills, workers=p.workers) for row in rows])


def _on_random(name: str, p: BalancersParameters, fills: Sequence[Fill]) -> list[dict[str, object]]:
    entry = balancer(name)
    found: list[dict[str, object]] = []
    for tasks, absent in sizes(p.problem_sizes.split(",")):
        for seed in seeds(p.problems if tasks <= LARGE else 1, p.seed):
            make = _random(tasks, seed)
            rows = follow(entry, make, present_mask(tasks, absent), (3, 3, 1), fills, p.balancer_lr, 1, 1000 * seed)
            where = {"problem": f"random {tasks}/{absent} #{seed}", "tasks": tasks, "absent": absent}
            found += _run(rows, entry, **where)
    return found


def _random(tasks: int, seed: int) -> Callable[[], Problem]:
    correlation = CORRELATIONS[seed % len(CORRELATIONS)]
    return lambda: RandomGradients(tasks, max(96, tasks), seed, correlation)


def trained_layer(
    p: BalancersParameters, fills: Sequence[Fill] = (Fill.ZERO, Fill.NAN, Fill.LEFT_OUT)
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Summary per balancer, problem and fill, and every step: a long stretch on a shared layer that is trained."""
    names = [entry.name for entry in BALANCERS]
    told = side_by_side(_on_layer, names, p, fills, workers=p.workers)
    found = [row for rows, _ in told for row in rows]
    return pd.DataFrame(found), pd.concat([path for _, paths in told for path in paths], ignore_index=True)


def _on_layer(
    name: str, p: BalancersParameters, fills: Sequence[Fill]
) -> tuple[list[dict[str, object]], list[pd.DataFrame]]:
    entry = balancer(name)
    found: list[dict[str, object]] = []
    paths: list[pd.DataFrame] = []
    tasks, absent = 4, 1
    for seed in seeds(p.problems, p.seed):
        present, long = present_mask(tasks, absent), (p.away,) * 3
        steps = list(follow(entry, _layer(tasks, seed), present, long, fills, p.balancer_lr, LAYER_EPOCH, 1000 * seed))
        where = {"problem": f"layer {tasks}/{absent} #{seed}", "tasks": tasks, "absent": absent}
        found += _run(iter(steps), entry, **where)
        paths.append(pd.DataFrame(steps).assign(balancer=entry.name, seed=seed))
    return found, paths


def _layer(tasks: int, seed: int) -> Callable[[], Problem]:
    return lambda: SharedLayer(tasks, seed)
