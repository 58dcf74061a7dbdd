"""Results of a run made without a kernel: every claim decided, all verdicts, data that tries to break out."""

import base64
import math
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
from matplotlib.figure import Figure
from nbformat import v4

from aura_study.claims import CLAIMS, Claim, Measurement
from aura_study.figures import Plate
from aura_study.figures.formulas import with_formulas
from aura_study.paths import RunFolders
from aura_study.runs.ledger import write_claims
from aura_study.runs.outputs import NotebookRun

HOSTILE = '<script>window.broken = 1</script><img src=x onerror="window.broken = 1">"\'&amp;'
MATH = (
    "# The title, with $\\sigma < 1$\n\nInline $\\boldsymbol{\\sigma}^2 = L$, and displayed\n\n"
    "$$\\frac{\\partial}{\\partial \\sigma}\\left(\\frac{L}{2\\sigma^2} + \\log\\sigma\\right) = 0 \\ \\text{so}\\ "
    "\\sigma_1^2 = L_1,\\ \\sigma_2^2 = L_2,\\ \\sigma_3^2 = L_3,\\ \\sigma_4^2 = L_4,\\ \\sigma_5^2 = L_5$$\n\n"
    "| policy | weight |\n|-|-|\n| unmasked | $1/2L$ |\n\nSee [the next](02_kendall_weighting.ipynb) and `$HOME`."
)


def measurement(claim: Claim, turn: int) -> Measurement:
    """A number that is confirmed, refuted or inconclusive in turn, depending on the claim's rule."""
    value = (1.0, 7.0, math.nan, 0.0)[turn % 4]
    limits = {limit.quantity: 0.5 for limit in (claim.rule.limit, *claim.rule.gates) if limit}
    return Measurement(value, value, value, "share of <b>things</b>", 1.0, seeds=5, limits=limits)


def plate(words: str) -> Plate:
    """A small figure."""
    figure = Figure(figsize=(6, 3.5))
    figure.subplots().plot([1, 3, 2])
    return Plate(figure, f"A caption with $\\Lambda$ and {words}.", f"a line that goes up and down, {words}")


def executed(name: str, picture: Plate) -> Any:
    """A notebook as papermill leaves it, with one output of each kind."""
    html = picture._repr_mimebundle_()["text/html"]
    head = "<thead><tr><th></th>" + "".join(f"<th>column {i}</th>" for i in range(14)) + "</tr></thead>"
    cells = "".join(f"<td>{i / 7:.6f}</td>" for i in range(13)) + "<td>&lt;script&gt; costs $5 and $6</td>"
    table = (
        "<div><style scoped>.dataframe th { color: red }</style>"
        f'<table border="1" class="dataframe">{head}<tbody><tr><th>0</th>{cells}</tr></tbody></table></div>'
    )
    formulas = with_formulas(pd.DataFrame({"why": ["$\\sigma^2 < 1$"], "data": ["<b>$7 and $8</b>"]}), "why")
    pixel = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 8).decode()
    outputs = [
        v4.new_output("display_data", {"text/html": html, "text/plain": "figure"}),
        v4.new_output("display_data", {"text/html": table}),
        v4.new_output("display_data", {"text/html": formulas._repr_html_(), "text/plain": repr(formulas)}),
        v4.new_output("display_data", {"text/html": HOSTILE + '<a href="javascript:window.broken=1">link</a>'}),
        v4.new_output("display_data", {"image/png": pixel, "text/plain": "a picture"}),
        v4.new_output("stream", name="stdout", text=f"printed \x1b[31mred\x1b[0m {HOSTILE} $x$\n" + "wide " * 60),
        v4.new_output("display_data", {"application/javascript": "window.broken = 1", "text/plain": "plain instead"}),
    ]
    notebook = v4.new_notebook(
        cells=[
            v4.new_markdown_cell(MATH, id="title"),
            v4.new_code_cell('out = "interactive"', id="parameters", metadata={"tags": ["parameters"]}),
            v4.new_code_cell("out = 'made'", id="injected-parameters", metadata={"tags": ["injected-parameters"]}),
            v4.new_markdown_cell(f"## Part\n\n{HOSTILE}", id="m-1"),
            v4.new_code_cell("for i in range(3):  # a comment\n    print('x', 1.5, None)", id="c-1", outputs=outputs),
            v4.new_markdown_cell("## Part\n\nAgain.", id="m-2"),
            v4.new_markdown_cell("## What follows\n\nNothing.", id="m-3"),
        ]
    )
    notebook.metadata["papermill"] = {"input_path": f"{name}.ipynb"}
    return notebook


def make_run(folder: Path) -> RunFolders:
    """A run in ``folder`` that has decided every claim."""
    folders = RunFolders.of(str(folder))
    for notebook in sorted({claim.notebook for claim in CLAIMS.values()}):
        run = NotebookRun(notebook, str(folder))
        picture = plate(notebook)
        for claim in (claim for claim in CLAIMS.values() if claim.notebook == notebook):
            if claim.figure:
                run.figure(claim.figure, picture)
            run.decide(claim.key, measurement(claim, list(CLAIMS).index(claim.key)))
        folders.notebooks.mkdir(parents=True, exist_ok=True)
        nbformat.write(executed(notebook, picture), folders.notebooks / f"{notebook}.ipynb")
    write_claims(folders, "full", "aura")
    return folders
