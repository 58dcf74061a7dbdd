"""What is said of a parameterisation stands with its class."""

from typing import get_args

from aura_study.losses import PARAMETERIZATIONS, ParameterizationName


def test_the_names_written_for_the_type_are_the_registrys() -> None:
    """A type checker needs them spelled out."""
    assert get_args(ParameterizationName) == tuple(PARAMETERIZATIONS)
