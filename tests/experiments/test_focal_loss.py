"""The focal experiments: the guide's factors, and the two ways to take p_t from the wrong number."""

import inspect

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from aura_study.claims import CLAIMS, Verdict
from aura_study.experiments.focal_loss import published
from aura_study.experiments.focal_loss import tables as focal
from aura_study.experiments.focal_loss.parameters import FocalLossParameters
from aura_study.losses import focal_loss

WEIGHTS = [5.0, 0.2, 3.0]


@pytest.fixture(scope="module")
def hazards():
    return focal.hazards(WEIGHTS, 0.1, gamma=2.0, points=49)


def test_the_measured_factor_and_gradient_follow_their_closed_forms():
    """Share of the loss: (1-p)^g; share of the gradient: (1-p)^g (1 - g p log p / (1-p)), to 1e-9."""
    table = focal.modulation([0.5, 1.0, 2.0, 5.0], points=49)
    p, gamma = table["p_true"], table["gamma"]
    np.testing.assert_allclose(table["factor"], (1 - p) ** gamma, rtol=1e-9)
    expected = (1 - p) ** gamma * (1 - gamma * p * np.log(p) / (1 - p))
    np.testing.assert_allclose(table["gradient_factor"], expected, rtol=1e-9)


def test_the_guides_two_factors_are_exact():
    """F1 is confirmed by its own rule."""
    assert CLAIMS["F1"].rule.judge(focal.measure_factors(focal.guide_factors())) == Verdict.CONFIRMED


def test_a_class_weight_scales_our_loss_by_itself_whatever_p_is(hazards):
    """Weights 5, 0.2 and 3 change the loss of a sample by 5, 0.2 and 3, to rounding, from p_t of 0.02 to 0.98."""
    weighted = hazards.dropna(subset="asked")
    assert sorted(weighted["asked"].unique()) == sorted(WEIGHTS)
    np.testing.assert_allclose(weighted["clean"], weighted["asked"], rtol=1e-12)


def test_the_published_code_leaves_the_weight_as_its_closed_form_says(hazards):
    """Measured distortion equals ((1-p^w)/(1-p))^g, or its counterpart under smoothing, to 1e-10."""
    np.testing.assert_allclose(hazards["distortion"], hazards["predicted"], rtol=1e-10)


def test_on_easy_samples_the_published_weight_acts_three_times():
    """At gamma 2 the loss of a sample with p_t near 1 is scaled by the cube of its class weight."""
    p_true = torch.tensor([1 - 1e-6], dtype=torch.float64)
    logits = torch.log(torch.stack([p_true, (1 - p_true) / 2, (1 - p_true) / 2], dim=-1))
    target = torch.tensor([0])
    for weight in WEIGHTS:
        weights = torch.tensor([weight, 1.0, 1.0], dtype=torch.float64)
        published = focal.published_focal_loss(logits, target, 2.0, weights)
        plain = focal_loss(logits, target, 2.0, reduction="none")
        assert float(published / plain) == pytest.approx(weight**3, rel=1e-4)


def test_without_weights_and_smoothing_the_published_code_is_focal_loss():
    """exp(-CE) of the plain cross-entropy is p_t: the two agree to rounding on random logits."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(64, 4, generator=generator, dtype=torch.float64)
    targets = torch.randint(4, (64,), generator=generator)
    ours = focal_loss(logits, targets, 2.0, reduction="none")
    torch.testing.assert_close(focal.published_focal_loss(logits, targets, 2.0), ours)


@pytest.mark.parametrize("points", [3, 21, 49])
def test_the_three_marks_are_measured_whatever_the_curves_spacing(points):
    """Each setting has exactly one row at p_t = 0.1, 0.5 and 0.9."""
    table = focal.hazards_at_marks(focal.hazards(WEIGHTS, 0.1, gamma=2.0, points=points))
    assert table["setting"].nunique() == 4
    for _, rows in table.groupby("setting"):
        assert rows["p_true"].tolist() == [0.1, 0.5, 0.9]


def test_the_claim_rests_on_the_mildest_distortion(hazards):
    """F5's number is the least over all settings at p_t = 0.9, and a loss without distortion would be refuted."""
    easy = hazards[hazards["p_true"] == 0.9]
    least = min(max(value, 1 / value) for value in easy["distortion"])
    assert focal.measure_hazards(hazards).measured == pytest.approx(least)
    clean = hazards.assign(distortion=1.0)
    assert CLAIMS["F5"].rule.judge(focal.measure_hazards(clean)) == Verdict.REFUTED


@pytest.mark.parametrize("weights", [[5.0, 0.0], [1.0, -2.0], [1.0, float("inf")]])
def test_class_weights_that_are_not_positive_are_named(weights):
    """The error shows the offending weight, before anything is computed."""
    with pytest.raises(ValidationError, match=f"above 0, got .*{weights[1]}"):
        FocalLossParameters(class_weights=weights)


def test_a_listed_default_is_that_of_the_package():
    """The default gamma written down for transformers is that of the installed one; each package stands there once."""
    from transformers.loss.loss_for_object_detection import sigmoid_focal_loss

    listed = {found.package.split()[0]: found.gamma for found in published.SURVEYED}
    assert listed["transformers"] == inspect.signature(sigmoid_focal_loss).parameters["gamma"].default
    assert len(listed) == len(published.SURVEYED)


def test_the_default_is_counted_over_all_that_are_listed(monkeypatch):
    """Three of four, none counting against: 0.75, and too few for an interval above one half."""
    some = [published.Published(name, "", gamma) for name, gamma in zip("abcd", (2.0, 2.0, 2.0, None), strict=True)]
    monkeypatch.setattr(published, "SURVEYED", tuple(some))
    assert published.defaults()["implementations"].tolist() == [3, 1]
    assert CLAIMS["F1a"].decide(published.measure_default()).verdict == Verdict.INCONCLUSIVE
    monkeypatch.setattr(published, "SURVEYED", tuple(some * 6))
    assert CLAIMS["F1a"].decide(published.measure_default()).verdict == Verdict.CONFIRMED
