"""Figures of what the mask leaves behind: motion at a gradient of 0, NaN gradients, presence that differs per shard."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from aura_study.figures import Plate
from aura_study.figures.lines import coloured, labels_once, subplots
from aura_study.figures.rows import name_rows, tile
from aura_study.figures.style import COLOURS, DOTTED, POLICY_STYLES, THEORY_COLOUR, style

DECAY_COLOURS: dict[Any, str] = {"AdamW": COLOURS[2], "Adam with L2": COLOURS[1]}
WAY_COLOURS = {
    "unmasked": COLOURS[1],
    "global presence": COLOURS[4],
    "local mask": COLOURS[0],
    "local frozen": COLOURS[5],
    "frozen, no flag": "#888888",
    "global count": COLOURS[2],
}
FIX_MARKS: dict[str, Any] = {"o": {"markersize": 5}, "s": {"markersize": 9, "fillstyle": "none"}}
"""SGD's and Adam's."""


@style()
def residue(paths: pd.DataFrame, decays: pd.DataFrame) -> Plate:
    """Coasting paths over their own scale beside theory's limit, and theta under both kinds of weight decay."""
    figure, (coasting, decay) = subplots(1, 2, figsize=(9.6, 3.7))
    _coasting(coasting, paths)
    _decay(decay, decays)
    return Plate(
        figure,
        "A masked task after its gradient has become exactly 0. Left: Adam's momentum carries the parameter on; every "
        "path, measured, is divided by its own step; predicted is one curve that ends at r/(1-r), dashed. Right: "
        "weight decay, AdamW's and Adam's L2, and the frozen policy. Dotted black: theory.",
        "Left, measured paths on the predicted curves and a dashed line at each limit. Right, three curves from one: "
        "L2 decay, AdamW, frozen.",
    )


def _coasting(axes: Axes, paths: pd.DataFrame) -> None:
    longest = paths[paths["past"] == paths["past"].max()]
    for colour, (beta1, beta2), cell in coloured(longest, ["beta1", "beta2"], sort=False):
        factor = cell["factor"].iloc[0]
        for _, path in cell.groupby("path"):
            scale = path["limit"].iloc[0] / factor
            thin = path.iloc[::6]
            axes.plot(
                thin["absent_step"],
                thin["displacement"] / scale,
                color=colour,
                marker="o",
                markersize=3,
                linestyle="none",
                alpha=0.5,
                rasterized=True,
                zorder=1.5,  # beneath the lines, one after another: one picture in the drawing
                label=rf"$b_1$ = {beta1:g}, $b_2$ = {beta2:g}" if path["path"].iloc[0] == 0 else None,
            )
            axes.plot(path["absent_step"], path["predicted"] / scale, **DOTTED, linewidth=0.9)
        axes.axhline(factor, color=colour, linewidth=0.8, linestyle="--")
    axes.axhline(0, color="#888888", linewidth=1.2, linestyle=POLICY_STYLES["frozen"])
    axes.annotate("frozen: exactly 0", (0.97, 0), (0, 4), ("axes fraction", "data"), "offset points", ha="right")
    axes.set(
        title="momentum",
        xlabel="steps without the task",
        ylabel=r"displacement / $(\eta\,\hat m/\sqrt{\hat v})$",
        ylim=(-0.6, 1.35 * paths["factor"].max()),
    )
    axes.legend(loc="upper right")


def _decay(axes: Axes, decays: pd.DataFrame) -> None:
    for (policy, kind), rows in decays.groupby(["policy", "optimizer"], sort=False):
        if policy == "masked":
            axes.plot(rows["step"], rows["theta"], color=DECAY_COLOURS[kind], label=f"{kind}, masked", linewidth=2.2)
            inside = rows["predicted"] > 0
            axes.plot(rows["step"][inside], rows["predicted"][inside], **DOTTED, linewidth=1.0)
    frozen = decays[decays["policy"] == "frozen"].drop_duplicates("step")  # the same under either
    axes.plot(
        frozen["step"], frozen["theta"], color="#555555", linestyle=POLICY_STYLES["frozen"], label="frozen, either"
    )
    axes.set(
        title=rf"weight decay, $\lambda$ = {decays['weight_decay'].iloc[0]:g}",
        xlabel="steps without the task",
        ylabel=r"$\theta = \log\sigma$",
        ylim=(-0.15, 1.35),
    )
    axes.legend(loc="center right", bbox_to_anchor=(1.0, 0.42))


@style()
def nan_gradients(table: pd.DataFrame) -> Plate:
    """Which gradients stay finite: ways to leave a task out, over sources of NaN."""
    sources, ways = table["source"].unique(), list(table["way"].unique())
    figure, panels = subplots(1, len(sources), sharey=True, figsize=(8.4, 0.36 * len(ways) + 1.5))
    for axes, source in zip(np.atleast_1d(panels), sources, strict=True):
        rows = table[table["source"] == source].set_index("way").loc[ways, ["total", "sigma", "encoder"]]
        for (row, column), fine in np.ndenumerate(rows.to_numpy()):
            colour, words = ("#cfe8f7", "finite") if fine else (COLOURS[1], "NaN")
            tile(axes, column, row, colour, words, (0.96, 0.9), fontsize=9)
        name_rows(axes, ways)
        axes.set(xlim=(-0.5, 2.5), title=source)
        axes.set_xticks(range(3), ["total", r"gradient of $\sigma$", "of encoder"], fontsize=9)
        axes.grid(visible=False)
        axes.tick_params(length=0)
    return Plate(
        figure,
        "What one absent task's NaN does to the step, for two ways in which the NaN arises: which of the total, the "
        "gradient on sigma and that on the encoder stay finite, for each way to mask.",
        "Two tables, one per source of NaN: rows of ways to mask, columns of what stays finite, coloured tiles.",
    )


