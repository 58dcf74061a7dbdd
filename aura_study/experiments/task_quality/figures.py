"""Figures of development scores under five weightings."""

import pandas as pd

from aura_study.figures import Plate
from aura_study.figures.lines import labels_once, legend_below, subplots
from aura_study.figures.rows import forest, name_rows
from aura_study.figures.style import (
    COLOURS,
    DOTTED,
    POLICY_LABELS,
    TASK_COLOURS,
    THEORY_COLOUR,
    policy_marks,
    style,
)

MARKS = {
    **{policy: policy_marks(policy) for policy in POLICY_LABELS},
    "equal": {"marker": "^", "color": COLOURS[5], "linestyle": "none", "label": "equal weights"},
    "analytic": {"marker": "v", "color": COLOURS[4], "linestyle": "none", "label": "analytic Kendall"},
}


@style()
def differences(table: pd.DataFrame, panels: str, interest: float) -> Plate:
    """Forest plots of a score's differences to the mask, a panel per value of column ``panels`` (regime or policy)."""
    names = list(table[panels].unique())
    size = (1.6 + 2.1 * len(names), 3.0)
    figure, row = subplots(1, len(names), sharey=True, sharex=True, squeeze=False, figsize=size)
    tasks = list(table["task"].unique())  # one order for all panels, whose rows share their names
    for axes, name in zip(row.flat, names, strict=True):
        rows = table[table[panels] == name].set_index("task").reindex(tasks)
        colours = [TASK_COLOURS.get(task.split(",")[0], THEORY_COLOUR) for task in tasks]
        forest(axes, rows, tasks, colours, interest)
        axes.set_title(MARKS[name]["label"] if name in MARKS else name, fontsize=10)
    reach = max(4 * interest, 2 * table["difference"].abs().max())
    if reach < table[["low", "high"]].abs().max().max():  # one wide interval would hide all others
        end = float(f"{0.75 * reach:.1g}")  # three ticks: the words of more would touch
        axes.set(xlim=(-reach, reach), xticks=(-end, 0, end))
    whose = "each weighting" if panels == "policy" else "unmasked (V10.1)"
    figure.supxlabel(f"area under the ROC curve: {whose} minus masked", fontsize=10)
    titles = ", ".join(str(MARKS[name]["label"]) if name in MARKS else name for name in names)
    told = {"regime": "regime at the end of training", "moment": "moment around the return", "policy": "weighting"}
    return Plate(
        figure,
        f"Area under the ROC curve of {whose} minus that of the masked run with the same seed, start and batches: mean "
        "and 95 % interval over seeds, a panel for each "
        f"{told[panels]}. To the right: better than masked. Grey: less than a point. An interval that leaves its panel "
        "goes on.",
        f"{len(names)} panels side by side: {titles}. In each, one dot with an interval per task and for the mean of "
        f"the tasks, beside a grey band around zero: {whose} minus masked.",
    )


