"""Figures of Kendall's weighting with every task present."""

from typing import Any

import pandas as pd

from aura_study.figures import Plate
from aura_study.figures.lines import coloured, labels_once, legend_below, subplots, task_lines
from aura_study.figures.rows import forest, name_rows
from aura_study.figures.style import DOTTED, TASK_COLOURS, THEORY_COLOUR, form_line, form_marks, style

ARM_STYLES: dict[Any, str] = {"with log": "-", "without log": "--"}


@style()
def objective(table: pd.DataFrame, loss: float) -> Plate:
    """The term that each form minimises over sigma, at one loss."""
    figure, axes = subplots(figsize=(6.4, 3.6))
    for form, curve in table.groupby("parameterization", sort=False):
        if form in ("log_sigma", "log_variance"):
            continue  # the same curve over sigma as the sigma form
        look = form_line(form) | ({"label": r"the guide's formula ($\sigma$, $s$, $u$)"} if form == "sigma" else {})
        axes.plot(curve["sigma"], curve["term"] - curve["term"].min(), **look)
        axes.axvline(curve["predicted_sigma"].iloc[0], color=look["color"], linewidth=0.9, linestyle=":")
    axes.set(xscale="log", ylim=(0, 3), xlabel=r"$\sigma$", ylabel="term above its minimum")
    axes.legend()
    return Plate(
        figure,
        f"One task's term over sigma at a loss of {loss:g}. Dotted: the predicted minimum of each form. A small sigma "
        "is punished by the loss, a large one by the regulariser; the forms disagree on where the balance lies.",
        "Three bowl-shaped curves over sigma with minima at different places, each marked by a dotted line.",
    )


@style()
def fixed_points(table: pd.DataFrame) -> Plate:
    """Where each form settled over the loss, with the closed form drawn through."""
    figure, (left, right) = subplots(1, 2, figsize=(8, 3.6))
    for place, (form, rows) in enumerate(table.groupby("parameterization", sort=False)):
        size = {"markersize": max(8 - 2 * place, 4)}  # nested where they meet
        left.plot(rows["loss"], rows["sigma_squared"], **form_marks(form), **size)
        left.plot(rows["loss"], rows["predicted_sigma_squared"], color=THEORY_COLOUR, linewidth=0.8, label="predicted")
        right.plot(rows["loss"], rows["weighted_loss"], **form_marks(form), **size)
        predicted = rows["predicted_weight"] * rows["loss"]
        right.plot(rows["loss"], predicted, color=THEORY_COLOUR, linewidth=0.8)
    left.set(title="Uncertainty", ylabel=r"$\sigma^2$ reached")
    right.set(title="What the task contributes", ylabel="weight x loss")
    for axes in (left, right):
        axes.set(xscale="log", yscale="log", xlabel="loss L (constant)")
    left.legend(*labels_once(left))
    return Plate(
        figure,
        "Points: where the uncertainty settles, smaller ones on larger where they meet; lines: predicted. For "
        "the guide's formula sigma^2 = L, so every task ends up contributing 1/2 whatever its scale; AURA's softplus "
        "and log(1 + sigma^2) leave large losses more say.",
        "Two log-log panels over the loss. Left: sigma squared rises with the loss in every form. Right: weight times "
        "loss is flat at one half for three forms and rises for the other two.",
    )


@style()
def settling(trajectories: pd.DataFrame) -> Plate:
    """Precision over the steps, for a small and a large loss."""
    levels = sorted(trajectories["loss"].unique())
    figure, panels = subplots(1, 2, sharey=True, figsize=(8, 3.4))
    for axes, level in zip(panels, (levels[0], levels[-1]), strict=True):
        chosen = trajectories[trajectories["loss"] == level]
        for place, (form, rows) in enumerate(chosen.groupby("parameterization", sort=False)):
            wide = {"linewidth": 6 - 1.1 * place}  # wider beneath narrower, where they meet
            axes.plot(rows["step"], rows["weight"], **form_line(form) | wide)
            axes.axhline(rows["predicted_weight"].iloc[-1], **DOTTED, linewidth=0.8, label="predicted")
        axes.set(yscale="log", xlabel="step (Adam)", title=f"L = {level:.3g}")
    panels[0].set_ylabel("weight of the task")
    legend_below(figure, panels[0], ncols=6)
    return Plate(
        figure,
        "The weight of a quiet task (left) and of a noisy one (right) on the way to each form's own fixed point "
        "(dotted: predicted); where forms go the same way, a wide line lies beneath a narrower one.",
        "Two panels of weight over steps on a log axis, for the smallest and the largest loss, with dotted levels.",
    )


