"""TorchJD, the optional extra: imported here alone."""

import importlib
from typing import Any

HINT = 'install the extra: pip install "aura-study[balancers]"'


class MissingBalancers(ImportError):
    """TorchJD, or a solver that one of its balancers needs, is not installed."""


def torchjd(place: str, name: str, **options: Any) -> Any:
    """``torchjd.<place>.<name>(**options)``.

    Raises:
        MissingBalancers: not installed; names the extra.
    """
    try:
        return getattr(importlib.import_module(f"torchjd.{place}"), name)(**options)
    except ImportError as error:
        raise MissingBalancers(f"{name} needs TorchJD and its solvers ({error}); {HINT}") from error
