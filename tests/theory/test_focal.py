"""Closed forms of focal loss on margins: against the loss itself, and what they say about shares."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from aura_study.losses import focal_loss
from aura_study.theory import focal as theory

GAMMAS = (0.0, 0.5, 1.0, 2.0, 5.0)
MARGINS = np.concatenate([np.linspace(-30, 30, 121), [-1e-9, 1e-9]])
margins = st.lists(st.floats(-12, 12), min_size=20, max_size=60)


def of_the_loss_itself(gamma):
    """The slow twin: losses and gradient norms by `focal_loss` and autograd on two logits."""
    logits = torch.tensor(np.stack([-MARGINS / 3, 2 * MARGINS / 3], axis=1), requires_grad=True)
    losses = focal_loss(logits, torch.ones(len(MARGINS), dtype=torch.long), gamma, reduction="none")
    (gradient,) = torch.autograd.grad(losses.sum(), logits)
    return losses.detach().numpy(), gradient.norm(dim=1).numpy()


@pytest.mark.parametrize("gamma", GAMMAS)
def test_loss_and_pull_are_those_of_focal_loss(gamma):
    """Closed forms equal the loss and autograd's gradient norm for p_t from 1e-13 to 1 - 1e-13, to 1e-9."""
    losses, pulls = of_the_loss_itself(gamma)
    np.testing.assert_allclose(theory.loss(MARGINS, gamma), losses, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(theory.pull(MARGINS, gamma), pulls, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(("size", "count"), [(20, 1), (21, 2), (100, 5), (1000, 50), (1001, 51)])
def test_the_hardest_are_the_least_sure_rounded_up_to_whole_comments(size, count):
    """No other comment has a smaller p_t than one of the hardest 5 %."""
    margin = np.random.default_rng(size).normal(size=size)
    hard = theory.hardest(margin)
    assert hard.sum() == count
    assert margin[hard].max() < margin[~hard].min()


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5])
def test_a_share_outside_0_to_1_is_named(share):
    """The error shows the value."""
    with pytest.raises(ValueError, match=f"got {share}"):
        theory.hardest([0.0, 1.0], share)


@given(margins)
def test_for_one_model_the_hardest_carry_more_of_the_loss_the_larger_gamma_is(margin):
    """Chebyshev's sum inequality: the factor falls with p_t, so that weight moves to the hard end."""
    hard = theory.hardest(margin)
    found = [theory.share_of(theory.loss(margin, gamma), hard) for gamma in GAMMAS]
    assert all(after >= before - 1e-12 for before, after in pairwise(found))


def test_the_hardest_can_lose_of_the_gradient_when_gamma_grows():
    """No such law for the gradient: comments that are confidently wrong lose weight to those that are unsure."""
    margin = np.array([-8.0] + [-1.0] * 19)
    hard = theory.hardest(margin)
    entropy, focal = (theory.share_of(theory.pull(margin, gamma), hard) for gamma in (0.0, 2.0))
    assert focal < entropy


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_alpha_multiplies_the_odds(share, alpha):
    """Odds of the weighted share are the odds of the share times alpha / (1 - alpha)."""
    found = float(theory.weighted_share(share, alpha))
    assert found / (1 - found) == pytest.approx(share / (1 - share) * alpha / (1 - alpha))


@pytest.mark.parametrize("gamma", [0.0, 2.0])
@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.75])
def test_with_its_bias_at_rest_each_class_carries_half_of_the_gradient(alpha, gamma):
    """Any scores, any share of the positive class: where the loss is least in the bias, the classes pull equally."""
    rng = np.random.default_rng(0)
    scores, positive = rng.normal(size=400), rng.random(400) < 0.05
    weight = np.where(positive, alpha, 1 - alpha)

    def pulls(bias):
        return weight * theory.pull(np.where(positive, scores + bias, -scores - bias), gamma)

    bias = brentq(lambda b: pulls(b)[positive].sum() - pulls(b)[~positive].sum(), -20, 20)
    assert theory.share_of(pulls(bias), positive) == pytest.approx(0.5)
    losses = [weight @ theory.loss(np.where(positive, scores + b, -scores - b), gamma) for b in bias + np.r_[-1, 0, 1]]
    assert losses[1] == min(losses)


def test_a_share_of_nothing_is_not_a_number():
    """No effort at all has no shares."""
    assert np.isnan(theory.share_of([0.0, 0.0], [True, False]))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
@pytest.mark.parametrize("share", [0.001, 0.05, 0.5, 0.9])
def test_a_bias_alone_comes_to_rest_where_its_mean_loss_is_smallest(share, gamma):
    """No other logit on a fine grid has a smaller mean loss; for cross-entropy it is the log odds of the share."""
    z = theory.rest(share, gamma)
    around = z + np.linspace(-3, 3, 1201)
    losses = share * theory.loss(around, gamma) + (1 - share) * theory.loss(-around, gamma)
    assert losses.argmin() == 600
    if not gamma:
        assert z == pytest.approx(np.log(share / (1 - share)), abs=1e-9)


def test_a_share_of_nothing_has_no_rest():
    """The error names the share."""
    with pytest.raises(ValueError, match=r"share must lie in \(0, 1\), got 0"):
        theory.rest(0, 2.0)
