"""The weighted sum as one autograd node, held to the terms that define it; and when it stands in for them."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from aura_study.losses import (
    PARAMETERIZATIONS,
    KendallLoss,
    LogOnePlusSquare,
    LogSigma,
    MaskedKendallLoss,
    Sigma,
    UnmaskedKendallLoss,
)
from aura_study.losses.fused import fits, weighted_sum

FORMS = tuple(PARAMETERIZATIONS.values())
PRESENCES = (None, [True, False, True, True, False], [False] * 5, [True] * 5)

every_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
every_presence = pytest.mark.parametrize(
    "present", PRESENCES, ids=lambda here: "".join("01"[one] for one in here or ()) or "None"
)
both_policies = pytest.mark.parametrize("policy", [UnmaskedKendallLoss, MaskedKendallLoss])


def inputs(absent_loss: float = 0.7, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Thetas and losses, both learnt; the losses of tasks 1 and 4 are given."""
    theta = torch.tensor([0.4, 0.9, 1.3, 2.0, 0.6], dtype=dtype, requires_grad=True)
    losses = torch.tensor([0.3, absent_loss, 2.0, 5.0, absent_loss], dtype=dtype, requires_grad=True)
    return theta, losses


def mask(present: list[bool] | None) -> Tensor | None:
    return None if present is None else torch.tensor(present)


def one_node(policy: type[KendallLoss], form, theta: Tensor, losses: Tensor, present: Tensor | None) -> Tensor:
    return weighted_sum(form, theta, losses, present, policy._absent_keep_regularizer)


def by_terms(policy: type[KendallLoss], form, theta: Tensor, losses: Tensor, present: Tensor | None) -> Tensor:
    """The definition, as the classes write it."""
    everywhere = torch.ones_like(losses, dtype=torch.bool) if present is None else present
    return policy([str(place) for place in range(len(theta))], form)._terms(theta, losses, everywhere).sum()


@every_form
@every_presence
@both_policies
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_one_node_equals_the_terms(form, present, policy, dtype) -> None:
    """Sum and gradients to 1e-12 in float64, for a gradient from above that is not 1; else to the precision's steps."""
    found, expected = [], []
    for way, results in ((one_node, found), (by_terms, expected)):
        theta, losses = inputs(dtype=dtype)
        total = way(policy, form, theta, losses, mask(present))
        (0.3 * total).backward()
        results += [total.detach(), theta.grad, losses.grad]
    near = 1e-12 if dtype == torch.float64 else 8 * torch.finfo(dtype).eps
    torch.testing.assert_close(found, expected, rtol=near, atol=near)


@every_form
@every_presence
@both_policies
def test_the_node_stands_in_for_every_form_of_the_study(form, present, policy) -> None:
    """None falls back to many nodes unnoticed."""
    theta, losses = inputs()
    weigh = policy(list("abcde"), form, dtype=torch.float64)
    assert fits(form, theta, losses, mask(present))
    assert "WeightedSum" in type(weigh(losses, mask(present)).grad_fn).__name__


@every_form
@both_policies
def test_second_derivatives(form, policy) -> None:
    """Differentiated twice it agrees with the terms and with finite differences, whatever stands in absent places."""
    present = mask(PRESENCES[1])
    theta, losses = inputs()
    assert torch.autograd.gradgradcheck(lambda t, x: one_node(policy, form, t, x, present), (theta, losses))
    found = []
    for way, absent_loss in ((one_node, 0.7), (by_terms, 0.7), (one_node, torch.nan), (by_terms, torch.nan)):
        theta, losses = inputs(absent_loss)
        slopes = torch.autograd.grad(way(policy, form, theta, losses, present), (theta, losses), create_graph=True)
        found.append(torch.autograd.grad(sum(slope.square().sum() for slope in slopes), (theta, losses)))
    for curvature in found:
        torch.testing.assert_close(curvature, found[0], rtol=1e-12, atol=1e-12)
    assert (found[0][1][~present] == 0).all()
    if policy is MaskedKendallLoss:
        assert (found[0][0][~present] == 0).all()


@pytest.mark.parametrize("sigma", [-1.0, 0.0, torch.nan])
@pytest.mark.parametrize("form", [Sigma(), LogOnePlusSquare()], ids=lambda form: form.name)
@pytest.mark.parametrize("way", [one_node, by_terms])
def test_an_absent_tasks_broken_sigma_stays_its_own(way, form, sigma) -> None:
    """A sigma that an optimiser threw to 0 or below leaves the total and all gradients finite while it is absent."""
    theta = torch.tensor([1.0, sigma], dtype=torch.float64, requires_grad=True)
    losses = torch.tensor([2.0, 3.0], dtype=torch.float64, requires_grad=True)
    total = way(MaskedKendallLoss, form, theta, losses, torch.tensor([True, False]))
    total.backward()
    assert total.isfinite()
    assert theta.grad[1] == losses.grad[1] == 0.0
    assert theta.grad[0] != 0


def test_a_changed_term_is_differentiated_as_changed() -> None:
    """A subclass does not inherit its parent's slopes."""

    class WithoutLog(LogSigma):
        def regularizer(self, theta: Tensor) -> Tensor:
            return torch.zeros_like(theta)

    _, losses = inputs()
    weigh = MaskedKendallLoss(list("abcde"), WithoutLog(), [0.5, 1.0, 1.5, 2.0, 2.5], dtype=torch.float64)
    weigh(losses).backward()
    slopes = -torch.exp(-2 * weigh.theta.detach()) * losses.detach()
    torch.testing.assert_close(weigh.theta.grad, slopes, rtol=1e-12, atol=0)


@both_policies
def test_only_what_needs_a_gradient_gets_one(policy) -> None:
    """Constant losses, frozen parameters, no_grad: as with any operation."""
    weigh = policy(["a", "b"])
    losses, present = torch.ones(2), torch.tensor([True, False])
    weigh(losses, present).backward()
    assert losses.grad is None
    assert weigh.theta.grad is not None
    weigh.requires_grad_(False)
    assert not weigh(losses, present).requires_grad
    total = weigh(losses.clone().requires_grad_(), present)
    assert total.requires_grad
    with torch.no_grad():
        assert not weigh.requires_grad_()(losses, present).requires_grad


def test_importing_the_losses_imports_torch_alone() -> None:
    """No transformers, pandas, matplotlib or any other package that torch itself does not import."""
    code = "import sys; {}; print(*{{name.split('.')[0] for name in sys.modules}})"
    bare, ours = (
        set(
            subprocess.run(
                [sys.executable, "-c", code.format(what)], check=True, capture_output=True, text=True
            ).stdout.split()
        )
        for what in ("import torch", "import aura_study.losses")
    )
    assert ours - bare == {"aura_study"}
