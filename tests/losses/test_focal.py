"""Properties of focal loss, binary and multi-class."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy, log_softmax

from aura_study.losses import focal_loss


def sample(classes: int, rows: int = 32, seed: int = 0):
    random = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(rows, classes, dtype=torch.float64, generator=random)
    return logits, torch.randint(classes, (rows,), generator=random)


def logits_at(p_true: float) -> torch.Tensor:
    """Two-class logits whose probability of class 1 is ``p_true``."""
    return torch.tensor([[0.0, np.log(p_true / (1 - p_true))]], dtype=torch.float64)


def loop_focal(logits, targets, gamma, weight, smoothing):
    """The definition, one sample and one class at a time."""
    losses = []
    for row, target in zip(logits, targets, strict=True):
        probabilities = torch.softmax(row, 0)
        ce = 0.0
        for label, probability in enumerate(probabilities):
            share = (1 - smoothing) * float(label == target) + smoothing / len(row)
            ce = ce - share * torch.log(probability)
        losses.append(weight[target] * (1 - probabilities[target]) ** gamma * ce)
    return torch.stack(losses)


@pytest.mark.parametrize(("p_true", "factor"), [(0.9, 0.01), (0.1, 0.81)])
def test_guide_numbers(p_true, factor):
    """Section 1.1 of the guide: 1/100 of the loss at p_t = 0.9, 0.81 of it at p_t = 0.1."""
    target = torch.tensor([1])
    ratio = focal_loss(logits_at(p_true), target) / cross_entropy(logits_at(p_true), target)
    assert ratio.item() == pytest.approx(factor, rel=1e-12)


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_equals_the_definition(classes, gamma, smoothing):
    """Vectorised = one sample and class at a time, to 1e-12."""
    logits, targets = sample(classes)
    weight = torch.linspace(0.2, 5, classes, dtype=torch.float64)
    ours = focal_loss(logits, targets, gamma, weight=weight, label_smoothing=smoothing, reduction="none")
    torch.testing.assert_close(ours, loop_focal(logits, targets, gamma, weight, smoothing), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_gamma_zero_is_cross_entropy(smoothing):
    """Without focusing it is torch's cross-entropy."""
    logits, targets = sample(5)
    torch.testing.assert_close(
        focal_loss(logits, targets, gamma=0, label_smoothing=smoothing),
        cross_entropy(logits, targets, label_smoothing=smoothing),
    )


@pytest.mark.parametrize("gamma", [0.0, 2.0])
@pytest.mark.parametrize("alpha", [None, 0.25])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_binary_is_two_class(gamma, alpha, smoothing):
    """A logit z is the two-class logits (0, z)."""
    logits = torch.linspace(-6, 6, 13, dtype=torch.float64)
    targets = torch.arange(13) % 2
    binary = focal_loss(logits, targets.double(), gamma, alpha, label_smoothing=smoothing, reduction="none")
    pairs = torch.stack([torch.zeros_like(logits), logits], -1)
    torch.testing.assert_close(
        binary, focal_loss(pairs, targets, gamma, alpha, label_smoothing=smoothing, reduction="none")
    )


def test_weights_scale_each_sample_exactly():
    """Class weights 5, 0.2 and 3 change a sample's loss by 5, 0.2 and 3, whatever gamma is: they do not reach p_t."""
    logits, targets = sample(3)
    weight = torch.tensor([5, 0.2, 3], dtype=torch.float64)
    ratio = focal_loss(logits, targets, weight=weight, reduction="none") / focal_loss(logits, targets, reduction="none")
    torch.testing.assert_close(ratio, weight[targets], rtol=1e-12, atol=0)


def test_smoothing_does_not_reach_p_t():
    """The modulating factor is that of the true probability, smoothed or not."""
    logits, targets = sample(3)
    smoothed_ce = cross_entropy(logits, targets, label_smoothing=0.1, reduction="none")
    factor = focal_loss(logits, targets, label_smoothing=0.1, reduction="none") / smoothed_ce
    p_true = log_softmax(logits, -1).gather(-1, targets[:, None])[:, 0].exp()
    torch.testing.assert_close(factor, (1 - p_true) ** 2, rtol=1e-10, atol=0)


