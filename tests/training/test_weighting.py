"""Properties of the baselines beside Kendall's loss, and of the training loop with a weighting handed to it."""

import math

import pytest
import torch
from small_runs import batches, job, model

from aura_study.data.tasks import TASK_NAMES
from aura_study.training.loop import train
from aura_study.training.weighting import AnalyticKendall, EqualWeights, build_weighting

TASKS = ("a", "b", "c")


def losses(**values):
    """Scalar losses that ask for gradients."""
    return {task: torch.tensor(value, requires_grad=True) for task, value in values.items()}


@pytest.mark.parametrize("kind", [EqualWeights, AnalyticKendall])
def test_weights_are_the_derivative_of_the_total_and_absent_tasks_get_nothing(kind):
    """dTotal/dL is weights() for present tasks; absent ones appear nowhere."""
    weigh, given = kind(TASKS), losses(a=0.7, c=0.2)
    weigh(given).backward()
    weights = dict(zip(TASKS, weigh.weights().tolist(), strict=True))
    for task, loss in given.items():
        assert loss.grad.item() == pytest.approx(weights[task])
    assert torch.allclose(weigh.weights(), 1 / (2 * weigh.sigma() ** 2))


def test_analytic_kendall_is_the_bias_corrected_mean_of_present_losses():
    """sigma^2 after several presences equals the weighted mean written out; an absence leaves it bit for bit."""
    weigh, seen = AnalyticKendall(["a", "b"], decay=0.9), [0.8, 0.4, 0.6]
    for value in seen:
        weigh(losses(a=value))
    ages = [0.9 ** (len(seen) - 1 - place) for place in range(len(seen))]
    mean = sum(age * value for age, value in zip(ages, seen, strict=True)) / sum(ages)
    assert weigh.sigma().tolist() == pytest.approx([math.sqrt(mean), 1.0])
    before = weigh.sigma()[0].item()
    weigh(losses(b=0.3))
    assert weigh.sigma()[0].item() == before


def test_analytic_kendall_refuses_a_decay_outside_its_range():
    """The error names the value."""
    with pytest.raises(ValueError, match=r"\[0, 1\), got 1"):
        AnalyticKendall(TASKS, decay=1)


@pytest.mark.parametrize("policy", ["equal", "analytic"])
def test_baselines_train_and_are_recorded_like_kendalls_loss(policy, tmp_path):
    """The loop takes them by name; nothing in them is learned."""
    work = job(policy=policy)
    result = train(model(), batches(work).iterate(), work.settings)
    assert list(result.weighting.parameters()) == []
    assert torch.isfinite(result.weighting.sigma()).all()


class Halves:
    """A weighting of gradients: the mean of half the tasks' gradients, written through autograd."""

    tasks = TASK_NAMES

    def __call__(self, losses):
        """Not asked for."""
        raise AssertionError

    def parameters(self):
        """None."""
        return iter(())

    def sigma(self):
        """Ones."""
        return torch.ones(len(self.tasks))

    def weights(self):
        """Halves."""
        return torch.full((len(self.tasks),), 0.5)

    def backward(self, losses, model, share):
        """What half the sum's backward does, one task at a time."""
        for loss in losses.values():
            (0.5 * share * loss).backward(retain_graph=True)


def test_a_weighting_of_gradients_takes_the_place_of_backward():
    """Combining gradients that way trains the model that equal weights train, to float precision."""
    work = job(policy="equal", clip_norm=None, lr_encoder=1e-2, lr_heads=1e-2, optimizer="sgd")
    plain = train(model(), batches(work).iterate(), work.settings).model
    other = train(model(), batches(work).iterate(), work.settings, weighting=Halves()).model
    for first, second in zip(plain.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-6)


class Looking:
    """An observer that counts, and sees whole gradients."""

    def __init__(self):
        self.norms, self.steps = [], []

    def gradients(self, step, model, optimizer):
        """Keep the whole gradient's norm."""
        grads = [parameter.grad.norm() for parameter in model.parameters() if parameter.grad is not None]
        self.norms.append(torch.stack(grads).norm().item())

    def updated(self, step, model, optimizer):
        """Keep the step."""
        self.steps.append(step)


def test_an_observer_sees_gradients_before_clipping_and_changes_nothing():
    """Every step is shown once; norms exceed the clipping bound; the trained model is the same bit for bit."""
    work, eye = job(clip_norm=1e-3), Looking()
    seen = train(model(), batches(work).iterate(), work.settings, observer=eye).model
    plain = train(model(), batches(work).iterate(), work.settings).model
    assert eye.steps == list(range(work.settings.steps))
    assert min(eye.norms) > work.settings.clip_norm
    assert all(torch.equal(a, b) for a, b in zip(seen.parameters(), plain.parameters(), strict=True))


def test_an_unknown_policy_is_refused():
    """Names come from the registry."""
    with pytest.raises(KeyError, match="best"):
        build_weighting("best", "log_sigma", TASKS)
