"""What has to run, and why: each notebook's fingerprint against the stamp that it left when it finished."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from aura_study.runs.fingerprint import digest_json, findings_digest, fingerprint
from aura_study.runs.inputs import DataState
from aura_study.runs.manifest import versions
from aura_study.runs.parameters import SummaryParameters
from aura_study.runs.stamps import Stamp, read_stamps, reason_to_run
from aura_study.study.notebook import Order
from aura_study.study.registry import notebook_names
from aura_study.study.request import Request


@dataclass(frozen=True)
class Work:
    """One notebook of a run.

    Attributes:
        order: for its process.
        why: why it has to run; ``None`` if nothing has changed.
    """

    order: Order
    why: str | None


def plan(
    request: Request, names: Iterable[str], stamps: Mapping[str, Stamp], source: Path, data: DataState
) -> list[Work]:
    """The notebooks ``names`` of a request, as things stand now.

    Args:
        request: what was asked for.
        names: the notebooks to look at; a summary once those that it reads have run.
        stamps: of those that have finished.
        source: folder of the notebooks.
        data: digests of data and encoders.

    Raises:
        StudyError: a notebook that cannot be read.
    """
    installed = versions()
    works = []
    for name in names:
        parameters, path = request.parameters[name], source / f"{name}.ipynb"
        current = fingerprint(path, parameters, data.digest, installed)
        if read := [data.encoders[encoder] for encoder in parameters.encoders if encoder in data.encoders]:
            current["encoder"] = digest_json(read)
        if isinstance(parameters, SummaryParameters):
            others = read_stamps(request.folders, (other for other in notebook_names(source) if other != name))
            current["findings"] = findings_digest({other: stamp.outputs for other, stamp in others.items()})
        order = Order(
            name=name,
            source=path,
            folders=request.folders,
            parameters=parameters.model_dump(mode="json"),
            fingerprint=current,
        )
        works.append(Work(order, reason_to_run(request.folders, stamps.get(name), current)))
    return works