@style()
def scores(table: pd.DataFrame) -> Plate:
    """Scores at the end of training: a panel per regime, a marker per weighting, what is asked of the control."""
    regimes = list(table["regime"].unique())
    policies = [name for name in MARKS if name in set(table["policy"])]
    across = min(3, len(regimes))
    down = -(-len(regimes) // across)
    size = (1.6 + 2.6 * across, 1.2 + 3.6 * down)
    figure, row = subplots(down, across, sharey=True, sharex=True, squeeze=False, figsize=size)
    for unused in row.flat[len(regimes) :]:
        unused.set_visible(False)
    tasks = list(table["task"].unique())  # one order for all panels, whose rows share their names
    for axes, regime in zip(row.flat, regimes, strict=False):
        rows = table[table["regime"] == regime]
        beside = rows.drop_duplicates("task").set_index("task").reindex(tasks)
        axes.plot(beside["tf_idf"], range(len(tasks)), "|", color="#777777", markersize=16, label="TF-IDF")
        axes.plot(beside["control"], range(len(tasks)), "x", color="#222222", markersize=6, label="control")
        for place, policy in enumerate(policies):
            chosen = rows[rows["policy"] == policy]
            offset = 0.13 * (place - (len(policies) - 1) / 2)
            where = [tasks.index(task) + offset for task in chosen["task"]]
            look = {**MARKS[policy], "markersize": 4, "elinewidth": 1.0}
            axes.errorbar(chosen["score"], where, xerr=chosen["deviation"].fillna(0.0), **look)
        name_rows(axes, tasks)
        axes.set_title(regime, fontsize=10)
    figure.supxlabel("development area under the ROC curve at the end of training", fontsize=10)
    figure.legend(*labels_once(row[0, 0]), loc="outside upper center", ncols=3)
    return Plate(
        figure,
        "Area under the ROC curve at the end of training, mean and standard deviation over seeds; 0.5 is chance. "
        "Vertical ticks: TF-IDF with logistic regression on the same rows. Crosses: the control, with rows of every "
        "task in every batch, which has to come within 0.05 of the tick.",
        f"{len(regimes)} panels with up to five markers, a tick and a cross per task.",
    )


@style()
def shares(table: pd.DataFrame) -> Plate:
    """Each task's share of the weighted loss and of the encoder's gradient, with what theory predicts of the first."""
    chosen = table[table["policy"].isin(["unmasked", "masked"])]
    regimes = list(chosen["regime"].unique())
    kinds = {
        "loss_share": "weighted loss",
        "gradient_share": "encoder gradient",
        "clipped_share": "after clipping",
        "update_share": "Adam's update",
    }
    figure, grid = subplots(
        2, len(regimes), sharey=True, sharex=True, squeeze=False, figsize=(1.6 + 2.1 * len(regimes), 5.0)
    )
    for row, policy in zip(grid, ("unmasked", "masked"), strict=True):
        for axes, regime in zip(row, regimes, strict=True):
            rows = chosen[(chosen["regime"] == regime) & (chosen["policy"] == policy)]
            left = dict.fromkeys(kinds, 0.0)
            for task, colour in TASK_COLOURS.items():
                values = rows[rows["task"] == task]
                for place, kind in enumerate(kinds):
                    width = float(values[kind].sum())
                    axes.bar(place, width, bottom=left[kind], color=colour, width=0.7, label=task)
                    left[kind] += width
            edges = rows["predicted_share"].cumsum()
            axes.hlines(edges, -0.45, 0.45, color="white", linewidth=2.8)
            axes.hlines(edges, -0.45, 0.45, **DOTTED, linewidth=1.4, label="predicted borders")
            axes.set_xticks(range(len(kinds)), list(kinds.values()), rotation=90, fontsize=9)
            axes.set_title(f"{regime}\n{POLICY_LABELS[policy]}", fontsize=9)
            axes.grid(axis="x", visible=False)
    for axes in grid[:, 0]:
        axes.set_ylabel("share of the task")
    legend_below(figure, grid[0, 0], ncols=5)
    return Plate(
        figure,
        "How the tasks share the second half of training, mean over seeds. Dotted: where the borders of the first "
        "column should lie, from presence alone. The second column is the encoder's gradient norms, the third the same "
        "after clipping, the fourth once Adam has divided each element by the root of its second moment.",
        f"Two rows of {len(regimes)} panels, unmasked above masked, each with four stacked columns of four colours.",
    )


@style()
def shares_and_scores(relation: pd.DataFrame, slope: float, interest: float) -> Plate:
    """Change of score against change of share, unmasked against masked, a point per regime, task and seed."""
    chosen = relation[relation["policy"] == "unmasked"]
    markers = dict(zip(chosen["regime"].unique(), "os^DvP", strict=False))
    figure, axes = subplots(figsize=(7, 3.8))
    axes.axhspan(-interest, interest, color="#888888", alpha=0.15, linewidth=0)
    for (regime, task), rows in chosen.groupby(["regime", "task"], sort=False):
        look = {"color": TASK_COLOURS[str(task)], "marker": markers[regime], "linestyle": "none", "alpha": 0.75}
        axes.plot(rows["doublings"], rows["difference"], **look)
    low, high = chosen["doublings"].min(), chosen["doublings"].max()
    axes.plot([low, high], [slope * low, slope * high], color=THEORY_COLOUR, linewidth=1.0, label="fitted")
    for task, colour in TASK_COLOURS.items():
        axes.plot([], [], "o", color=colour, label=task)
    for regime, marker in markers.items():
        axes.plot([], [], marker=marker, color="#777777", linestyle="none", label=regime)
    axes.set(
        xlabel="doublings of the task's share, unmasked against masked", ylabel="change of the area under the ROC curve"
    )
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return Plate(
        figure,
        "What a task gains in area under the ROC curve without the mask, against what it gains in its share of the "
        "encoder's clipped gradient; one point per regime, task and seed. Line: the fitted gain per doubling. Grey: "
        "less than a point.",
        "Scatter of coloured points, a colour per task and a marker per regime, with a line through zero.",
    )
