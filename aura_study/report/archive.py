"""One zip of a finished run to pass on: results, report and code, and what repositories and machines read of them."""

import json
import zipfile
from dataclasses import replace as replace_fields
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from nbformat import v4

from aura_study.data.scratch import scratch
from aura_study.errors import StudyError
from aura_study.paths import REFERENCE, RunFolders, project_root
from aura_study.report.building import build_report
from aura_study.report.crate import CODE, REPORT, RUN, Subject, codemeta, ro_crate, zenodo
from aura_study.runs import ledger
from aura_study.runs.checkout import tracked
from aura_study.runs.lock import locked
from aura_study.runs.manifest import read_manifest
from aura_study.runs.records import UNFINISHED

CITED = ("CITATION.cff", "LICENSE")
"""Of the code, also at the archive's top."""
KEPT = f"results/{REFERENCE}/claims.json"
"""Of the reference run: a part of the code, which reads it."""
BINDER = {
    "binder/runtime.txt": "python-3.11\n",
    "binder/postBuild": (
        "#!/bin/bash\nset -e\n"
        "python -m pip install --constraint code/constraints.txt --editable './code[balancers,jupyter]'\n"
    ),
}
COLAB = (
    "# {title}\n\nUpload the archive as `{name}` to this session's files, then run the cells. This notebook has not "
    "been tried on Colab itself.",
    "!unzip -q -o {name} -d study\n%pip install -q --editable study/code",
    "!aura-study run 03_phantom_gradient --profile smoke --out /content/again\n"
    "!aura-study compare /content/study/run /content/again",
)
READ = """# {title}

{description}

| | |
|---|---|
| `run/report/index.html` | the run as a site; its page *Reproducibility* is the short report |
| `run/` | claims, manifest, evidence, executed notebooks, tables, trajectories, figures |
| `code/` | the package, its source notebooks and tests, as they were when the archive was made |
| `ro-crate-metadata.json` | which notebook made which file, from what (RO-Crate) |
| `codemeta.json`, `.zenodo.json`, `CITATION.cff` | how to cite it, and what it cites |
| `binder/`, `colab.ipynb` | to run it elsewhere; neither has been tried on the services themselves |

Install with `pip install --editable code`, then read with `aura-study claims ./run`.
"""


def write_archive(folders: RunFolders, target: Path, *, replace: bool = False) -> Path:
    """Write the run in ``folders``, its report built anew, to the zip ``target``; return its path.

    The same files make the same zip, byte for byte.

    Raises:
        StudyError: a run that is not there or has not finished, no checkout, or a file that is in the way.
    """
    if target.suffix != ".zip":
        raise StudyError(f"an archive's name ends in .zip, got {str(target)!r}")
    if target.exists() and not replace:
        raise StudyError(f"{target} exists; overwrite it with --replace, or name another with --to")
    ledger.read_claims(folders)  # no such run: told here, for a lock would make its folder
    with locked(folders):  # what is described, sized and packed is one state of the run
        return _write(folders, target)


def _write(folders: RunFolders, target: Path) -> Path:
    claims, held = ledger.read_claims(folders), read_manifest(folders)
    if held is None:
        raise StudyError(
            f"run {folders.name!r} has no manifest, so it cannot be passed on; finish it with aura-study run"
        )
    if held.unfinished:
        raise StudyError(f"run {folders.name!r} has unfinished notebooks: {', '.join(held.unfinished)}")
    code = _code()
    build_report(folders)
    files = {**code, **_run(folders, target)}
    citation = yaml.safe_load(files[f"{CODE}CITATION.cff"].read_text(encoding="utf-8"))
    sizes = {name: path.stat().st_size for name, path in files.items()}
    subject = Subject(citation, held, claims, sizes)
    top = {name: files[f"{CODE}{name}"].read_text(encoding="utf-8") for name in CITED} | BINDER
    top |= {"README.md": READ.format(title=subject.title, description=subject.description)}
    top |= {"colab.ipynb": _json(_colab(subject.title, target.name))}
    top |= {"codemeta.json": _json(codemeta(subject)), ".zenodo.json": _json(zenodo(subject))}
    listed = sizes | {name: len(text.encode()) for name, text in top.items()}
    described = replace_fields(subject, sizes=listed)
    top |= {"ro-crate-metadata.json": _json(ro_crate(described))}
    moment = datetime.fromisoformat(held.finished).timetuple()[:6]
    target.parent.mkdir(parents=True, exist_ok=True)
    with scratch(f"{UNFINISHED}{target.name}-", target.parent) as place:  # no run's folder, which a lock would clean
        _zip(place / target.name, top, files, moment)
        (place / target.name).replace(target)
    return target


def _run(folders: RunFolders, target: Path) -> dict[str, Path]:
    """Files of the run by their name in the archive, figures inside it wherever they lie here, ``target`` left out."""
    found = {}
    for folder, prefix in ((folders.results, RUN), (folders.figures, f"{RUN}figures/")):
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder)
            hidden = any(part.startswith(".") for part in inside.parts)
            if path.is_file() and not hidden and path.resolve() != target.resolve():
                found[prefix + inside.as_posix()] = path
    return found


def _code() -> dict[str, Path]:
    """Tracked files of the checkout by their name in the archive, without runs."""
    try:
        root = project_root()
        names = tracked(root)
    except OSError as error:
        raise StudyError(f"the archive takes the code from a checkout with git, and there is none: {error}") from error
    runs = ("results/", "figures/")
    return {CODE + name: root / name for name in names if name == KEPT or not name.startswith(runs)}


def _colab(title: str, name: str) -> dict[str, Any]:
    first, *rest = (part.format(title=title, name=name) for part in COLAB)
    ids = iter(("what", "install", "run"))
    cells = [v4.new_markdown_cell(first, id=next(ids)), *(v4.new_code_cell(part, id=next(ids)) for part in rest)]
    return v4.new_notebook(cells=cells)


def _zip(target: Path, top: dict[str, str], files: dict[str, Path], moment: tuple[int, ...]) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        for folder in (CODE, REPORT):  # described as data sets, so they are entries of their own
            file.writestr(zipfile.ZipInfo(folder, moment), b"")  # type: ignore[arg-type]
        for name in sorted({*top, *files}):
            entry = zipfile.ZipInfo(name, moment)  # type: ignore[arg-type]
            entry.compress_type = zipfile.ZIP_DEFLATED
            runs = name == "binder/postBuild"
            entry.external_attr = (0o755 if runs else 0o644) << 16
            file.writestr(entry, top[name] if name in top else files[name].read_bytes())


def _json(content: Any) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
