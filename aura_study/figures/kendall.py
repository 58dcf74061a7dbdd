"""Figures of Kendall's weighting with every task present."""

import pandas as pd
from matplotlib.figure import Figure

from aura_study.figures.labels import FORM_LABELS, FORM_MARKERS
from aura_study.figures.style import COLOURS, THEORY_COLOUR, Plate, style


def objective(table: pd.DataFrame, loss: float) -> Plate:
    """The term that each form minimises over sigma, at one loss."""
    with style():
        figure = Figure(figsize=(6.4, 3.6))
        axes = figure.subplots()
        for place, (form, curve) in enumerate(table.groupby("parameterization", sort=False)):
            if form in ("log_sigma", "log_variance"):
                continue  # the same curve over sigma as the sigma form
            label = r"the guide's formula ($\sigma$, $s$, $u$)" if form == "sigma" else FORM_LABELS[form]
            axes.plot(curve["sigma"], curve["term"] - curve["term"].min(), color=COLOURS[place], label=label)
            axes.axvline(curve["predicted_sigma"].iloc[0], color=COLOURS[place], linewidth=0.9, linestyle=":")
        axes.set(xscale="log", ylim=(0, 3), xlabel=r"$\sigma$", ylabel="term above its minimum")
        axes.legend()
    return Plate(
        figure,
        f"One task's term over sigma at a loss of {loss:g}. Dotted: the predicted minimum of each form. A small sigma "
        "is punished by the loss, a large one by the regulariser; the forms disagree on where the balance lies.",
        "Three bowl-shaped curves over sigma with minima at different places, each marked by a dotted line.",
    )


def fixed_points(table: pd.DataFrame) -> Plate:
    """Where each form settled over the loss, with the closed form drawn through."""
    with style():
        figure = Figure(figsize=(8, 3.6))
        left, right = figure.subplots(1, 2)
        for place, (form, rows) in enumerate(table.groupby("parameterization", sort=False)):
            look = {"color": COLOURS[place], "marker": FORM_MARKERS[form], "linestyle": "none", "markersize": 5}
            left.plot(rows["loss"], rows["sigma_squared"], label=FORM_LABELS[form], **look)
            left.plot(rows["loss"], rows["predicted_sigma_squared"], color=THEORY_COLOUR, linewidth=0.8)
            right.plot(rows["loss"], rows["weighted_loss"], **look)
            predicted = rows["predicted_weight"] * rows["loss"]
            right.plot(rows["loss"], predicted, color=THEORY_COLOUR, linewidth=0.8)
        left.set(xscale="log", yscale="log", xlabel="loss L (constant)", ylabel=r"$\sigma^2$ reached")
        left.set_title("Uncertainty")
        right.set(xscale="log", yscale="log", xlabel="loss L (constant)", ylabel="weight x loss")
        right.set_title("What the task contributes")
        left.legend()
    return Plate(
        figure,
        "Points: where the uncertainty settles; lines: predicted. For the guide's formula sigma^2 = L, so every "
        "task ends up contributing 1/2 whatever its scale; AURA's softplus and log(1 + sigma^2) leave large losses more say.",
        "Two log-log panels over the loss. Left: sigma squared rises with the loss in every form. Right: weight times "
        "loss is flat at one half for three forms and rises for the other two.",
    )


def settling(trajectories: pd.DataFrame) -> Plate:
    """Precision over the steps, for a small and a large loss."""
    levels = sorted(trajectories["loss"].unique())
    with style():
        figure = Figure(figsize=(8, 3.4))
        panels = figure.subplots(1, 2, sharey=True)
        for axes, level in zip(panels, (levels[0], levels[-1]), strict=True):
            chosen = trajectories[trajectories["loss"] == level]
            for place, (form, rows) in enumerate(chosen.groupby("parameterization", sort=False)):
                axes.plot(rows["step"], rows["weight"], color=COLOURS[place], label=FORM_LABELS[form])
                axes.axhline(rows["predicted_weight"].iloc[-1], color=THEORY_COLOUR, linewidth=0.8, linestyle=":")
            axes.set(yscale="log", xlabel="step (Adam)", title=f"L = {level:.3g}")
        panels[0].set_ylabel("weight of the task")
        panels[0].legend(ncols=2)
    return Plate(
        figure,
        "A quiet task (left) gains weight, a noisy one (right) loses it, until each form reaches its own fixed point "
        "(dotted).",
        "Two panels of weight over steps on a log axis: all curves rise to a plateau for the small loss and fall to a "
        "plateau for the large one.",
    )
