"""Gradients chosen to break a statement: the effect of one row of zeros, and the cure, where solvers have it hard."""

from collections.abc import Callable, Mapping

import pandas as pd
import torch
from torch import Tensor

from aura_study.balancing import BALANCERS, Balancer, Effect, Kind, PresentOnly
from aura_study.balancing.effects import distance, in_words
from aura_study.balancing.session import Fill, Session, same_draws

TASKS, PARAMS = 4, 24


def _independent(random: torch.Generator) -> Tensor:
    return torch.randn(TASKS, PARAMS, generator=random, dtype=torch.float64)


def _alike(random: torch.Generator) -> Tensor:
    return _independent(random)[:1] + 0.01 * _independent(random)


def _repeated(random: torch.Generator) -> Tensor:
    rows = _independent(random)
    return rows[[0, 0, 1, 2]]


def _opposed(random: torch.Generator) -> Tensor:
    rows = _independent(random)
    return torch.stack([rows[0], -0.5 * rows[0], rows[1], rows[2]])


def _small_rebel(random: torch.Generator) -> Tensor:
    """Two large gradients that agree, and a small one slightly against both."""
    rows = _independent(random)
    large = rows[:1] + 0.5 * rows[1:3]
    return torch.cat([large, 0.02 * rows[3:] - 0.002 * rows[:1], rows[2:3]])


STRESSES: Mapping[str, Callable[[torch.Generator], Tensor]] = {
    "independent": _independent,
    "nearly alike": _alike,
    "two the same": _repeated,
    "two opposed": _opposed,
    "a small rebel": _small_rebel,
    "all x 1e-6": lambda random: 1e-6 * _independent(random),
    "all x 1e6": lambda random: 1e6 * _independent(random),
    "one x 1e-6": lambda random: _independent(random) * torch.tensor([[1e-6], [1], [1], [1]], dtype=torch.float64),
}


def _answers(entry: Balancer, rows: Tensor) -> tuple[Tensor | str, Tensor | str, Tensor | str]:
    """Updates with a row of zeros for the last task, on the others alone, and cured with NaN in its row."""
    losses = torch.linspace(0.5, 1.5, len(rows), dtype=rows.dtype)
    present = torch.arange(len(rows)) < len(rows) - 1
    made = [entry.make(count).to(rows.dtype) for count in (len(rows), len(rows) - 1, len(rows))]
    sessions = (
        Session(made[0], entry.kind, Fill.ZERO),
        Session(made[1], entry.kind, Fill.LEFT_OUT),
        Session(PresentOnly(made[2]), entry.kind),
    )
    told: list[Tensor | str] = []
    for session in sessions:
        with same_draws(0):
            try:
                told.append(session.answer(losses, rows, present).update)
            except Exception as error:  # what a solver raises on hard input is a finding
                told.append(f"{type(error).__name__}: {error}")
    return told[0], told[1], told[2]


def stress(problems: int, seed: int, dtype: torch.dtype = torch.float64) -> pd.DataFrame:
    """One row per balancer of gradients, stress and seed: effect of the zero row, the cure's relative difference."""
    found = []
    for name, make in STRESSES.items():
        for number in range(seed, seed + problems):
            rows = make(torch.Generator().manual_seed(number)).to(dtype)
            for entry in BALANCERS:
                if entry.kind == Kind.GRADIENTS:
                    found.append({"balancer": entry.name, "stress": name, "seed": number, **_judged(entry, rows)})
    return pd.DataFrame(found)


def _judged(entry: Balancer, rows: Tensor) -> dict[str, object]:
    zero, alone, cured = _answers(entry, rows)
    if isinstance(alone, str):
        same = isinstance(cured, str)
        return {"effect": f"alone: {Effect.ERROR}", "cure": 0.0 if same else float("inf"), "error": alone[:120]}
    length = float(alone.norm())
    apart = float("inf") if isinstance(cured, str) else float((cured - alone).norm())
    cure = apart / length if length > 0 else apart
    if length == 0 and not isinstance(zero, str) and not zero.any():
        return {"effect": "0 alone too", "cure": cure, "error": None}
    return {
        "effect": str(Effect.ERROR if isinstance(zero, str) else in_words(distance(zero, alone))),
        "cure": cure,
        "error": None,
    }


def stress_overview(table: pd.DataFrame) -> pd.DataFrame:
    """Balancers by stresses: the effects that were seen; the last column is the cure's largest difference."""
    seen = table.groupby(["balancer", "stress"], sort=False)["effect"].agg(
        lambda found: " / ".join(dict.fromkeys(found))
    )
    wide = seen.unstack()[list(STRESSES)]
    wide["PresentOnly differs by"] = table.groupby("balancer")["cure"].max()
    return wide.reset_index()
