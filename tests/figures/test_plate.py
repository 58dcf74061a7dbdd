"""How a plate is written to a file."""

import io
import re

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from aura_study.experiments.task_quality.figures import MARKS
from aura_study.figures import Plate
from aura_study.figures.style import POLICY_COLOURS, SETTINGS, TASK_COLOURS

NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


@pytest.fixture
def figure() -> Figure:
    """A line through random points, with a formula."""
    with mpl.rc_context(SETTINGS):
        figure = Figure()
        axes = figure.subplots()
        axes.plot(np.random.default_rng(0).normal(size=300), "o-")
        axes.set_title(r"$\sigma_{3}^{2}$ of 7.123456")
        return figure


def places(svg: str) -> list[float]:
    """Every number of a path or a translation, in order."""
    found = re.findall(r' d="([^"]*)"|translate\(([^)]*)\)| [xy]="([^"]*)"', svg)
    return [float(number) for parts in found for part in parts for number in NUMBER.findall(part)]


def test_a_drawing_keeps_its_places_to_a_hundredth_of_a_point(figure: Figure) -> None:
    """The file is smaller than matplotlib's own, with the same elements, scales and words, and places within 0.005."""
    stream = io.StringIO()
    with mpl.rc_context(SETTINGS):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    own, written = stream.getvalue(), Plate(figure, "caption", "alt").encode("svg").decode()
    assert len(written) < 0.9 * len(own)
    np.testing.assert_allclose(places(written), places(own), atol=0.00501, rtol=0)
    for kept in (r"<[^ >/!]+", r"scale\([^)]*\)", r'(?:href|id|style)="[^"]*"', r"<!--.*?-->"):
        assert re.findall(kept, written) == re.findall(kept, own)


def test_tasks_and_policies_share_no_colour() -> None:
    """A colour that is a task's is no policy's, nor another weighting's."""
    others = {*POLICY_COLOURS.values(), *(look["color"] for look in MARKS.values())}
    assert not others & set(TASK_COLOURS.values())
    assert len(set(TASK_COLOURS.values())) == len(TASK_COLOURS)
