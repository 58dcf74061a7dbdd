"""What the registry says of a balancer, in which words, and the one place that imports TorchJD."""

import importlib
import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class MissingBalancers(ImportError):
    """TorchJD, or a solver that one of its balancers needs, is not installed."""


class Kind(StrEnum):
    """What a balancer is handed: losses, the Jacobian of the losses on the shared parameters, or both."""

    LOSSES = "losses"
    GRADIENTS = "gradients"
    BOTH = "losses and gradients"


class Effect(StrEnum):
    """What an absent task does to the present tasks' update, or leaves behind in the balancer, in plain words."""

    UNTOUCHED = "untouched"
    SHRUNK = "shrunk"
    CHANGED = "changed"
    STOPPED = "stops everyone"
    NAN = "NaN"
    STRONG = "returns too strong"
    WEAK = "returns too weak"
    ERROR = "raises an error"


@dataclass(frozen=True)
class Balancer:
    """One published balancer.

    Attributes:
        name: as its paper calls it.
        kind: what it is handed.
        make: makes a new one for a number of tasks.
        source: paper.
        package: distribution whose code is measured; its version stands in every table.
        why: what a zero does to it, in a sentence or formula (LaTeX between ``$``).
        during: effect on the present tasks' update that the formula foretells for a zero-filled task.
        after: effect that it foretells on the task's return.
    """

    name: str
    kind: Kind
    make: Callable[[int], Any]
    source: str
    package: str
    why: str
    during: Effect
    after: Effect = Effect.UNTOUCHED

    def code(self) -> str:
        """Package and version of the code that is measured."""
        return f"{self.package} {importlib.metadata.version(self.package)}"


def torchjd(place: str, name: str, **options: Any) -> Any:
    """``torchjd.<place>.<name>(**options)``.

    Raises:
        MissingBalancers: not installed; names the extra.
    """
    try:
        return getattr(importlib.import_module(f"torchjd.{place}"), name)(**options)
    except ImportError as error:
        hint = 'install the extra: pip install "aura-study[balancers]"'
        raise MissingBalancers(f"{name} needs TorchJD and its solvers ({error}); {hint}") from error
