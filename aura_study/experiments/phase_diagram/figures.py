"""Phase diagrams: where the phantom gradient is harmless, where it inflates, explodes, whips or ends in NaN."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.lines import Line2D

from aura_study.figures import Plate
from aura_study.figures.lines import coloured, edge_labels, legend_below, subplots
from aura_study.figures.rows import colour_key
from aura_study.figures.style import DOTTED, TASK_COLOURS, THEORY_COLOUR, form_label, style

PHASE_COLOURS = ("#f2f2f2", "#9ecae9", "#E69F00", "#D55E00", "#CC79A7", "#8c8c8c")


@style()
def diagrams(measured: pd.DataFrame, predicted: pd.DataFrame, phases: tuple[str, ...], rate: float) -> Plate:
    """Measured phase over phantom number and presence, with the borders of the predicted phases drawn in."""
    figure, panels = subplots(2, 2, sharex=True, sharey=True, figsize=(9.2, 7.2))
    colours = ListedColormap(PHASE_COLOURS)
    norm = BoundaryNorm(np.arange(len(phases) + 1) - 0.5, len(phases))
    kinds = measured[["parameterization", "optimizer"]].drop_duplicates()
    for axes, (form, optimizer) in zip(panels.flat, kinds.itertuples(index=False), strict=True):
        maps = []
        for table in (measured, predicted):
            rows = table[(table["parameterization"] == form) & (table["optimizer"] == optimizer)]
            maps.append(rows.pivot(index="presence", columns="phantom", values="phase"))
        seen, said = maps
        axes.pcolormesh(seen.columns, seen.index, seen, cmap=colours, norm=norm, shading="nearest", rasterized=True)
        for phase in range(1, len(phases)):
            inside = (said >= phase).to_numpy(float)
            if 0 < inside.mean() < 1:
                axes.contour(said.columns, said.index, inside, levels=[0.5], colors=THEORY_COLOUR, linewidths=1.4)
        axes.set(xscale="log", yscale="log", title=f"{form_label(form)}, {optimizer}")
        axes.grid(False)
    edge_labels(panels, r"phantom number $\Lambda$ of the absence", "presence p before and after")
    border = Line2D([], [], color=THEORY_COLOUR, linewidth=1.4, label="predicted border")
    colour_key(figure, dict(zip(phases, PHASE_COLOURS, strict=True)), border, edge="#888888")
    return Plate(
        figure,
        "What an absence does to a task that is otherwise present with probability p; learning rate of sigma "
        f"{rate:g}. Colours: simulated; lines: borders that the closed forms predict. By them rare tasks are inflated "
        "without any long absence; beyond Lambda = 1.15 the absence itself adds a factor of ten, under Adam sooner or "
        "later as its memory has it; SGD then throws the task out.",
        "Four maps over phantom number and presence. Harmless cells lie at top left, inflated ones below, exploded and "
        "slowly recovering ones at the right, switched-off ones at the right and bottom under SGD; for SGD on sigma "
        "most of the map is NaN; for AURA's softplus almost all is harmless or inflated.",
    )


@style()
def recovery(curves: pd.DataFrame) -> Plate:
    """Steps that the way back takes, over the phantom number of the absence."""
    figure, axes = subplots(figsize=(6.4, 4.2))
    for colour, (optimizer, rate), rows in coloured(curves, ["optimizer", "rate"], sort=False):
        label = rf"{optimizer}, $\eta$ = {rate:g}"
        axes.plot(rows["phantom"], rows["measured"], "o", color=colour, markersize=3.5, label=label)
        axes.plot(rows["phantom"], rows["predicted"], color=THEORY_COLOUR, linewidth=0.9)
        axes.plot(rows["phantom"], rows["absent_steps"], color=colour, linestyle=":", linewidth=1)
    axes.plot([], [], color=THEORY_COLOUR, linewidth=0.9, label="predicted")
    axes.plot([], [], color="#555555", linestyle=":", linewidth=1, label="length of the absence")
    axes.set(yscale="log", xlabel=r"phantom number $\Lambda$ of the absence")
    axes.set_ylabel("steps until the weight is back within a factor 2")
    legend_below(figure, axes, ncols=3)
    return Plate(
        figure,
        "The way back of log sigma. Marks: simulated; lines: predicted; dotted: length of the absence. Under SGD with "
        "small steps it should be short whatever the absence, until one step overshoots (whiplash) and it grows as "
        "exp(2 Lambda); under Adam it exceeds the absence itself where marks lie above the dotted line (hysteresis).",
        "Curves over the phantom number: the two SGD curves are flat, then rise steeply past a threshold that depends "
        "on the rate. The Adam curve rises steadily and crosses the dotted line of the absence.",
    )


def _borders(centres: np.ndarray) -> np.ndarray:
    """Borders of cells around rising positive numbers, halfway on a logarithmic axis."""
    logs = np.log(centres)
    if len(logs) == 1:
        return centres[0] * np.array([0.9, 1.1])
    middle = (logs[1:] + logs[:-1]) / 2
    return np.exp(np.concatenate([[2 * logs[0] - middle[0]], middle, [2 * logs[-1] - middle[-1]]]))


@style()
def whiplash(table: pd.DataFrame, border: pd.DataFrame) -> Plate:
    """Weight after SGD's first step with the task back, over phantom number and learning rate; the predicted border."""
    figure, axes = subplots(figsize=(6.4, 4.2))
    rates = np.sort(table["rate"].unique())
    heights = _borders(rates)
    for place, rate in enumerate(rates):  # at large rates few phantom numbers are whole numbers of steps
        row = table[table["rate"] == rate].sort_values("phantom")
        logs = np.log10(np.clip(row["weight"].to_numpy(), 1e-6, 1e6))[None]
        borders = _borders(row["phantom"].to_numpy())
        look: Any = {"cmap": "PuOr_r", "vmin": -6, "vmax": 6, "rasterized": True}
        marks = axes.pcolormesh(borders, heights[place : place + 2], logs, **look)
    axes.plot(border["phantom"], border["rate"], color=THEORY_COLOUR, linewidth=1.4, label="whiplash threshold")
    axes.set_facecolor("#d9d9d9")  # the map's own middle is nearly white
    most = table.groupby("rate")["phantom"].max().min()  # so far every rate goes
    axes.set(xscale="log", yscale="log", xlim=(table["phantom"].min(), most))
    axes.set_xlabel(r"phantom number $\Lambda$ of the absence")
    axes.set(ylabel=r"learning rate $\eta$ of $\log\sigma$", ylim=(table["rate"].min() / 1.2, 1.2))
    axes.legend(loc="lower left", facecolor="white", framealpha=0.8, frameon=True, edgecolor="none")
    figure.colorbar(marks, ax=axes, label=r"$\log_{10}$(weight / fixed point's) after one step")
    return Plate(
        figure,
        "SGD on log sigma: weight of the returning task after one step, over that of its fixed point. Line: "
        "whiplash threshold eta = Lambda / (exp(2 Lambda) - 1), where that step lands exactly on the fixed point; "
        "above it the task is thrown past it and goes silent. Grey: not simulated.",
        "A map over phantom number and learning rate. Below a curve that falls from upper left to lower right the "
        "weight is too large, above it the weight is orders of magnitude too small.",
    )


