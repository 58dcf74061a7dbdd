"""Validation: a request is right before anything runs, and what is wrong is said with what would be right."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import toy_study
from hypothesis import given
from hypothesis import strategies as st

from aura_study.errors import StudyError
from aura_study.runs.parameters import describe
from aura_study.study.registry import choose_notebooks, parameter_classes
from aura_study.study.request import Request, default_name, parse_assignments, read_parameter_file


@pytest.fixture(scope="module")
def notebooks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_study.write_notebooks(tmp_path_factory.mktemp("toy") / "notebooks")


def asked(notebooks: Path, *assignments: str, **overrides: Any) -> Request:
    given = {**parse_assignments(assignments), **overrides}
    return Request.of(toy_study.REGISTRY, profile="smoke", overrides=given, folder=notebooks)


def test_strings_become_the_declared_types(notebooks: Path) -> None:
    """``1e-3``, ``false``, ``none`` and ``[3, 4]`` arrive as number, bool, None and tuple; profiles give the rest."""
    request = asked(notebooks, "rate=1e-3", "flag=false", "label=none", "seeds=[3, 4]")
    phantom = request.parameters["03_phantom_gradient"].model_dump()
    assert phantom == {"out": phantom["out"], "steps": 2, "rate": 1e-3, "mode": "fine", "flag": False, "label": None}
    assert request.parameters["01_focal_loss"].model_dump()["seeds"] == (3, 4)


def test_a_shared_name_reaches_only_the_notebooks_that_declare_it(notebooks: Path) -> None:
    """``seeds`` belongs to one notebook of two; the other is neither given it nor refused for it."""
    request = asked(notebooks, "seeds=[5]")
    assert "seeds" not in request.parameters["03_phantom_gradient"].model_dump()


@pytest.mark.parametrize("seeds", ["[0, 1, 2]", "0,1,2", "0:3", "[0,1,2e0]", "0, 1, 2"])
def test_a_list_is_written_in_either_way(notebooks: Path, seeds: str) -> None:
    """In brackets or with commas alone, or as a range, as in a sweep."""
    assert asked(notebooks, f"seeds={seeds}").parameters["01_focal_loss"].model_dump()["seeds"] == (0, 1, 2)


def test_an_integer_may_be_written_with_an_exponent(notebooks: Path) -> None:
    """Where it is one; 1.5 is not, nor is 1e-1; of a text the letters stay."""
    request = asked(notebooks, "steps=1e2", "label=1e2")
    phantom = request.parameters["03_phantom_gradient"].model_dump()
    assert (phantom["steps"], phantom["label"]) == (100, "1e2")
    for wrong in ("1e-1", "15e-1", "1.25e1"):
        with pytest.raises(StudyError, match="steps = "):
            asked(notebooks, f"steps={wrong}")


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        (
            "stepz=3",
            ["unknown parameter 'stepz'", "did you mean steps?", "valid: flag, label, mode, rate, seeds, steps"],
        ),
        ("steps=many", ["03_phantom_gradient", "steps = 'many'", "integer, at least 1, at most 10000", "default 3"]),
        ("steps=0", ["greater than or equal to 1", "integer, at least 1"]),
        (f"steps={'9' * 400}", ["steps = 99999999999999999999...: an integer of more than 18 digits"]),
        (f"seeds=[1,{'9' * 400}]", ["seeds = ", "more than 18 digits"]),
        (f"rate={'9' * 400}", ["rate = 99999999999999999999...: an integer of more than 18 digits"]),
        ("steps=1:30", ["steps = '1:30'", "valid integer"]),
        ("rate=-1", ["rate = '-1'", "number, above 0"]),
        ("mode=slow", ["one of fine, raise, die"]),
        ("flag=perhaps", ["true or false"]),
        ("seeds=[1, x]", ["01_focal_loss", "list of (integer) with at least 1 and at most 9 entries"]),
        ("seeds=[1,", ["cannot read '[1,' as a list"]),
        ("out=there", ["'out' is set with --out"]),
        ("steps", ["NAME=VALUE", "'steps'"]),
        ("=3", ["NAME=VALUE"]),
    ],
)
def test_a_wrong_parameter_is_told_with_what_is_right(notebooks: Path, assignment: str, words: list[str]) -> None:
    """Unknown names come with the nearest and all valid ones, wrong values with type, range and default."""
    with pytest.raises(StudyError) as caught:
        asked(notebooks, assignment)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("notebook", "name", "value"),
    [
        ("01_focal_loss", "gammas", [1.0, float("inf")]),
        ("01_focal_loss", "gamma", "inf"),
        ("02_kendall_weighting", "highest_loss", "inf"),
        ("10_schedules", "budget", "inf"),
        ("12_after_the_return", "clip_norm", "inf"),
    ],
)
def test_a_number_that_is_not_finite_is_refused(notebook: str, name: str, value: Any) -> None:
    """A notebook's record is JSON, which has none: told with notebook, parameter and value before anything runs."""
    with pytest.raises(StudyError, match=rf"notebook {notebook}: {name} = .*inf"):
        Request.of(parameter_classes(), [notebook], overrides={name: value})


def test_a_name_given_twice_is_refused() -> None:
    """Two values for one name cannot both be meant."""
    with pytest.raises(StudyError, match="'steps' is given twice"):
        parse_assignments(["steps=1", "steps=2"])


