"""What the figures' helpers draw: each label once, the first seed in full, bands from low to high, rows named."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from aura_study.figures.lines import band, coloured, labels_once, policy_lines, subplots
from aura_study.figures.rows import forest
from aura_study.figures.style import COLOURS, DOTTED, POLICY_COLOURS, form_line, form_marks
from aura_study.theory.forms import FORMS


@pytest.fixture
def axes() -> Axes:
    """An empty panel."""
    _, panel = subplots(figsize=(4, 3))
    assert isinstance(panel, Axes)
    return panel


def test_a_legend_of_several_panels_names_each_line_once() -> None:
    """In the order of their first appearance, with the first handle."""
    _, (left, right) = subplots(1, 2, figsize=(4, 3))
    first = left.plot([0, 1], label="a")[0]
    left.plot([0, 1], label="b")
    right.plot([0, 1], label="a")
    right.plot([0, 1], label="c")
    handles, labels = labels_once(left, right)
    assert labels == ["a", "b", "c"]
    assert handles[0] is first


def test_the_prediction_is_the_last_word_of_a_legend(axes: Axes) -> None:
    """Wherever it was drawn."""
    axes.plot([0, 1], label="theory", **DOTTED)
    axes.plot([0, 1], label="measured")
    axes.plot([0, 1], label="shaded", color=np.array([0.2, 0.4, 0.6, 1.0]))  # as a colour map gives it
    assert labels_once(axes)[1] == ["measured", "shaded", "theory"]


def test_only_the_first_seed_of_a_policy_is_drawn_in_full(axes: Axes) -> None:
    """The others are faint, in the same colour, and not in the legend."""
    runs = pd.DataFrame({"policy": ["masked", "unmasked"] * 4, "seed": [1, 1, 1, 1, 2, 2, 2, 2], "x": 0, "y": 1.0})
    policy_lines(axes, runs, "x", "y", alpha=0.3)
    colours = [POLICY_COLOURS["masked"], POLICY_COLOURS["unmasked"]]
    assert [line.get_color() for line in axes.lines] == 2 * colours
    assert [line.get_alpha() for line in axes.lines] == [None, None, 0.3, 0.3]
    assert len(labels_once(axes)[1]) == 2


def test_a_band_reaches_from_low_to_high(axes: Axes) -> None:
    """Around the line through the means."""
    band(
        axes,
        pd.DataFrame({"x": [0, 1], "mean": [2.0, 3.0], "low": [1.0, 1.0], "high": [5.0, 4.0]}),
        "x",
        0.2,
        color="k",
    )
    drawn = axes.collections[0].get_paths()[0].vertices
    assert (np.min(drawn[:, 1]), np.max(drawn[:, 1])) == (1, 5)
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [2, 3])


def test_colours_start_again_after_the_palette_s_last() -> None:
    """No group is left out."""
    table = pd.DataFrame({"key": range(len(COLOURS) + 2)})
    found = [(colour, key) for colour, key, _ in coloured(table, "key")]
    assert [key for _, key in found] == list(table["key"])
    assert found[-1][0] == COLOURS[1]


def test_a_forest_draws_a_single_seed_as_a_point_alone(axes: Axes) -> None:
    """Its interval is infinite; the rows stand from the top down under their names."""
    rows = pd.DataFrame({"difference": [0.1, 0.2], "low": [0.0, -np.inf], "high": [0.2, np.inf]})
    forest(axes, rows, ["one", "two"], COLOURS[:2], 0.01)
    marks = [line for line in axes.lines if line.get_marker() == "o"]
    assert [line.get_ydata()[0] for line in marks] == [0, 1]
    assert len(axes.lines) == 1 + len(marks) + 1  # the line at 0, the points, one interval
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two"]


def test_parameterisations_look_different_and_a_new_one_has_a_look_too() -> None:
    """Colour, marker and label of each of theory's forms are its own; another is called by its name."""
    marks = [form_marks(name) for name in FORMS]
    for key in ("color", "marker", "label"):
        assert len({look[key] for look in marks}) == len(FORMS)
    assert form_line("new")["label"] == "new"
    assert form_marks("new")["marker"] not in {look["marker"] for look in marks}