@style()
def noise(table: pd.DataFrame, errors: pd.DataFrame) -> Plate:
    """Kendall's two regressions: the learned sigma over the true noise, and how the error falls with the samples."""
    figure, (left, right) = subplots(1, 2, figsize=(8, 3.6))
    for place, (task, rows) in enumerate(table.groupby("task")):
        shift = (0.92, 1.08)[place]
        label = f"{task}, noise {rows['noise'].iloc[0]:g}"
        left.plot(rows["samples"] * shift, rows["ratio"], "o", markersize=3.5, alpha=0.7, label=label)
    for place, (task, rows) in enumerate(errors.groupby("task")):
        right.plot(rows["samples"], rows["error"], "os"[place], label=task)
    curve = errors.drop_duplicates("samples")
    for sign in (-1, 1):
        left.plot(curve["samples"], 1 + sign * curve["predicted_error"], color=THEORY_COLOUR, linewidth=0.8)
    left.axhspan(0.98, 1.02, color="#999999", alpha=0.2, linewidth=0)
    right.plot(curve["samples"], curve["predicted_error"], color=THEORY_COLOUR, linewidth=0.8, label=r"$1/\sqrt{2N}$")
    left.set(xscale="log", xlabel="samples N", ylabel=r"learned $\sigma$ / true noise")
    right.set(xscale="log", yscale="log", xlabel="samples N", ylabel="error of $\\sigma$ over seeds (rms)")
    left.legend()
    right.legend()
    return Plate(
        figure,
        "Left: each point a seed; lines: one standard error, 1/sqrt(2N); grey: within 2 %. Right: the error over "
        "seeds beside the predicted one, which for the 100 samples of Kendall's example is 7 %.",
        "Two panels over the number of samples. Left: a point per task and seed between two lines that narrow towards "
        "one. Right: the error of both tasks beside a straight line on logarithmic axes.",
    )


@style()
def without_log(sgd: pd.DataFrame, adam: pd.DataFrame) -> Plate:
    """The rise of sigma without log sigma, with the closed forms drawn on it."""
    figure, (left, right) = subplots(1, 2, figsize=(8, 3.6))
    for colour, loss, rows in coloured(sgd[sgd["step"] > 0], "loss"):
        left.plot(rows["step"], rows["weight"], color=colour, label=f"L = {loss:g}")
        left.plot(rows["step"], rows["predicted_weight"], **DOTTED, linewidth=1.4, label="predicted")
    for colour, rate, rows in coloured(adam, "rate"):
        right.plot(rows["step"], rows["s"], color=colour, label=rf"$\eta$ = {rate:g}")
        late = rows[rows["step"] >= rows["step"].max() / 2]
        right.plot(late["step"], late["predicted"], **DOTTED, linewidth=1.4, label="predicted")
    left.set(xscale="log", yscale="log", xlabel="step", ylabel="weight of the task", title="SGD")
    right.set(xlabel="step", ylabel=r"$s = \log\sigma$", title="Adam, any loss")
    left.legend(*labels_once(left))
    right.legend(*labels_once(right))
    return Plate(
        figure,
        "Without log sigma nothing holds sigma back. Dotted: predicted. SGD (left): the weight falls like 1/t. Adam "
        "(right): s rises for ever, in the end by at most (1 - b2)/4 a step however large the rate.",
        "Left: three curves of weight over steps fall along straight lines on logarithmic axes. Right: log sigma rises "
        "without end; the curves of the two larger rates end with the same slope.",
    )


@style()
def silence(curves: pd.DataFrame) -> Plate:
    """Gradient norm of each task on the shared layer, with and without log sigma."""
    figure, panels = subplots(1, 2, sharey=True, figsize=(8, 3.6))
    titles = {"sgd": "SGD", "adam": "Adam"}
    for axes, (optimizer, group) in zip(panels, curves.groupby("optimizer", sort=False), strict=True):
        for arm, line in ARM_STYLES.items():
            for colour, task, rows in coloured(group[group["arm"] == arm], "task"):
                label = rf"{task}, {arm} $\sigma$"
                axes.plot(rows["step"], rows["gradient"], color=colour, linestyle=line, label=label)
        axes.set(yscale="log", xlabel="step", title=titles[str(optimizer)])
    panels[0].set_ylabel("gradient norm on the shared layer")
    panels[1].legend()
    return Plate(
        figure,
        "What each task of the two regressions sends into the shared layer, mean over seeds and 20 steps, with "
        "log sigma and without it (dashed).",
        "Two panels of gradient norm over steps on a logarithmic axis, a solid and a dashed curve per task.",
    )


