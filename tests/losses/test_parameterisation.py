"""What is said of a parameterisation stands with its class."""

import math
from typing import get_args

import pytest
import torch

from aura_study.losses import PARAMETERIZATIONS, ParameterizationName
from aura_study.losses.parameterisation import AuraSoftplus, LogSigma, Parameterization, softplus

EDGE = 5e-9**0.5  # where 2 sigma^2 is 1e-8 to the last digit


def test_the_names_written_for_the_type_are_the_registrys() -> None:
    """A type checker needs them spelled out."""
    assert get_args(ParameterizationName) == tuple(PARAMETERIZATIONS)


@pytest.mark.parametrize("x", [19.0, 21.0, 25.0, 39.0, 41.0])
def test_softplus_is_exact_where_torchs_default_jumps(x):
    """Beyond 20 torch's default leaves out exp(-x), 2e-9 there; float64 sees it, so this one does not."""
    found = softplus(torch.tensor(x, dtype=torch.float64)).item()
    assert found == x + math.log1p(math.exp(-x))


@pytest.mark.parametrize("sigma", [0.0, 1e-5, EDGE])
def test_what_auras_softplus_cannot_express_is_named(sigma):
    """2 sigma^2 must exceed the 1e-8 that the code adds."""
    with pytest.raises(ValueError, match=r"cannot express sigma=.*: its weight is at most 1e\+08"):
        AuraSoftplus().theta(sigma)


def test_a_slope_that_a_class_does_not_have_is_refused():
    """Whoever asks for it without having asked whether there is one."""

    class Own(LogSigma):
        _slope = Parameterization._slope

    with pytest.raises(TypeError, match="Own has no closed slope"):
        Own()._slope(*torch.ones(3))
