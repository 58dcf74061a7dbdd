"""What is said of a parameterisation stands with its class."""

import math
from typing import get_args

import pytest
import torch

from aura_study.losses import PARAMETERIZATIONS, ParameterizationName
from aura_study.losses.parameterisation import softplus


def test_the_names_written_for_the_type_are_the_registrys() -> None:
    """A type checker needs them spelled out."""
    assert get_args(ParameterizationName) == tuple(PARAMETERIZATIONS)


@pytest.mark.parametrize("x", [19.0, 21.0, 25.0, 39.0, 41.0])
def test_softplus_is_exact_where_torchs_default_jumps(x):
    """Beyond 20 torch's default leaves out exp(-x), 2e-9 there; float64 sees it, so this one does not."""
    found = softplus(torch.tensor(x, dtype=torch.float64)).item()
    assert found == x + math.log1p(math.exp(-x))
