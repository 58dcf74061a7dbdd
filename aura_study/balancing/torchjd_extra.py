"""TorchJD, the optional extra: imported here alone, and used in the series whose inner state the study knows."""

import importlib
import importlib.metadata
from typing import Any

SERIES = "0.18"
HINT = 'install the extra: pip install "aura-study[balancers]"'


class MissingBalancers(ImportError):
    """TorchJD in a supported version, or a solver that one of its balancers needs, is not installed."""


def torchjd(place: str, name: str, **options: Any) -> Any:
    """``torchjd.<place>.<name>(**options)``.

    Raises:
        MissingBalancers: not installed; names the extra.
    """
    try:
        return getattr(importlib.import_module(f"torchjd.{place}"), name)(**options)
    except ImportError as error:
        raise MissingBalancers(f"{name} needs TorchJD and its solvers ({error}); {HINT}") from error


def require_known_series() -> None:
    """To be asked before TorchJD's private attributes are read or written.

    Raises:
        MissingBalancers: another series of TorchJD; names the installed version and the supported ones.
    """
    installed = importlib.metadata.version("torchjd")
    if installed.split(".")[:2] != SERIES.split("."):
        raise MissingBalancers(
            f"TorchJD {installed} is installed; the state of its balancers is known for {SERIES}.* alone: {HINT}"
        )
