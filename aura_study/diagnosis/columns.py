"""Which column of a stranger's table is what: losses, weights or sigmas, learning rate, steps, presence."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aura_study.diagnosis.reading import SEPARATOR, CannotRead
from aura_study.errors import did_you_mean

Array = NDArray[np.float64]

SCALES: dict[str, tuple[str, ...]] = {
    "log_variance": ("log_variances?", "log_?vars?", "log_sigmas?_?(2|sq|squared?)"),
    "log_sigma": ("log_?sigmas?", "log_?stds?"),
    "variance": ("variances?", "sigmas?_(sq|squared?)", "vars?"),
    "sigma": ("sigmas?", "stds?", "uncertaint(y|ies)"),
    "precision": ("precisions?",),
    "weight": ("(task|loss)_weights?", "weights?"),
}
"""What columns of weights may hold, each with its usual names, the most telling first."""
OTHERS: dict[str, tuple[str, ...]] = {
    "loss": ("loss(es)?",),
    "presence": ("present", "presences?"),
    "lr": ("lr", "learning_?rates?"),
    "step": ("step", "global_step", "iterations?", "iters?"),
    "epoch": ("epochs?",),
}
BY_TASK = (*SCALES, "loss", "presence")
QUANTITIES = (*BY_TASK, "lr", "step", "epoch", "total")
HELD_OUT = {"val", "valid", "validation", "test", "eval", "dev"}
NO_QUANTITY = {"grad", "gradient", "norm", "weighted", "decay", "acc", "accuracy", "min", "max"}
FILLERS = {*("train", "training", "epoch", "step", "mean", "avg", "average", "task", "tasks", "raw", "unweighted"), *(
    "uncertainty", "weighting", "kendall", "uw", "loss", "losses", "metrics", "param", "params")}  # fmt: skip
TOTALS = {"", "total", "sum", "all", "overall", "combined"}
NUMBERLESS = {"", "nan", "none", "null", "na", "n/a", "-"}


@dataclass(frozen=True)
class Log:
    """A log as a diagnosis reads it; a record is a row, for a step, some steps or an epoch.

    Attributes:
        tasks: names, T of them.
        scale: what the columns of weights hold, a key of `SCALES`.
        values: of these columns, shape ``(T, records)``.
        digits: smallest difference that their printed numbers can show, shape ``(T,)``.
        losses: mean loss in each record, NaN where there is none, shape ``(T, records)``.
        total: total loss, shape ``(records,)``; NaN without one.
        rates: learning rate at the end of each record, or None.
        steps: optimiser's steps up to the end of each record, or None where only epochs are known.
        presence: share of micro-batches that held the task, shape ``(T, records)``; NaN where nobody says.
        guesses: what was guessed from names, a sentence each.
    """

    tasks: tuple[str, ...]
    scale: str
    values: Array
    digits: Array
    losses: Array
    total: Array
    rates: Array | None
    steps: Array | None
    presence: Array
    guesses: tuple[str, ...] = ()

    @property
    def by_step(self) -> bool:
        """Whether every record is one step."""
        return self.steps is not None and bool((np.diff(self.steps) == 1).all())


def understand(
    table: pd.DataFrame,
    named: Mapping[str, str] | None = None,
    scale: str | None = None,
    steps_per_epoch: float | None = None,
) -> Log:
    """The log that ``table`` holds.

    Args:
        table: as `aura_study.diagnosis.reading.read_table` gives it.
        named: columns by what they are, ``QUANTITY`` or ``QUANTITY:TASK``; they replace the guesses for that quantity.
        scale: what columns of weights hold; by their names if not given.
        steps_per_epoch: optimiser's steps in an epoch, for a log that counts epochs.

    Raises:
        CannotRead: no columns of weights, unknown names, or values that are no numbers.
    """
    if scale is not None and scale not in SCALES:
        raise CannotRead(f"unknown scale {scale!r}{did_you_mean(scale, SCALES)}")
    table = _widened(table.rename(columns=str).reset_index(drop=True))
    found = _named(table, named or {})
    guessed = _guessed([name for name in table.columns if name not in set((named or {}).values())])
    for quantity in {key[0] for key in found}:
        guessed = {key: names for key, names in guessed.items() if key[0] != quantity}
    if any(key[0] in SCALES for key in found):
        guessed = {key: names for key, names in guessed.items() if key[0] not in SCALES}
    columns = found | {key: _fullest(table, names) for key, names in guessed.items()}
    table = _ordered(table, columns)
    held = _scale_of(columns, table)
    tasks = tuple(task for quantity, task in columns if quantity == held)
    values = np.stack([_numbers(table, columns[held, task]) for task in tasks])
    if not np.isfinite(values).any(1).all():
        lost = tasks[int(np.isfinite(values).any(1).argmin())]
        raise CannotRead(f"column {columns[held, lost]!r} holds no number")
    losses = _by_task(table, columns, "loss", tasks)
    presence = _by_task(table, columns, "presence", tasks)
    if ((presence < 0) | (presence > 1)).any():
        raise CannotRead("a presence is a share of batches, from 0 to 1")
    rates = _numbers(table, columns["lr", ""]) if ("lr", "") in columns else None
    rates = rates if rates is not None and np.isfinite(rates).any() and np.nanmax(rates) > 0 else None
    steps = _steps(table, columns, steps_per_epoch)
    total = _numbers(table, columns["total", ""]) if ("total", "") in columns else np.full(len(table), np.nan)
    whole = np.isfinite(values).all(0)
    start = int(whole.argmax()) if whole.any() else 0
    keep = np.isfinite(values).any(0) & (np.arange(len(table)) >= start)
    said = [f"{_told(key)} from column {name!r}" for key, name in columns.items() if key not in found]
    return Log(
        tasks=tasks,
        scale=scale or held,
        values=values[:, keep],
        digits=np.array([_digits(table[columns[held, task]]) for task in tasks]),
        losses=losses[:, keep],
        total=total[keep],
        rates=None if rates is None else _without_gaps(rates)[keep],
        steps=None if steps is None else steps[keep],
        presence=presence[:, keep],
        guesses=tuple(said),
    )


def _without_gaps(rates: Array) -> Array:
    known = np.isfinite(rates)
    places = np.arange(rates.size, dtype=float)
    return np.interp(places, places[known], rates[known])


def _told(key: tuple[str, str]) -> str:
    return f"{key[0].replace('_', ' ')}{f' of {key[1]}' if key[1] else ''}"


def _widened(table: pd.DataFrame) -> pd.DataFrame:
    """A long table with a column that names the task, or the quantity, made wide."""
    lower = {name.lower(): name for name in table.columns}
    index = [lower[name] for name in ("step", "global_step", "epoch", "iteration") if name in lower]
    by_task = next((lower[name] for name in ("task", "task_name", "head") if name in lower), None)
    by_tag = next((lower[name] for name in ("tag", "metric", "name", "key") if name in lower), None)
    value = next((lower[name] for name in ("value", "values") if name in lower), None)
    if by_tag and value and index and not by_task:
        wide = table.pivot_table(index=index, columns=by_tag, values=value, aggfunc="last", sort=False)
        return wide.reset_index().rename(columns=str)
    if by_task and index and table[by_task].nunique() < len(table):
        wide = table.pivot_table(index=index, columns=by_task, aggfunc="last", sort=False)
        whole = [SEPARATOR.join(map(str, pair)) for pair in wide.columns.to_flat_index()]
        wide.columns = pd.Index(whole)
        return _rates_once(wide.reset_index())
    return table


def _rates_once(table: pd.DataFrame) -> pd.DataFrame:
    """What is the run's and not a task's, once, where the long table repeats it for each."""
    first: dict[str, str] = {}
    for name in table.columns:
        quantity = name.split(SEPARATOR)[0]
        if _read(quantity)[0] in ("lr", "total") and quantity.lower() not in ("loss", "losses"):
            first.setdefault(quantity, name)
    others = [name for name in table.columns if name.split(SEPARATOR)[0] in first and name not in first.values()]
    return table.drop(columns=others).rename(columns={name: quantity for quantity, name in first.items()})


def _named(table: pd.DataFrame, named: Mapping[str, str]) -> dict[tuple[str, str], str]:
    found = {}
    for key, column in named.items():
        quantity, _, task = key.partition(":")
        if quantity not in QUANTITIES:
            raise CannotRead(f"unknown quantity {quantity!r}{did_you_mean(quantity, QUANTITIES)}")
        if (quantity in BY_TASK) != bool(task):
            needs = f"{quantity}:TASK" if quantity in BY_TASK else quantity
            raise CannotRead(f"{key}={column}: write {needs}=COLUMN")
        if column not in table.columns:
            raise CannotRead(f"there is no column {column!r}{did_you_mean(column, table.columns)}")
        found[quantity, task] = column
    return found


def _guessed(names: Sequence[str]) -> dict[tuple[str, str], list[str]]:
    """Columns by quantity and task; several where names differ in what is no part of either."""
    found: dict[tuple[str, str], list[str]] = {}
    for name in names:
        if "__MIN" in name or "__MAX" in name:  # exports of Weights & Biases
            continue
        quantity, task = _read(name.rpartition(" - ")[2])
        if quantity:
            found.setdefault((quantity, task), []).append(name)
    return found


def _read(name: str) -> tuple[str, str]:
    """What a column's name says: quantity and task, either empty."""
    tokens = [token.lower() for token in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]
    if not tokens or set(tokens) & HELD_OUT:
        return "", ""
    text = "_".join(tokens)
    for quantity in ("lr", *SCALES, "loss", "presence", "step", "epoch"):
        patterns = SCALES.get(quantity) or OTHERS[quantity]
        match = next(
            (found for pattern in patterns if (found := re.search(rf"(?<![a-z\d]){pattern}(?![a-z])", text))), None
        )
        if match is None:
            continue
        if quantity == "lr":
            return "lr", ""
        if set(tokens) & NO_QUANTITY:
            return "", ""
        rest = f"{text[: match.start()]}_{text[match.end() :]}".split("_")
        task = "_".join(token for token in rest if token and token not in FILLERS)
        if quantity in ("step", "epoch"):
            return (quantity, "") if not task or task == "global" or task == "trainer_global" else ("", "")
        if task in TOTALS:
            return ("total", "") if quantity == "loss" else ("", "")
        return quantity, task
    return "", ""


