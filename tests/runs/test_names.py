"""Names that are parameters are spelt out for the type checker, and are those of their registries, in their order."""

from typing import Any, get_args

import pytest

from aura_study.data.registry import DATASETS, DatasetName
from aura_study.data.tasks import TASKS, TaskName
from aura_study.training.weighting import BASELINES, POLICIES, PolicyName, WeightingName


@pytest.mark.parametrize(
    ("declared", "registered"),
    [
        (DatasetName, DATASETS),
        (TaskName, TASKS),
        (PolicyName, POLICIES),
        (WeightingName, {**POLICIES, **BASELINES}),
    ],
)
def test_the_names_that_a_type_allows_are_those_that_are_registered(declared: Any, registered: dict[str, Any]) -> None:
    """Whoever adds one to a registry adds it to the type."""
    assert get_args(declared) == tuple(registered)
