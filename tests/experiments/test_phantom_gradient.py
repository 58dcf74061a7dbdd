"""The collapse of an absent task's sigma, module against closed form, however long the task stays away."""

import numpy as np
import pytest

from aura_study.claims import CLAIMS
from aura_study.experiments.phantom_gradient import absence as phantom
from aura_study.theory.forms import FORMS


@pytest.mark.parametrize("absent_steps", [60, 300, 1000])
def test_growth_is_predicted_for_every_form_until_rounding_hides_sigma(absent_steps: int) -> None:
    """After an absence of any length each growth, or the step of the collapse, is the predicted one to a millionth."""
    runs = phantom.collapse(0.01, absent_steps)
    summary = phantom.collapse_summary(runs, 0.01, absent_steps)
    assert len(summary) == len(FORMS) * len(phantom.OPTIMIZERS)
    np.testing.assert_allclose(summary["ratio"], 1, rtol=1e-6)
    growth = summary.loc[summary["quantity"] == "precision growth", "measured"]
    assert growth.max() <= phantom.RESOLVED
    assert CLAIMS["P2"].rule.holds(phantom.measure_collapse(summary, phantom.collapse_at_aura_rates(500)))
