"""The benchmarks' README says what their results say, and the formula on paper counts what PyTorch counts. No times."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch):
    """Imports a script of the folder as ``make bench`` runs it, from inside."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


def test_readme_shows_the_kept_results_and_names_every_script(script) -> None:
    """The tables are those of ``results.json``; a script that prints a table stands in the README."""
    table, text = script("table"), (FOLDER / "README.md").read_text()
    assert table.filled(text) == text
    reporting = [path.name for path in FOLDER.glob("*.py") if "from timing import" in path.read_text()]
    assert [name for name in reporting if name != "table.py" and f"`{name}`" not in text] == []


@pytest.mark.parametrize(("rows", "tokens"), [(4, 8), (8, 5)])
def test_formula_on_paper_is_exact(script, rows: int, tokens: int) -> None:
    """FLOP of forward and backward, and parameters, for a model of other sizes than those on paper."""
    paper = script("paper")
    encoder = paper.Encoder(layers=3, hidden=16, inner=24, heads=2, vocabulary=1000, positions=40)
    model, given = encoder.model(), paper.batch(rows, tokens)
    outputs = rows // 4 * sum(task.outputs for task in paper.TASKS.values())
    assert encoder.flops(rows, tokens, outputs) == paper.counted(model, given)
    heads = sum(paper.head_parameters(16, task.outputs) for task in paper.TASKS.values())
    assert encoder.parameters() + heads == sum(parameter.numel() for parameter in model.parameters())


def test_activations_kept_grow_with_the_rows_alone(script) -> None:
    """Twice the rows, twice the bytes, to the masks and indices: what the figure a row on paper relies on."""
    paper = script("paper")
    model = paper.Encoder(layers=2, hidden=32, inner=64, heads=4, vocabulary=1000, positions=40).model()
    torch.manual_seed(0)
    few, many = (paper.saved_bytes(model, paper.batch(rows, 16)) for rows in (8, 16))
    assert many == pytest.approx(2 * few, rel=0.02)


def test_slope_of_a_power_is_its_exponent(script) -> None:
    """Over the largest sizes alone: a fixed cost at the smallest does not flatten it."""
    growth, np = script("growth"), script("numpy")
    sizes = np.geomspace(1e3, 1e7, 9)
    slope, half = growth.slope(sizes, 1e-9 * sizes**1.3 + 1e-9)
    assert slope == pytest.approx(1.3, abs=1e-3)
    assert half < 1e-2


def test_the_guard_judges_the_same_machine_and_fails_beyond_a_fifth(script, monkeypatch, capsys) -> None:
    """More than a fifth lost of a committed ratio ends it with an error; less, or another machine, does not."""
    quick = script("quick")
    kept = {"a ratio": 1.0}
    for ratio, same, words in ((0.79, True, "a ratio"), (0.81, True, ""), (0.1, False, "not judged")):
        monkeypatch.setattr(quick, "PARTS", (lambda ratio=ratio: {"a ratio": ratio},))
        monkeypatch.setattr(quick, "committed", lambda same=same: (kept, same))
        monkeypatch.setattr(quick.sys, "argv", ["quick.py"])
        if same and words:
            with pytest.raises(SystemExit, match=words):
                quick.main()
        else:
            quick.main()
            assert words in capsys.readouterr().out


def test_every_committed_ratio_of_the_guard_can_be_read(script) -> None:
    """Or there would be nothing to lose."""
    kept, _ = script("quick").committed()
    assert len(kept) >= 8
    assert all(ratio > 0 for ratio in kept.values())
