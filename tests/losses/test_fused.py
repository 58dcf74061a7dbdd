"""The weighted sum as one autograd node against the same sum of plain operations."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor
from torch.autograd.forward_ad import dual_level, make_dual, unpack_dual

from aura_study.losses import (
    PARAMETERIZATIONS,
    FrozenKendallLoss,
    LogOnePlusSquare,
    LogSigma,
    MaskedKendallLoss,
    Sigma,
    UnmaskedKendallLoss,
)
from aura_study.losses.fused import SLOPES, composed_sum, weighted_sum

FORMS = tuple(PARAMETERIZATIONS.values())
PRESENCES = (None, [True, False, True, True, False], [False] * 5, [True] * 5)

every_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
every_presence = pytest.mark.parametrize(
    "present", PRESENCES, ids=lambda here: "".join("01"[one] for one in here or ()) or "None"
)
both_policies = pytest.mark.parametrize("masked", [True, False], ids=["masked", "unmasked"])


def inputs(absent_loss: float = 0.7) -> tuple[Tensor, Tensor]:
    """Thetas and losses, float64, both learnt; the losses of tasks 1 and 4 are given."""
    theta = torch.tensor([0.4, 0.9, 1.3, 2.0, 0.6], dtype=torch.float64, requires_grad=True)
    losses = torch.tensor([0.3, absent_loss, 2.0, 5.0, absent_loss], dtype=torch.float64, requires_grad=True)
    return theta, losses


def mask(present: list[bool] | None) -> Tensor | None:
    return None if present is None else torch.tensor(present)


def test_every_form_has_closed_slopes() -> None:
    """None of the study's forms falls back to autograd unnoticed."""
    assert {type(form) for form in FORMS} == set(SLOPES)


@every_form
@every_presence
@both_policies
def test_one_node_equals_plain_operations(form, present, masked) -> None:
    """Sum and gradients to 1e-12, for a gradient from above that is not 1."""
    found, expected = [], []
    for way, results in ((weighted_sum, found), (composed_sum, expected)):
        theta, losses = inputs()
        total = way(form, theta, losses, mask(present), masked)
        (0.3 * total).backward()
        results += [total.detach(), theta.grad, losses.grad]
    assert "WeightedSum" in type(weighted_sum(form, *inputs(), mask(present), masked).grad_fn).__name__
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@every_form
@both_policies
def test_second_derivatives(form, masked) -> None:
    """Differentiated twice it agrees with finite differences, whatever stands in the absent tasks' places."""
    present = mask(PRESENCES[1])
    theta, losses = inputs()
    assert torch.autograd.gradgradcheck(lambda t, x: weighted_sum(form, t, x, present, masked), (theta, losses))
    theta, losses = inputs(absent_loss=torch.nan)
    slopes = torch.autograd.grad(weighted_sum(form, theta, losses, present, masked), (theta, losses), create_graph=True)
    curvature = torch.autograd.grad(sum(slope.square().sum() for slope in slopes), (theta, losses))
    assert all(values.isfinite().all() for values in curvature)
    assert (curvature[1][~present] == 0).all()
    if masked:
        assert (curvature[0][~present] == 0).all()


@pytest.mark.parametrize("sigma", [-1.0, 0.0, torch.nan])
@pytest.mark.parametrize("form", [Sigma(), LogOnePlusSquare()], ids=lambda form: form.name)
def test_an_absent_tasks_broken_sigma_stays_its_own(form, sigma) -> None:
    """A sigma that an optimiser threw to 0 or below leaves the total and all gradients finite while it is absent."""
    weigh = MaskedKendallLoss(["there", "away"], form, dtype=torch.float64)
    with torch.no_grad():
        weigh.theta[1] = sigma
    losses = torch.tensor([2.0, 3.0], dtype=torch.float64, requires_grad=True)
    total = weigh(losses, torch.tensor([True, False]))
    total.backward()
    assert total.isfinite()
    assert weigh.theta.grad[1] == losses.grad[1] == 0.0
    assert weigh.theta.grad[0] != 0


def test_a_changed_term_is_differentiated_as_changed() -> None:
    """A subclass does not inherit its parent's slopes."""

    class WithoutLog(LogSigma):
        def regularizer(self, theta: Tensor) -> Tensor:
            return torch.zeros_like(theta)

    theta, losses = inputs()
    weighted_sum(WithoutLog(), theta, losses, None).backward()
    torch.testing.assert_close(theta.grad, -torch.exp(-2 * theta.detach()) * losses.detach(), rtol=1e-12, atol=0)


@every_form
@both_policies
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # PyTorch's own, in forward mode
def test_function_transforms(form, masked) -> None:
    """torch.func's gradient and Hessian and forward mode agree with autograd."""
    theta, losses = inputs()
    present = mask(PRESENCES[1])

    def total(t: Tensor, x: Tensor) -> Tensor:
        return weighted_sum(form, t, x, present, masked)

    by_theta, by_losses = torch.autograd.grad(total(theta, losses), (theta, losses))
    plain = theta.detach(), losses.detach()
    torch.testing.assert_close(torch.func.grad(total, (0, 1))(*plain), (by_theta, by_losses), rtol=1e-12, atol=1e-14)
    expected = torch.autograd.functional.hessian(lambda t: total(t, plain[1]), plain[0])
    torch.testing.assert_close(torch.func.hessian(total)(*plain), expected, rtol=1e-12, atol=1e-14)
    with dual_level():
        along = unpack_dual(total(make_dual(plain[0], torch.ones(5, dtype=torch.float64)), plain[1])).tangent
    assert along.item() == pytest.approx(by_theta.sum().item(), rel=1e-12)


def test_frozen_under_transforms_gives_zeros() -> None:
    """With a presence that is a plain tensor too: where no gradient can be None it is 0."""
    weigh = FrozenKendallLoss(["a", "b"], dtype=torch.float64)
    losses, present = torch.tensor([1.0, 2.0], dtype=torch.float64), torch.tensor([True, False])
    slopes = torch.func.grad(lambda p: torch.func.functional_call(weigh, p, (losses, present)))(
        dict(weigh.named_parameters())
    )
    assert slopes["theta.0"] == 0.0 == slopes["theta.1"]
    moved = torch.func.grad(lambda p: torch.func.functional_call(weigh, p, (2 * losses, present)))(
        dict(weigh.named_parameters())
    )
    assert moved["theta.0"] == -1.0
    assert moved["theta.1"] == 0.0


@pytest.mark.parametrize("policy", [UnmaskedKendallLoss, MaskedKendallLoss])
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
