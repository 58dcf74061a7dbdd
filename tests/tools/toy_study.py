"""A study of two small notebooks, to run the runner on: one decides F1, the other P1, and can be told to misbehave.

Also a program, ``python toy_study.py FOLDER [NAME=VALUE ...]``, for the tests that kill it.
"""

import sys
from pathlib import Path
from typing import Literal

import nbformat
from nbformat import v4
from pydantic import Field
from rich.console import Console

from aura_study.cli.options import end_like_an_interrupt
from aura_study.cli.runs import run_and_report
from aura_study.runs.parameters import Parameters, Profile
from aura_study.study.request import Request, parse_assignments
from aura_study.study.runner import Outcome


class FocalToy(Parameters):
    """Parameters of the first notebook."""

    notebook = "01_focal_loss"

    seeds: tuple[int, ...] = Field((0, 1), description="seeds", min_length=1, max_length=9)


class PhantomToy(Parameters):
    """Parameters of the second notebook."""

    notebook = "03_phantom_gradient"
    profiles = {"smoke": {"steps": 2}, "full": {"steps": 9}}

    steps: int = Field(3, ge=1, le=10_000, description="steps of 10 ms")
    rate: float = Field(0.01, gt=0, description="rate of $\\sigma$")
    mode: Literal["fine", "raise", "die"] = Field("fine", description="how the notebook ends")
    flag: bool = Field(True, description="a switch")
    label: str | None = Field(None, description="text shown in a table")


REGISTRY: dict[str, type[Parameters]] = {cls.notebook: cls for cls in (FocalToy, PhantomToy)}

FOCAL_CELLS = [
    ("title", "markdown", "# Focal loss\n\nA toy. Next: [the phantom gradient](03_phantom_gradient.ipynb)."),
    ("parameters", "code", 'out = "interactive"\nseeds = (0, 1)'),
    ("setup", "code", 'from aura_study.runs.outputs import NotebookRun\nrun = NotebookRun("01_focal_loss", out)'),
    (
        "decide",
        "code",
        'from aura_study.claims import Measurement\nrun.decide("F1", Measurement(0.0, 0.0, 0.0, "error", 0.0))',
    ),
]
PHANTOM_CELLS = [
    (
        "title",
        "markdown",
        "# Phantom gradient of $\\sigma$\n\nWhat happens to $\\boldsymbol{\\sigma}$, if $a<b$?\n\n$$\\sigma^2 = L$$",
    ),
    ("parameters", "code", 'out = "interactive"\nsteps = 3\nrate = 0.01\nmode = "fine"\nflag = True\nlabel = None'),
    ("setup", "code", 'from aura_study.runs.outputs import NotebookRun\nrun = NotebookRun("03_phantom_gradient", out)'),
    ("m-steps", "markdown", "## The steps"),
    (
        "steps",
        "code",
        "import sys, time, os\nfrom tqdm import tqdm\n"
        "for _ in tqdm(range(int(steps)), mininterval=0): time.sleep(0.01)\n"
        'while os.path.exists(os.environ.get("TOY_GATE", "")): time.sleep(0.01)\n'
        'print("python:", sys.executable == os.environ.get("TOY_PYTHON"), os.environ["MPLBACKEND"])',
    ),
    ("trouble", "code", 'if mode == "raise": raise ValueError("no <b>luck</b>")\nif mode == "die": os._exit(1)'),
    ("m-figure", "markdown", "## The figure"),
    (
        "figure",
        "code",
        "from matplotlib.figure import Figure\nfrom aura_study.figures import Plate\nfigure = Figure()\n"
        "figure.subplots().plot([1.0, float(rate)])\n"
        'run.figure("phantom_gradient", Plate(figure, "A line in $\\\\sigma$.", "a falling line"))',
    ),
    (
        "table",
        "code",
        'import pandas as pd\nwide = {f"column {i}": [i / 7] for i in range(12)}\n'
        'run.table("rows", pd.DataFrame({"label": [str(label)], "cost": ["$5 and $6"], **wide}))',
    ),
    (
        "decide",
        "code",
        "from aura_study.claims import Measurement\n"
        'run.decide("P1", Measurement(1e-9, 0.0, 1e-9, "largest error", 0.0))',
    ),
]


def write_notebooks(folder: Path) -> Path:
    """The two notebooks, below ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, cells in (("01_focal_loss", FOCAL_CELLS), ("03_phantom_gradient", PHANTOM_CELLS)):
        notebook = v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
        for key, kind, source in cells:
            make = v4.new_markdown_cell if kind == "markdown" else v4.new_code_cell
            tags = {"tags": ["parameters"]} if key == "parameters" else {}
            notebook.cells.append(make(source, id=key, metadata=tags))
        nbformat.write(notebook, folder / f"{name}.ipynb")
    return folder


def request(out: Path | str, *assignments: str, notebooks: Path, profile: Profile = "smoke", only: str = "") -> Request:
    """A request for the toy study."""
    chosen = [only] if only else []
    return Request.of(REGISTRY, chosen, profile, "embedded", str(out), parse_assignments(assignments), notebooks)


def run(out: Path, *assignments: str, notebooks: Path, only: str = "", console: Console | None = None) -> Outcome:
    """Run the toy study into ``out``, as the command line does."""
    asked = request(out, *assignments, notebooks=notebooks, only=only)
    outcome, _ = run_and_report(asked, console or Console(quiet=True), folder=notebooks, replace=True)
    return outcome


if __name__ == "__main__":
    end_like_an_interrupt()
    target = Path(sys.argv[1])
    run(target, *sys.argv[2:], notebooks=target.parent / "notebooks", console=Console(stderr=True))