@style()
def shards(*tables: pd.DataFrame) -> Plate:
    """sigma^2 and the encoder's share at the fixed point of every way, on every case; theory as black bars."""
    table = pd.concat(tables, ignore_index=True)
    cases = list(dict.fromkeys(zip(table["shards"], table["case"], strict=True)))
    ways = list(dict.fromkeys(table["way"]))
    figure, panels = subplots(2, 1, sharex=True, figsize=(10, 4.6))
    quantities = (("sigma_squared", "predicted", r"$\sigma^2$"), ("encoder", "encoder_predicted", "weight on task"))
    for axes, (measured, predicted, label) in zip(panels, quantities, strict=True):
        for offset, way in zip(np.linspace(-0.32, 0.32, len(ways)), ways, strict=True):
            rows = table[table["way"] == way]
            places = [cases.index(pair) + offset for pair in zip(rows["shards"], rows["case"], strict=True)]
            axes.plot(places, rows[predicted], "_", color=THEORY_COLOUR, markersize=13, markeredgewidth=1.2)
            axes.plot(places, rows[measured], "o", color=WAY_COLOURS[way], markersize=6.5, label=way)
        axes.set(ylabel=label, ylim=(0, 1.12 * table[measured].max()))
        for edge in range(1, len(cases)):
            axes.axvline(edge - 0.5, color="#cccccc", linewidth=0.8)
        axes.grid(axis="x", visible=False)
    panels[1].set_xticks(range(len(cases)), [f"{kind}\n{case}" for kind, case in cases])
    figure.legend(*labels_once(panels[0]), loc="outside upper center", ncols=len(ways))
    return Plate(
        figure,
        "A task that only some shards of a step hold: where sigma^2 settles, and the weight with which the task's "
        "loss reaches the encoder. Dots measured, black bars theory; micro-batches of one accumulated step, and two "
        "real processes.",
        "Two rows of panels, sigma squared above and the encoder's share below, in columns of cases; a dot and a black "
        "bar for each way.",
    )


@style()
def negative_totals(table: pd.DataFrame, rate: float) -> Plate:
    """A sound total that settles below 0, and one that an absent task takes down by the rate at every step."""
    figure, (sound, phantom) = subplots(1, 2, figsize=(9.6, 3.6))
    for axes, kind, title in (
        (sound, "sound", "every task there"),
        (phantom, "phantom", "one task gone, its regulariser left in"),
    ):
        rows = table[table["kind"] == kind]
        for colour, optimizer, path in coloured(rows, "optimizer", sort=False):
            near = path[path["step"] < rows.groupby("optimizer")["step"].max().min()]
            axes.plot(near["step"], near["total"], color=colour, label=optimizer)
        axes.axhline(0, color="#888888", linewidth=0.8)
        axes.set(title=title, xlabel="step", ylabel="total")
    sound.axhline(float(table.loc[table["kind"] == "sound", "theory"].iloc[0]), **DOTTED, label="theory")
    start = float(rows["total"].iloc[0])
    steps = np.array([0, near["step"].max()])
    phantom.plot(steps, start - rate * steps, **DOTTED, label="the rate a step")
    sound.legend()
    phantom.legend()
    return Plate(
        figure,
        "Two totals that turn negative. Left, all tasks are there and their losses are small: the total settles where "
        "the Gaussian density has its minimum. Right, one task has gone: the total falls by the learning rate at every "
        "step, faster at first under Adam, which remembers a quiet task, and does not settle.",
        "Left, two falling curves that level off at a dotted line below zero; right, two that go on falling.",
    )


@style()
def negative_fixes(weights: pd.DataFrame, learned: pd.DataFrame) -> Plate:
    """What the cures leave of the weight that a loss asks for, and of what a model learns."""
    figure, (kept, error) = subplots(1, 2, figsize=(9.6, 3.8))
    for place, (colour, fix, rows) in enumerate(coloured(weights, "fix", sort=False)):
        aside = 1.12 ** (place - 1.5)  # two cures stop at one weight
        theory = rows.drop_duplicates("loss").sort_values("loss")
        kept.plot(aside * theory["loss"], theory["predicted"], color=colour, linewidth=1, linestyle=":")
        for (marker, look), (_, one) in zip(FIX_MARKS.items(), rows.groupby("optimizer", sort=False), strict=True):
            label = str(fix).replace("sigma^2", r"$\sigma^2$") if marker == "o" else None
            kept.plot(aside * one["loss"], one["kept"], marker, color=colour, label=label, **look)
    kept.set(xscale="log", yscale="log", xlabel="loss", ylabel="weight, in parts of 1/(2L)", title="the weight")
    kept.legend()
    for place, (colour, _, rows) in enumerate(coloured(learned, "fix", sort=False)):
        error.plot(np.full(len(rows), place), rows["error"], "o", color=colour, alpha=0.6)
    error.axhline(1, **DOTTED, label="perfect")
    error.set_xticks(range(learned["fix"].nunique()), list(learned["fix"].unique()))
    error.set(yscale="log", ylabel="error, in noise variances", title="the model", xlim=(-0.5, 2.5))
    error.legend()
    return Plate(
        figure,
        "Popular cures of a negative total. Left, the weight at which a task ends, in parts of what its loss asks for; "
        "dots SGD, squares Adam, each cure set apart sideways; dotted: theory. Right, the error of two regressions, a "
        "dot a seed.",
        "Left, four sets of points against the loss, those of the plain total at one; right, three columns of dots.",
    )