def test_a_file_may_speak_to_one_notebook(notebooks: Path, tmp_path: Path) -> None:
    """A mapping under a notebook's name goes to that notebook and wins over a shared value."""
    path = tmp_path / "p.yml"
    path.write_text("rate: 0.5\n03_phantom_gradient:\n  rate: 0.25\n")
    request = Request.of(toy_study.REGISTRY, overrides=read_parameter_file(path), folder=notebooks)
    assert request.parameters["03_phantom_gradient"].model_dump()["rate"] == 0.25
    path.write_text("03_phantom_gradient:\n  rat: 0.25\n")
    with pytest.raises(StudyError, match=r"unknown parameter 'rat' of notebook 03_phantom_gradient; did you mean rate"):
        Request.of(toy_study.REGISTRY, overrides=read_parameter_file(path), folder=notebooks)


def test_a_file_has_no_numbers_to_base_60(notebooks: Path, tmp_path: Path) -> None:
    """YAML 1.1 reads ``1:30`` as 90: here it is a range where one is taken, and refused where a number is."""
    path = tmp_path / "p.yml"
    for written in ("steps: 1:30", "rate: 1:30", "rate: 1:30.5", f"steps: {'9' * 400}", f"steps: [{'9' * 400}]"):
        path.write_text(written)
        with pytest.raises(StudyError, match=written.split(":")[0]):
            Request.of(toy_study.REGISTRY, overrides=read_parameter_file(path), folder=notebooks)
    path.write_text("seeds: [1:4, 7]")
    request = Request.of(toy_study.REGISTRY, overrides=read_parameter_file(path), folder=notebooks)
    assert request.parameters["01_focal_loss"].model_dump()["seeds"] == (1, 2, 3, 7)


def test_an_encoder_without_a_name_is_refused() -> None:
    """By every notebook and sweep that takes one."""
    for kind in parameter_classes().values():
        for field in ("encoder", "learned_encoder"):
            if field in kind.model_fields:
                with pytest.raises(StudyError, match="at least 1 char"):
                    kind.checked({field: ""})


@pytest.mark.parametrize(
    "content", [b"[1, 2]", b"a: [", b"\xff\xfe\x00", b"3", b"1: 2", b"x: !!python/object:os.system y"]
)
def test_a_damaged_parameter_file_is_one_error(content: bytes, tmp_path: Path) -> None:
    """Whatever the file holds, the error names it; nothing in it is ever executed."""
    path = tmp_path / "p.yml"
    path.write_bytes(content)
    with pytest.raises(StudyError, match=r"p\.yml"):
        read_parameter_file(path)


def test_notebooks_are_found_by_name_number_and_path(notebooks: Path) -> None:
    """Whatever way they are named, they come once each, in reading order."""
    words = ["3", "03", "notebooks/01_focal_loss.ipynb", "03_phantom_gradient"]
    assert choose_notebooks(words, notebooks) == ["01_focal_loss", "03_phantom_gradient"]
    assert choose_notebooks([], notebooks) == ["01_focal_loss", "03_phantom_gradient"]
    with pytest.raises(StudyError, match=r"unknown notebook '3_phantom'; did you mean 03_phantom_gradient\?"):
        choose_notebooks(["3_phantom"], notebooks)


def test_runs_of_a_user_never_share_a_name() -> None:
    """The default name depends on profile, data and every override, and on nothing else."""
    assert default_name("quick", "embedded", {}) == "quick"
    assert default_name("full", "aura", {}) == "full-aura"
    names = {
        default_name(profile, data, overrides)
        for profile in ("quick", "full")
        for data in ("embedded", "aura")
        for overrides in ({}, {"a": 1}, {"a": 2}, {"b": 1}, {"a": 1, "b": 1})
    }
    assert len(names) == 20
    assert default_name("quick", "embedded", {"a": 1, "b": 2}) == default_name("quick", "embedded", {"b": 2, "a": 1})


def test_parameters_are_described_with_type_range_default_and_profiles() -> None:
    """What ``aura-study params`` shows comes from the class, so it cannot disagree with the validation."""
    rows = {row.name: row for row in describe(toy_study.PhantomToy)}
    assert rows["steps"].allowed == "integer, at least 1, at most 10000"
    assert rows["steps"].profiles == {"smoke": 2, "quick": 3, "full": 9}
    assert rows["mode"].allowed == "one of fine, raise, die"
    assert rows["label"].allowed == "text or none"
    assert rows["rate"].meaning == "rate of $\\sigma$"


@given(st.lists(st.text(max_size=20), max_size=3))
def test_any_assignment_is_accepted_or_refused_with_a_study_error(notebooks: Path, assignments: list[str]) -> None:
    """No text on the command line gets past validation as another kind of exception."""
    try:
        request = asked(notebooks, *assignments)
    except StudyError:
        return
    assert set(request.overrides) <= {"steps", "rate", "mode", "flag", "label", "seeds"}


@given(st.sampled_from(["steps", "rate", "mode", "flag", "label", "seeds"]), st.text(max_size=12))
def test_any_value_is_validated_before_anything_runs(notebooks: Path, name: str, value: str) -> None:
    """A value that gets through lies in the declared range."""
    try:
        request = asked(notebooks, f"{name}={value}")
    except StudyError:
        return
    values = request.parameters["03_phantom_gradient"].model_dump()
    assert 1 <= values["steps"] <= 10_000
    assert values["rate"] > 0


def test_a_run_is_planned_without_what_trains_or_draws() -> None:
    """Parameters of all notebooks are checked, and a report is found up to date, without the model and the figures.

    Their import took more than half of a run in which nothing had changed.
    """
    code = """
import sys
import aura_study.report, aura_study.study.runner
from aura_study.study import parameter_classes
for declared in parameter_classes().values():
    declared.checked({}, "quick")
print([name for name in ("transformers", "matplotlib", "numba", "nbformat") if name in sys.modules])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