@style()
def weights_on_model(paths: pd.DataFrame) -> Plate:
    """The AURA model's four weights with and without log sigma, first seed."""
    figure, axes = subplots(figsize=(6.4, 3.6))
    for arm, run in paths[paths["seed"] == paths["seed"].min()].groupby("arm", sort=False):
        task_lines(axes, run, "step", "weight", linestyle=ARM_STYLES[arm])
        axes.plot([], [], color="#555555", linestyle=ARM_STYLES[arm], label=rf"{arm} $\sigma$")
    axes.set(yscale="log", xlabel="step (AdamW)", ylabel="weight of the task")
    axes.set_ylim(top=30 * paths["weight"].max())
    axes.legend(*labels_once(axes), ncols=3)
    return Plate(
        figure,
        "The four weights of the AURA model, one seed. Solid: the complete formula; dashed: without log sigma.",
        "Weight over steps on a logarithmic axis, a solid and a dashed curve per task.",
    )


@style()
def signal_on_model(paths: pd.DataFrame, changes: pd.DataFrame, interest: float) -> Plate:
    """The encoder's gradient from step to step, first seed, and how much less steady it is without log sigma."""
    figure, (left, right) = subplots(1, 2, figsize=(8, 3.6), width_ratios=(1.4, 1))
    for colour, arm, run in coloured(paths[paths["seed"] == paths["seed"].min()], "arm"):
        steps = run.drop_duplicates("step")
        left.plot(steps["step"], steps["norm"], color=colour, linewidth=0.9, label=rf"{arm} $\sigma$")
    left.set(yscale="log", xlabel="step (AdamW)", ylabel="norm of the encoder's gradient")
    left.legend()
    right.axvspan(1 / interest, interest, color="#888888", alpha=0.15, linewidth=0)
    right.axvline(1, color="#555555", linewidth=0.8)
    for place, row in enumerate(changes.to_dict("records")):
        if row["seeds"] > 1:
            ends = [row["low"], row["high"]]
            right.plot(ends, [place, place], color=THEORY_COLOUR, linewidth=2.2, solid_capstyle="butt")
        right.plot(row["ratio"], place, "o", color=THEORY_COLOUR, markersize=5)
    name_rows(right, list(changes["of"].str.replace("_", " ")))
    right.set(xscale="log", xlabel=r"without $\log\sigma$ / with it")
    return Plate(
        figure,
        "The training signal of the AURA model. Left: norm of the encoder's gradient, one seed, both arms on the same "
        "batches. Right: the step-to-step volatility of that norm, its highest leap above its recent level, the "
        "volatility of the training loss, and what is left of the norm at the end; geometric mean and 95 % interval "
        "over seeds. Grey: less than a quarter.",
        "Left: two jagged lines over the steps on a logarithmic axis. Right: four ratios with intervals beside a grey "
        "band around one.",
    )


@style()
def scores_without_log(changes: pd.DataFrame, adequacy: pd.DataFrame, interest: float) -> Plate:
    """One development score with and without log sigma, and the difference paired over seeds."""
    colours = [TASK_COLOURS.get(task, THEORY_COLOUR) for task in changes["task"]]
    figure, (left, right) = subplots(1, 2, sharey=True, figsize=(8, 3.5))
    places = range(len(changes))
    words = changes["task"].map(adequacy.set_index("task")["tf_idf"])
    left.plot(words, places, "|", color="#777777", markersize=11, label="TF-IDF")
    for place, row, colour in zip(places, changes.to_dict("records"), colours, strict=True):
        left.plot(row["with_log"], place, "o", color=colour)
        left.plot(row["without_log"], place, "o", color=colour, markerfacecolor="white")
    for label, fill in ((r"with $\log\sigma$", "#555555"), (r"without $\log\sigma$", "white")):
        left.plot([], [], "o", color="#555555", markerfacecolor=fill, label=label)
    left.axvline(0.5, color="#888888", linewidth=0.9, linestyle=":", label="chance")
    left.set(xlabel="development area under the ROC curve", xlim=(0.47, 1.02))
    legend_below(figure, left, ncols=4)
    forest(right, changes, list(changes["task"]), colours, interest)
    right.set_xlabel(r"with $\log\sigma$ minus without")
    return Plate(
        figure,
        "What log sigma is worth on the AURA model. Left: area under the ROC curve at the end, mean over seeds; the "
        "tick is TF-IDF with logistic regression on the same rows. Right: the difference paired over "
        "seeds, with its 95 % interval; the grey band is less than a point.",
        "Left: two dots per task on an axis from chance to one, and a tick for TF-IDF. Right: one difference with its "
        "interval per task and for their mean, beside a grey band around zero.",
    )
