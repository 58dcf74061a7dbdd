"""Where figures come from, read off notebooks."""

import nbformat
import pytest
from nbformat import v4

from aura_study.paths import notebooks_folder
from aura_study.report.sources import Source, sources


def of(*cells: str) -> dict[str, Source]:
    return sources(v4.new_notebook(cells=[v4.new_code_cell(text, id=f"c{i}") for i, text in enumerate(cells)]))


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (('t = run.table("t", make(p))', 'run.figure("f", draw(t))'), Source("c1", ("t",), False)),
        (('run.table("t", frame)', 'run.figure("f", draw(frame))'), Source("c1", ("t",), False)),
        (('t = run.table("t", make())', "u = t.mean()", 'run.figure("f", draw(u, p))'), Source("c2", ("t",), False)),
        (('run.figure("f", draw(runs))', 'run.table("t", summary(runs, p))'), Source("c0", ("t",), False)),
        (("files = run.keep(train(p))", "a, b = load(files), 1", 'run.figure("f", draw(a))'), Source("c2", (), True)),
        (('run.table("t", other)', 'run.figure("f", draw(p))'), Source("c1", (), False)),
        (("%matplotlib inline", 'run.figure("f", draw(run))'), Source("c1", (), False)),
    ],
)
def test_a_figure_has_the_tables_of_what_it_is_drawn_from(cells: tuple[str, ...], expected: Source) -> None:
    assert of(*cells) == {"f": expected}


def test_figures_of_the_study_have_a_cell_and_most_have_numbers() -> None:
    """Every notebook's figures are found, each in a cell that is there; nearly all have a table or trajectories."""
    found = {}
    for path in notebooks_folder().glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        mine = sources(notebook)
        assert {source.cell for source in mine.values()} <= {cell.id for cell in notebook.cells}
        assert len(mine) == sum(cell.source.count("run.figure(") for cell in notebook.cells)
        found |= mine
    without = [name for name, source in found.items() if not source.tables and not source.trajectories]
    assert len(without) < len(found) / 6, without
