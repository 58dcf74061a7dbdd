"""What can be swept, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aura_study.errors import StudyError, did_you_mean
from aura_study.sweep import dynamics, training
from aura_study.training.runs import run_job


@dataclass(frozen=True)
class Kind:
    """One kind of sweep.

    Attributes:
        name: on the command line.
        point: class of its points; each makes its job.
        run: does one job; an importable function, for it runs in other processes.
        results: key results of a record, by column of the summary.
        headline: beginnings of the names of the results that the terminal shows.
    """

    name: str
    point: type[training.TrainingPoint] | type[dynamics.DynamicsPoint]
    run: Callable[[Any, Path], Path]
    results: Callable[[Path], dict[str, float | None]]
    headline: tuple[str, ...]


_ALL = (
    Kind("training", training.TrainingPoint, run_job, training.results, ("sigma_", "macro_f1_")),
    Kind("dynamics", dynamics.DynamicsPoint, dynamics.run_cell, dynamics.results, ("theta", "weight", "max_weight")),
)
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _ALL}


def kind_named(name: str) -> Kind:
    """The kind of sweep called ``name``.

    Raises:
        StudyError: there is none.
    """
    if name not in KINDS:
        raise StudyError(f"unknown kind of sweep {name!r}{did_you_mean(name, KINDS)}")
    return KINDS[name]
