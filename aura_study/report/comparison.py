"""The page that sets runs beside each other: in a run's report beside the reference, or by itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aura_study.figures import Plate
from aura_study.figures.overlays import Panel, overlaid
from aura_study.figures.style import COLOURS, TASK_COLOURS
from aura_study.report.explorer import plotting_files
from aura_study.report.images import Picture, only_shows, size_of
from aura_study.report.render import Renderer
from aura_study.runs.comparison import Comparison
from aura_study.runs.overlays import Overlay

FOLDER = "compared"
"""Of the pictures, in the site."""
MOST_NUMBERS = 300
"""Of tables, on the page."""
MOST_PANELS = 6
"""Of the figure for readers without scripts."""


def write_page(
    comparison: Comparison, render: Renderer, site: Path, target: str = "comparison.html", **more: Any
) -> None:
    """Write the page ``target`` of ``site``, with its pictures."""
    folder = site / FOLDER
    folder.mkdir()
    overlays = comparison.overlays
    render.page(
        "comparison.html",
        target,
        comparison=comparison,
        overlays=overlays,
        laid=_laid(overlays.shown, comparison.names, folder),
        settings={
            "names": comparison.names,
            "colours": {"tasks": TASK_COLOURS, "others": COLOURS},
            "overlays": [_settings(one) for one in overlays.shown],
        },
        pictures_of={name: drawn for name in comparison.figures if (drawn := _pictures(comparison, name, folder))},
        numbers=comparison.numbers[:MOST_NUMBERS],
        interactive=plotting_files() is not None,
        **more,
    )


def _settings(overlay: Overlay) -> dict[str, Any]:
    """An overlay for the page's script: of each quantity run, group, steps and values of its lines."""
    lines = {
        name: [[line.run, line.group, line.steps, line.values] for line in held]
        for name, held in overlay.quantities.items()
    }
    return {"name": overlay.name, "differs": overlay.differs, "quantities": list(lines), "lines": lines}


def _pictures(comparison: Comparison, name: str, folder: Path) -> list[Picture]:
    """The figure of each run, in the site; none if one of them is no mere picture."""
    contents = [(run.folders.figures / f"{name}.svg").read_bytes() for run in comparison.runs]
    if not all(map(only_shows, contents)):
        return []
    for place, content in enumerate(contents):
        (folder / f"{name}-{place}.svg").write_bytes(content)
    return [Picture(f"{FOLDER}/{name}-{place}.svg", *size_of(content)) for place, content in enumerate(contents)]


def _laid(overlays: Sequence[Overlay], names: Sequence[str], folder: Path) -> tuple[Plate, Picture] | None:
    """The first overlays as one figure, with its file; nothing if there are none."""
    if not overlays:
        return None
    panels = [
        Panel(one.name, name, [(line.run, line.group, line.steps, line.values) for line in one.quantities[name]])
        for one in overlays[:MOST_PANELS]
        for name in [next(iter(one.quantities))]
    ]
    plate = overlaid(panels, names)
    path = folder / "trajectories.svg"
    path.write_bytes(plate.encode("svg"))
    return plate, Picture(f"{FOLDER}/{path.name}", *size_of(path.read_bytes()))