def _fullest(table: pd.DataFrame, names: Sequence[str]) -> str:
    return max(names, key=lambda name: table[name].notna().sum())


def _scale_of(columns: Mapping[tuple[str, str], str], table: pd.DataFrame) -> str:
    counts = {scale: sum(quantity == scale for quantity, _ in columns) for scale in SCALES}
    best = max(counts, key=lambda scale: counts[scale])
    if not counts[best]:
        shown = ", ".join(map(repr, table.columns[:12])) + (", ..." if len(table.columns) > 12 else "")
        raise CannotRead(
            f"no column of weights or sigmas was found among {shown}; name them: --column weight:TASK=COLUMN, with one "
            f"of {', '.join(SCALES)} for what it holds"
        )
    return best


def _ordered(table: pd.DataFrame, columns: Mapping[tuple[str, str], str]) -> pd.DataFrame:
    """One row a record, in order: rows of one step are parts of a record, and so are those of an epoch with gaps."""
    step, epoch = columns.get(("step", "")), columns.get(("epoch", ""))
    watched = [name for (quantity, _), name in columns.items() if quantity in BY_TASK]
    key = step or (epoch if epoch and (table[watched].isna().all(axis=1).any() or table[epoch].is_unique) else None)
    if key is None:
        return table
    order = pd.Series(_numbers(table, key), table.index)
    merged = table.assign(**{key: order})[order.notna()].groupby(key, sort=True, as_index=False).last()
    return merged if len(merged) else table


