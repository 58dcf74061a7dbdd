"""One look for all figures: matplotlib's settings, and what a task, a policy and a parameterisation look like."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from cycler import cycler

# Okabe and Ito's colour-blind safe palette.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
THEORY_COLOUR = "#1a1a1a"
DOTTED: Any = {"color": THEORY_COLOUR, "linestyle": ":"}
"""The line of a prediction, as keywords of ``Axes.plot``."""

ABSENT_COLOUR = "#f0e442"

TASK_COLOURS = {"toxicity": "#882255", "emotion": "#8A8A1F", "sentiment": "#7B5BD6", "reporting": "#CC79A7"}
"""None of them is a policy's: no figure means two things by one colour."""

POLICY_COLOURS = {"unmasked": "#D55E00", "masked": "#0072B2", "frozen": "#009E73"}
POLICY_STYLES: dict[str, Any] = {"unmasked": "-", "masked": "--", "frozen": (0, (1, 1.2))}
POLICY_MARKERS = {"unmasked": "o", "masked": "s", "frozen": "D"}
POLICY_LABELS = {"unmasked": "unmasked (V10.1)", "masked": "masked (V10.2)", "frozen": "frozen (no step)"}

_FORMS = {
    "sigma": (r"$\sigma$", "o"),
    "log_sigma": (r"$s=\log\sigma$", "s"),
    "log_variance": (r"$u=\log\sigma^2$", "^"),
    "aura_softplus": ("AURA softplus", "D"),
    "log_one_plus_square": (r"$\log(1+\sigma^2)$", "v"),
}

SETTINGS: Any = {
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "savefig.facecolor": "white",
    "svg.hashsalt": "aura_study",  # equal results give equal files
    "svg.fonttype": "path",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.prop_cycle": cycler(color=COLOURS),
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
}


@contextmanager
def style() -> Iterator[None]:
    """The study's matplotlib settings, for the duration of a ``with`` block or a decorated function."""
    with mpl.rc_context(SETTINGS):
        yield


def policy_line(policy: Any) -> dict[str, Any]:
    """Colour, line style and label of a policy, as keywords of ``Axes.plot``."""
    return {"color": POLICY_COLOURS[policy], "linestyle": POLICY_STYLES[policy], "label": POLICY_LABELS[policy]}


def policy_marks(policy: Any) -> dict[str, Any]:
    """`policy_line` for points: with a marker and no line."""
    return {**policy_line(policy), "marker": POLICY_MARKERS[policy], "linestyle": "none"}


def form_label(form: Any) -> str:
    """Label of a parameterisation; its name, if none was chosen."""
    return _FORMS[form][0] if form in _FORMS else str(form)


def form_line(form: Any) -> dict[str, Any]:
    """Colour and label of a parameterisation, as keywords of ``Axes.plot``; the palette's last, if it has no own."""
    colour = COLOURS[list(_FORMS).index(form)] if form in _FORMS else COLOURS[-1]
    return {"color": colour, "label": form_label(form)}


def form_marks(form: Any) -> dict[str, Any]:
    """`form_line` for points: with a marker, a plus if it has no own, and no line."""
    return {**form_line(form), "marker": _FORMS[form][1] if form in _FORMS else "P", "linestyle": "none"}
