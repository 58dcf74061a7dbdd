"""Figures of development scores under five weightings."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aura_study.figures.forest import forest
from aura_study.figures.style import COLOURS, POLICY_LABELS, TASK_COLOURS, THEORY_COLOUR, Plate, style

LABELS: dict[str, str] = {
    **POLICY_LABELS,
    "equal": "equal weights",
    "analytic": "analytic Kendall",
}
_LOOKS: dict[str, dict[str, Any]] = {
    "unmasked": {"marker": "o", "color": COLOURS[1]},
    "masked": {"marker": "s", "color": COLOURS[0]},
    "frozen": {"marker": "D", "color": COLOURS[2]},
    "equal": {"marker": "^", "color": COLOURS[3]},
    "analytic": {"marker": "v", "color": COLOURS[4]},
}


def differences(table: pd.DataFrame, panels: str, interest: float) -> Plate:
    """Forest plots of differences to the mask, a panel per value of column ``panels`` (regime or policy)."""
    names = list(table[panels].unique())
    width = 1.6 + 2.1 * len(names)
    with style():
        figure = Figure(figsize=(width, 3.0))
        for axes, name in zip(_row(figure, len(names)), names, strict=True):
            rows = table[table[panels] == name]
            tasks = list(rows["task"])
            colours = [TASK_COLOURS.get(task.split(",")[0], THEORY_COLOUR) for task in tasks]
            forest(axes, rows, tasks, colours, interest)
            axes.set_title(LABELS.get(name, name), fontsize=10)
        figure.supxlabel("difference of the score to the masked run", fontsize=10)
    return Plate(
        figure,
        "Score minus that of the masked run with the same seed, start and batches: mean and 95 % interval over seeds. "
        "To the right: better than masked. Grey: less than a point.",
        f"{len(names)} panels side by side. In each, one dot with an interval per task and for the mean of the tasks, "
        "beside a grey band around zero.",
    )


def _row(figure: Figure, count: int) -> Sequence[Axes]:
    panels = figure.subplots(1, count, sharey=True, sharex=True, squeeze=False)
    row: Sequence[Axes] = panels[0]
    return row


def scores(table: pd.DataFrame) -> Plate:
    """Scores at the end of training: a panel per regime, a marker per weighting, the majority baseline as a tick."""
    regimes = list(table["regime"].unique())
    policies = [name for name in _LOOKS if name in set(table["policy"])]
    with style():
        figure = Figure(figsize=(1.6 + 2.1 * len(regimes), 4.0))
        panels = _row(figure, len(regimes))
        for axes, regime in zip(panels, regimes, strict=True):
            rows = table[table["regime"] == regime]
            tasks = list(rows["task"].unique())
            baseline = rows.drop_duplicates("task")
            axes.plot(baseline["majority"], range(len(tasks)), "|", color="#777777", markersize=16, label="majority")
            for place, policy in enumerate(policies):
                chosen = rows[rows["policy"] == policy]
                offset = 0.13 * (place - (len(policies) - 1) / 2)
                where = [tasks.index(task) + offset for task in chosen["task"]]
                bars = chosen["deviation"].fillna(0.0)
                look = {**_LOOKS[policy], "markersize": 4, "elinewidth": 1.0, "linestyle": "none"}
                axes.errorbar(chosen["score"], where, xerr=bars, label=LABELS[policy], **look)
            axes.set_yticks(range(len(tasks)), tasks)
            axes.set_ylim(len(tasks) - 0.5, -0.5)
            axes.set_title(regime, fontsize=10)
            axes.grid(axis="y", visible=False)
        panels[0].set_xlim(-0.02, 1.04)  # marks at 0 and 1 whole
        figure.supxlabel("development score at the end of training", fontsize=10)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return Plate(
        figure,
        "Macro-F1 at the end of training (and samples-F1 of emotion), mean and standard deviation over seeds. "
        "Vertical ticks: the macro-F1 of always answering with the commonest label.",
        f"{len(regimes)} panels side by side with up to five markers per task on an axis from 0 to 1.",
    )


def shares(table: pd.DataFrame) -> Plate:
    """Each task's share of the weighted loss and of the encoder's gradient, with what theory foretells of the first."""
    chosen = table[table["policy"].isin(["unmasked", "masked"])]
    regimes = list(chosen["regime"].unique())
    kinds = {"loss_share": "weighted loss", "gradient_share": "encoder gradient", "clipped_share": "after clipping"}
    with style():
        figure = Figure(figsize=(1.6 + 2.1 * len(regimes), 5.0))
        grid = figure.subplots(2, len(regimes), sharey=True, sharex=True, squeeze=False)
        for row, policy in zip(grid, ("unmasked", "masked"), strict=True):
            for axes, regime in zip(row, regimes, strict=True):
                rows = chosen[(chosen["regime"] == regime) & (chosen["policy"] == policy)]
                left = dict.fromkeys(kinds, 0.0)
                for task, colour in TASK_COLOURS.items():
                    values = rows[rows["task"] == task]
                    for place, kind in enumerate(kinds):
                        width = float(values[kind].sum())
                        label = task if place == 0 else None
                        axes.bar(place, width, bottom=left[kind], color=colour, width=0.7, label=label)
                        left[kind] += width
                edges = rows["predicted_share"].cumsum()
                axes.hlines(edges, -0.45, 0.45, color=THEORY_COLOUR, linewidth=1.4, linestyle=":")
                axes.set_xticks(range(len(kinds)), list(kinds.values()), rotation=30, ha="right", fontsize=8)
                axes.set_title(f"{regime}\n{LABELS[policy]}", fontsize=9)
                axes.grid(axis="x", visible=False)
        for row in grid:
            row[0].set_ylabel("share of the task")
        figure.legend(*grid[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return Plate(
        figure,
        "How the tasks share the second half of training, mean over seeds. Dotted: where the borders of the first "
        "column should lie, from presence alone. The second column is the encoder's gradient norms, the third the same "
        "after clipping.",
        f"Two rows of {len(regimes)} panels, unmasked above masked, each with three stacked columns of four colours.",
    )


def shares_and_scores(relation: pd.DataFrame, slope: float, interest: float) -> Plate:
    """Change of score against change of share, unmasked against masked, a point per regime, task and seed."""
    chosen = relation[relation["policy"] == "unmasked"]
    markers = dict(zip(chosen["regime"].unique(), "os^Dv", strict=False))
    with style():
        figure = Figure(figsize=(7, 3.8))
        axes = figure.subplots()
        axes.axhspan(-interest, interest, color="#888888", alpha=0.15, linewidth=0)
        for (regime, task), rows in chosen.groupby(["regime", "task"], sort=False):
            look = {"color": TASK_COLOURS[str(task)], "marker": markers[regime], "linestyle": "none", "alpha": 0.75}
            axes.plot(rows["doublings"], rows["difference"], **look)
        low, high = chosen["doublings"].min(), chosen["doublings"].max()
        axes.plot([low, high], [slope * low, slope * high], color=THEORY_COLOUR, linewidth=1.0)
        for task, colour in TASK_COLOURS.items():
            axes.plot([], [], "o", color=colour, label=task)
        for regime, marker in markers.items():
            axes.plot([], [], marker=marker, color="#777777", linestyle="none", label=regime)
        axes.set(xlabel="doublings of the task's share, unmasked against masked", ylabel="change of macro-F1")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return Plate(
        figure,
        "What a task gains in macro-F1 without the mask, against what it gains in its share of the encoder's clipped "
        "gradient; one point per regime, task and seed. Line: the fitted gain per doubling. Grey: less than a point.",
        "Scatter of coloured points around zero; those of reporting under mixing stand apart to the right.",
    )
