"""The phantom gradient: the collapse of an absent task's sigma against its closed form, and the mask on the model."""

import numpy as np
import pandas as pd
import pytest

from aura_study.claims import CLAIMS
from aura_study.experiments.phantom_gradient import absence, on_model
from aura_study.theory.forms import FORMS
from aura_study.theory.optimizers import OPTIMIZERS


@pytest.fixture(scope="module")
def at_aura_rates() -> pd.DataFrame:
    return absence.collapse_at_aura_rates(500)


@pytest.mark.parametrize("absent_steps", [60, 300, 1000])
def test_growth_is_predicted_for_every_form_until_rounding_hides_sigma(
    absent_steps: int, at_aura_rates: pd.DataFrame
) -> None:
    """After an absence of any length each growth, or the step of the collapse, is the predicted one to a millionth."""
    runs = absence.collapse(0.01, absent_steps)
    summary = absence.collapse_summary(runs, 0.01, absent_steps)
    assert len(summary) == len(FORMS) * len(OPTIMIZERS)
    np.testing.assert_allclose(summary["ratio"], 1, rtol=1e-6)
    growth = summary.loc[summary["quantity"] == "precision growth", "measured"]
    assert growth.max() <= absence.RESOLVED
    assert CLAIMS["P2"].rule.holds(absence.measure_collapse(summary, at_aura_rates))


def test_isolation_and_mask_on_the_real_model() -> None:
    """P3 and P4 bit for bit, in every parameterisation, over every parameter of the model."""
    isolation, mask = on_model.isolation(0), on_model.mask(0)
    assert (isolation["largest difference"] == 0).all()
    assert (isolation["numbers compared"] > 100_000).all()
    assert (mask["absent gradient masked"] == 0).all()
    assert (mask["absent gradient unmasked"] > 0).all()
    assert CLAIMS["P3"].decide(on_model.measure_isolation(isolation)).verdict == "confirmed"
    assert CLAIMS["P4"].decide(on_model.measure_mask(mask)).verdict == "confirmed"
    broken = mask.assign(**{"largest difference": 1e-9})
    assert CLAIMS["P4"].decide(on_model.measure_mask(broken)).verdict != "confirmed"


def test_paths_keep_about_a_hundred_steps_of_every_run() -> None:
    """From the first step on, of each form and optimiser, whatever the length; a run that broke ends where it broke."""
    for absent_steps in (30, 450):
        paths = absence.paths(absence.collapse(0.01, absent_steps))
        steps = paths.groupby(["parameterization", "optimizer"])["step"]
        assert len(steps) == len(FORMS) * len(OPTIMIZERS)
        assert (steps.min() == 0).all()
        assert steps.count().max() == (31 if absent_steps == 30 else 113)
        assert steps.max().max() == (30 if absent_steps == 30 else 448)