@settings(max_examples=60, deadline=None)
@given(st.floats(-800, 800), st.integers(0, 1), st.floats(0, 6), st.sampled_from([torch.float32, torch.float64]))
def test_loss_and_gradient_are_finite(logit, label, gamma, dtype):
    """No logit, however extreme, gives a NaN or infinite gradient, 0 < gamma < 1 included."""
    logits = torch.tensor([logit], dtype=dtype, requires_grad=True)
    loss = focal_loss(logits, torch.tensor([label]), gamma)
    loss.backward()
    assert torch.isfinite(loss)
    assert loss >= 0
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_gradient_equals_finite_differences(gamma):
    """torch.autograd.gradcheck in float64."""
    logits, targets = sample(3, rows=4)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: focal_loss(z, targets, gamma, label_smoothing=0.1), logits)


def test_reductions_and_shapes():
    """mean and sum reduce "none"; leading dimensions are kept."""
    logits = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    targets = torch.ones(2, 5, dtype=torch.int64)
    losses = focal_loss(logits, targets, reduction="none")
    assert losses.shape == targets.shape
    torch.testing.assert_close(focal_loss(logits, targets), losses.mean())
    torch.testing.assert_close(focal_loss(logits, targets, reduction="sum"), losses.sum())


def test_vmap_reads_no_value():
    """Under vmap, where values cannot be read, it equals the batched call."""
    logits, targets = sample(3, rows=6)
    per_row = torch.func.vmap(lambda z, t: focal_loss(z, t))(logits, targets)
    torch.testing.assert_close(per_row, focal_loss(logits, targets, reduction="none"))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"gamma": -1}, ValueError, "gamma.*-1"),
        ({"gamma": float("nan")}, ValueError, "gamma"),
        ({"alpha": 1.5}, ValueError, "alpha.*1.5"),
        ({"alpha": 0.5}, ValueError, "two classes, got 3"),
        ({"weight": torch.ones(2)}, ValueError, "shape \\(3,\\), got \\(2,\\)"),
        ({"label_smoothing": 1.0}, ValueError, "label_smoothing.*1.0"),
        ({"reduction": "median"}, ValueError, "median"),
        ({"targets": torch.tensor([0, 3])}, ValueError, "from 0 to 2, got \\[3\\]"),
        ({"targets": torch.tensor([0, -1])}, ValueError, "got \\[-1\\]"),
        ({"targets": torch.tensor([0.0, 1.0])}, TypeError, "integers"),
        ({"targets": torch.tensor([0, 1, 2])}, ValueError, "got \\(3,\\)"),
        ({"logits": torch.ones(2, 3, dtype=torch.int64)}, TypeError, "floating point"),
        ({"logits": torch.ones(2), "targets": torch.tensor([0.0, 0.5])}, ValueError, "0 or 1.*0.5"),
    ],
)
def test_bad_input(arguments, error, words):
    """Each misuse is one error that names the value."""
    with pytest.raises(error, match=words):
        focal_loss(**{"logits": torch.zeros(2, 3), "targets": torch.tensor([0, 1]), **arguments})


def test_no_value_is_read_while_a_graph_is_compiled(monkeypatch):
    """A condition on values would break the graph in two; so a bad target is not named there."""
    monkeypatch.setattr("aura_study.losses.focal.is_compiling", lambda: True)
    assert focal_loss(torch.zeros(2), torch.tensor([0.0, 2.0])).isfinite()


def test_weights_are_made_where_the_logits_are():
    """On a device without values, too."""
    logits = torch.zeros(4, 3, device="meta")
    labels = torch.zeros(4, dtype=torch.int64, device="meta")
    assert focal_loss(logits, labels, weight=[1.0, 2.0, 3.0]).device.type == "meta"


def test_alpha_weighs_class_1_and_the_rest_class_0():
    """Lin et al., section 3.1: with alpha = 1/4 a sample of class 1 counts a quarter, one of class 0 three quarters."""
    labels = torch.tensor([1.0, 0.0], dtype=torch.float64)
    found = focal_loss(torch.zeros_like(labels), labels, gamma=0.0, alpha=0.25, reduction="none")
    torch.testing.assert_close(found, np.log(2) * torch.tensor([0.25, 0.75], dtype=torch.float64))
