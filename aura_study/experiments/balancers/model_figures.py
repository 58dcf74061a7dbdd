"""The figure of the balancers on the AURA model: encoder updates through a stretch."""

import pandas as pd

from aura_study.figures import Plate
from aura_study.figures.lines import edge_labels, legend_below, shade_absence, subplots
from aura_study.figures.style import COLOURS, THEORY_COLOUR, style

ARM_COLOURS = {"PresentOnly": COLOURS[0], "zero": COLOURS[1]}
FLOOR = 1e-8


@style()
def updates(steps: pd.DataFrame, away: tuple[int, int]) -> Plate:
    """Length of the encoder's gradient through the stretch, zero-filled and cured, a line per seed."""
    each = steps.drop_duplicates(["balancer", "arm", "seed", "step"])
    figure, grid = subplots(2, 3, sharex=True, sharey=True, figsize=(10.5, 5.2))
    for axes, (name, part) in zip(grid.ravel(), each.groupby("balancer", sort=False), strict=True):
        shade_absence(axes, away[0] - 0.5, away[1] - 0.5)
        for arm, colour in ARM_COLOURS.items():
            label = "zero-filled" if arm == "zero" else arm
            for _, run in part[part["arm"] == arm].groupby("seed"):
                axes.plot(run["step"], run["update"].clip(FLOOR), color=colour, label=label, linewidth=1.1)
                if run["step"].max() < each["step"].max():
                    axes.plot(run["step"].iloc[-1], run["update"].iloc[-1], "x", color=THEORY_COLOUR, markersize=8)
        axes.set(yscale="log", title=name)
    edge_labels(grid, "step", "encoder gradient norm")
    legend_below(figure, grid[0, 0], ncols=3)
    return Plate(
        figure,
        f"Six balancers train the AURA model through an absence of reporting (yellow), a line per seed: norm of the "
        f"encoder's combined gradient, before clipping. A cross is where the total became NaN and training stopped; "
        f"the lower edge, {FLOOR:g}, also stands for 0.",
        f"Panels over the steps, one per balancer, {', '.join(dict.fromkeys(each['balancer']))}: an orange line per "
        "seed for the zero-filled arm, a blue one for the cured arm, on a logarithmic axis.",
    )
