"""The focal audit: class weights and label smoothing must not reach p_t."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, log_softmax

from aura_study.audit import CannotAudit, audit_focal
from aura_study.audit.focal import LOGITS, WEIGHTS
from aura_study.losses import focal_loss


class TakenFromTheWeightedLoss(nn.Module):
    """p_t = exp(-CE) of a cross-entropy that already carries weights and smoothing."""

    def __init__(self, gamma=2.0, weight=None, label_smoothing=0.0):
        super().__init__()
        self.settings = {"weight": weight, "label_smoothing": label_smoothing}
        self.gamma = gamma

    def forward(self, logits, targets):
        ce = cross_entropy(logits, targets, reduction="none", **self.settings)
        return ((1 - torch.exp(-ce)) ** self.gamma * ce).mean()


def weighted_after(logits, targets, gamma=2.0, class_weights=None):
    """p_t from the logits, the weight afterwards, no smoothing."""
    log_p = log_softmax(logits, -1).gather(-1, targets[:, None])[:, 0]
    weight = 1.0 if class_weights is None else class_weights[targets]
    return (weight * (1 - log_p.exp()) ** gamma * -log_p).mean()


def test_our_focal_loss_is_safe_and_keeps_the_weights_exactly():
    """The factor is (1 - p_t)^2 under every setting, and weights [5, 0.2, 3] change a sample's loss by 5, 0.2, 3."""
    report = audit_focal(focal_loss)
    assert report.safe
    assert len(report.findings) == 4
    assert report["class weights"].weight_factor == pytest.approx(WEIGHTS, rel=1e-6)


def test_the_leak_is_found_and_measured():
    """With p_t = exp(-w CE) the factor is (1 - p^w)^2; with smoothing it is wrong too; plain it is right."""
    report = audit_focal(TakenFromTheWeightedLoss)
    verdicts = {finding.setting: finding.verdict for finding in report.findings}
    assert verdicts == {"plain": "safe", "class weights": "leaks", "label smoothing": "leaks", "both": "leaks"}
    probabilities = torch.tensor(LOGITS).softmax(-1)
    expected = (1 - probabilities ** torch.tensor(WEIGHTS)) ** 2
    assert report["class weights"].measured == pytest.approx(expected.tolist(), rel=1e-5)
    assert report.exit_code == 1
    assert "NOT SAFE" in str(report)


def test_a_setting_that_the_loss_does_not_take_is_listed():
    """A loss without smoothing is judged on what it has."""
    report = audit_focal(weighted_after)
    assert report.safe
    assert set(report.not_accepted) == {"label smoothing", "both"}


def test_adapter():
    """`call` replaces the guess at the argument names."""
    report = audit_focal(call=lambda x, y, g, w, e: weighted_after(x, y, g, w))
    assert report["class weights"].verdict == "safe"


class SmoothUnlessTold(nn.Module):
    """Smooths by default, and p_t sees it."""

    def __init__(self, gamma=2.0, weight=None, label_smoothing=0.1):
        super().__init__()
        self.inner = TakenFromTheWeightedLoss(gamma, weight, label_smoothing)

    def forward(self, logits, targets):
        return self.inner(logits, targets)


class WeightsRequired(nn.Module):
    """p_t from the logits; class weights are a required tensor."""

    def __init__(self, class_weights, gamma=2.0):
        super().__init__()
        self.class_weights, self.gamma = class_weights, gamma

    def forward(self, logits, targets):
        return weighted_after(logits, targets, self.gamma, self.class_weights)


def test_settings_are_neutral_where_they_are_not_asked_about():
    """A default of the code's own is set aside: plain is plain, class weights do not mix with smoothing."""
    report = audit_focal(SmoothUnlessTold)
    assert report["plain"].verdict == "safe"
    probabilities = torch.tensor(LOGITS).softmax(-1)
    assert report["class weights"].measured == pytest.approx(
        ((1 - probabilities ** torch.tensor(WEIGHTS)) ** 2).tolist(), rel=1e-5
    )
    assert report["label smoothing"].verdict == "leaks"


def test_required_class_weights_are_filled_with_ones():
    """A loss that needs its class weights is plain with weights of 1."""
    report = audit_focal(WeightsRequired)
    assert report.safe
    assert report["class weights"].weight_factor == pytest.approx(WEIGHTS, rel=1e-6)


@pytest.mark.parametrize("target", [lambda logits, targets: logits.sum(), lambda x, y, gamma: 1 / 0])
def test_what_cannot_be_audited(target):
    """A loss without a settable gamma, or that fails, says so."""
    with pytest.raises(CannotAudit):
        audit_focal(target)


class NeedsClasses(nn.Module):
    """The number of classes is required, targets come first."""

    def __init__(self, num_classes, alpha=None, gamma=2.0, reduction="mean"):
        super().__init__()
        self.num_classes, self.alpha, self.gamma = num_classes, alpha, gamma

    def forward(self, y_true, y_pred):
        assert y_pred.shape[1] == self.num_classes
        p = y_pred.softmax(1).gather(1, y_true[:, None])[:, 0]
        weight = 1.0 if self.alpha is None else self.alpha[y_true]
        return (weight * (1 - p) ** self.gamma * -p.log()).mean()


def test_required_arguments_are_filled_and_targets_may_come_first():
    """The class is audited without help, and so is an instance of it."""
    for target in (NeedsClasses, NeedsClasses(3)):
        report = audit_focal(target)
        assert report.safe, str(report)


class WeightInside(NeedsClasses):
    """p_t from the weighted cross-entropy."""

    def forward(self, y_true, y_pred):
        entropy = nn.functional.cross_entropy(y_pred, y_true, weight=self.alpha, reduction="none")
        return ((1 - torch.exp(-entropy)) ** self.gamma * entropy).mean()


@pytest.mark.parametrize("target", [WeightInside, WeightInside(3)])
def test_a_leak_is_found_in_a_class_and_in_an_instance(target):
    """Class weights enter p_t."""
    report = audit_focal(target)
    assert report["plain"].verdict == "safe"
    assert report["class weights"].verdict == "leaks"


class HasMore(NeedsClasses):
    """Takes more than is asked for."""

    def __init__(self, num_classes, alpha=None, gamma=2.0, floor=1e-12, *rest, **more):
        super().__init__(num_classes, alpha, gamma)
        self.floor = floor
        assert (rest, more) == ((), {})

    def forward(self, y_true, y_pred):
        p = y_pred.softmax(1).gather(1, y_true[:, None])[:, 0].clamp(min=self.floor)
        weight = 1.0 if self.alpha is None else self.alpha[y_true]
        return (weight * (1 - p) ** self.gamma * -p.log()).mean()


def test_arguments_with_a_default_keep_it():
    """Only what is required is filled."""
    report = audit_focal(HasMore)
    assert report.safe, str(report)