@style()
def growth(cells: pd.DataFrame, tolerance: float) -> Plate:
    """Growth of the weight over absences under Adam on the model's own losses, and measured over predicted."""
    lengths = sorted(cells["absent_steps"].unique())
    figure, panels = subplots(2, len(lengths), sharex=True, sharey="row", figsize=(10, 6.4))
    for place, steps in enumerate(lengths):
        above, below = panels[:, place]
        here = cells[cells["absent_steps"] == steps]
        phantom = np.sort(here["phantom"].unique())
        above.plot(phantom, np.exp(2 * phantom), color="#888888", linestyle="--", label=r"SGD: exp(2$\Lambda$)")
        below.axhspan(1 - tolerance, 1 + tolerance, color="#eeeeee")
        for number, (task, rows) in enumerate(here.groupby("task", sort=False)):
            colour, beside = TASK_COLOURS[str(task)], rows["phantom"] * 1.05 ** (number - 1.5)
            above.plot(rows["phantom"], rows["growth"], "o", color=colour, label=str(task))
            above.plot(rows["phantom"], rows["from_memory"], **DOTTED, label="predicted, Adam")
            for name, marker, fill in (("memory", "o", colour), ("losses", "D", "white")):
                reach = [rows[name] - rows[f"{name}_low"], rows[f"{name}_high"] - rows[name]]
                look: Any = {"color": colour, "markerfacecolor": fill, "markersize": 4}
                below.errorbar(beside, rows[name], yerr=np.abs(reach), fmt=marker, **look)
        above.set(xscale="log", yscale="log", title=f"{steps} absent steps")
        below.set_xticks(phantom, [f"{value:g}" for value in phantom])
        below.set_xticks([], minor=True)
    marks = cells[["memory", "losses"]]
    low, high = 1 - marks.min().min(), marks.max().max() - 1
    panels[1, 0].set_ylim(1 - max(2 * tolerance, 1.1 * low), 1 + max(2 * tolerance, 1.1 * high))
    panels[0, 0].set_ylabel("weight grows by")
    panels[1, 0].set_ylabel("measured / predicted")
    for axes in panels[1]:
        axes.set_xlabel(r"phantom number $\Lambda$")
    legend_below(figure, panels[0, 0], ncols=6)
    return Plate(
        figure,
        "Above: growth of an absent task's weight under Adam, on the losses that the model itself had of each task "
        "(marks), and what Adam's second moment and age at the start of the absence predict (dotted); dashed: SGD. "
        "Below: measured over predicted with 95 % intervals over seeds; discs: the growth, from the second moment; "
        "diamonds: how far log sigma falls, from the loss's coefficient of variation, where that is at most 1; grey: "
        f"within {tolerance:.0%}.",
        "Two rows of panels, one column a length of the absence. Above, marks of four tasks over the phantom number "
        "with dotted predictions and a dashed line for SGD; below, ratios with error bars about a grey band at one.",
    )