def _steps(table: pd.DataFrame, columns: Mapping[tuple[str, str], str], steps_per_epoch: float | None) -> Array | None:
    if ("step", "") in columns:
        return _numbers(table, columns["step", ""])
    if ("epoch", "") in columns and table[columns["epoch", ""]].is_unique:
        epochs = _numbers(table, columns["epoch", ""])
        return None if steps_per_epoch is None else epochs * steps_per_epoch
    if steps_per_epoch is not None:
        return np.arange(1.0, len(table) + 1) * steps_per_epoch
    return np.arange(1.0, len(table) + 1) if ("epoch", "") in columns else None


def _by_task(table: pd.DataFrame, columns: Mapping[tuple[str, str], str], quantity: str, tasks: Sequence[str]) -> Array:
    """Values of a quantity in the tasks' order; by place where one side has names and the other numbers."""
    here = {task: name for (held, task), name in columns.items() if held == quantity}
    if (
        not set(here) & set(tasks)
        and len(here) == len(tasks)
        and all(map(str.isdigit, tasks)) != all(map(str.isdigit, here))
    ):
        here = dict(zip(tasks, here.values(), strict=True))
    nothing = np.full(len(table), np.nan)
    return np.stack([_numbers(table, here[task]) if task in here else nothing for task in tasks])


def _numbers(table: pd.DataFrame, name: str) -> Array:
    """A column as numbers, NaN where it is empty or infinite.

    Raises:
        CannotRead: something in it is neither.
    """
    column = table[name]
    numbers = pd.to_numeric(column, errors="coerce")
    wrong = numbers.isna() & column.notna() & ~column.astype(str).str.strip().str.lower().isin(NUMBERLESS)
    if wrong.any():
        row = int(np.flatnonzero(wrong.to_numpy())[0])
        raise CannotRead(f"column {name!r}, row {row + 1}: {str(column.iloc[row])[:60]!r} is no number")
    values = numbers.to_numpy(float)
    return np.where(np.isfinite(values), values, np.nan)


def _digits(column: pd.Series) -> float:
    """The unit of the last printed place; 0 for numbers in full precision."""
    places = [len(text.partition(".")[2]) if "e" not in text.lower() else 9 for text in column.dropna().astype(str)]
    most = max(places, default=9)
    return 10.0**-most if most < 9 else 0.0
