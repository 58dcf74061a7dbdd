"""The losses under torch.func, forward mode and the compiler; and an error that is raised inside them."""

import pytest
import torch
from torch import Tensor
from torch.autograd.forward_ad import dual_level, make_dual, unpack_dual
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, stack_module_state, vmap

from aura_study.losses import (
    PARAMETERIZATIONS,
    FrozenKendallLoss,
    KendallLoss,
    LogSigma,
    MaskedKendallLoss,
    UnmaskedKendallLoss,
    focal_loss,
)

TASKS = ("a", "b", "c", "d")
PRESENT = torch.tensor([True, False, True, True])
LOSSES = torch.tensor([0.3, 1.0, 2.0, 5.0], dtype=torch.float64)

every_form = pytest.mark.parametrize("form", PARAMETERIZATIONS.values(), ids=lambda form: form.name)
every_policy = pytest.mark.parametrize("policy", [UnmaskedKendallLoss, MaskedKendallLoss, FrozenKendallLoss])
forward_mode = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # PyTorch's own


def build(policy: type[KendallLoss], form=None) -> KendallLoss:
    return policy(TASKS, form, (0.5, 1.0, 1.5, 2.5), dtype=torch.float64)


def plain(weigh: KendallLoss) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in weigh.named_parameters()}


def flat(by_name: dict[str, Tensor]) -> Tensor:
    """One vector, or matrix for second derivatives, whichever way the parameters are kept."""
    return torch.cat([value.reshape(-1) for value in by_name.values()])


def reverse(weigh: KendallLoss, losses: Tensor = LOSSES, present: Tensor | None = PRESENT) -> tuple[Tensor, Tensor]:
    """Gradients on thetas and losses as ordinary autograd has them, zeros for None."""
    losses = losses.clone().requires_grad_()
    weigh.zero_grad()
    weigh(losses, present).backward()
    slopes = [torch.zeros_like(one) if one.grad is None else one.grad for one in weigh.parameters()]
    assert losses.grad is not None
    return torch.cat([slope.reshape(-1) for slope in slopes]), losses.grad


@every_form
@every_policy
@pytest.mark.parametrize("present", [None, PRESENT, ~PRESENT, torch.zeros(4, dtype=torch.bool)], ids=str)
def test_grad_of_a_functional_call(form, policy, present) -> None:
    """torch.func.grad by parameters and by losses is ordinary autograd's gradient, with zeros where that has None."""
    weigh = build(policy, form)
    by_theta, by_losses = grad(lambda p, x: functional_call(weigh, p, (x, present)), (0, 1))(plain(weigh), LOSSES)
    expected = reverse(weigh, present=present)
    torch.testing.assert_close((flat(by_theta), by_losses), expected, rtol=1e-12, atol=1e-14)


@every_form
@every_policy
@forward_mode
def test_jvp_jacrev_and_forward_mode(form, policy) -> None:
    """Forward mode, torch.func's and the plain one, and jacrev and jacfwd agree with the gradient."""
    weigh = build(policy, form)
    _, by_losses = reverse(weigh)
    weigh.requires_grad_(False)

    def total(losses: Tensor) -> Tensor:
        return weigh(losses, PRESENT)

    along = torch.tensor([0.3, 2.0, -1.0, 0.5], dtype=torch.float64)
    value, tangent = jvp(total, (LOSSES,), (along,))
    torch.testing.assert_close(value, total(LOSSES), rtol=1e-12, atol=0)
    torch.testing.assert_close(tangent, by_losses @ along, rtol=1e-12, atol=0)
    for jacobian in (jacrev, jacfwd):
        torch.testing.assert_close(jacobian(total)(LOSSES), by_losses, rtol=1e-12, atol=0)
    with dual_level():
        dual = unpack_dual(total(make_dual(LOSSES, along))).tangent
    torch.testing.assert_close(dual, by_losses @ along, rtol=1e-12, atol=0)


@every_form
@every_policy
@forward_mode
def test_jvp_by_parameters(form, policy) -> None:
    """Along all parameters at once it is the sum of the gradient."""
    weigh = build(policy, form)
    parameters = plain(weigh)
    ones = {name: torch.ones_like(value) for name, value in parameters.items()}
    _, tangent = jvp(lambda p: functional_call(weigh, p, (LOSSES, PRESENT)), (parameters,), (ones,))
    torch.testing.assert_close(tangent, reverse(weigh)[0].sum(), rtol=1e-12, atol=1e-14)


@every_form
@every_policy
@forward_mode
def test_hessian(form, policy) -> None:
    """Forward over reverse is reverse over reverse: of losses and parameters in one."""
    weigh = build(policy, form)
    place = next(iter(plain(weigh)))

    def total(part: Tensor, losses: Tensor) -> Tensor:
        return functional_call(weigh, plain(weigh) | {place: part}, (losses, PRESENT))

    part = plain(weigh)[place]
    found = hessian(total, (0, 1))(part, LOSSES)
    expected = torch.autograd.functional.hessian(total, (part, LOSSES))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


@every_form
@every_policy
def test_double_backward(form, policy) -> None:
    """A gradient penalty differentiates: as finite differences, by parameters and losses."""
    weigh = build(policy, form)
    losses = LOSSES.clone().requires_grad_()
    present = [one for one, here in zip(weigh.parameters(), PRESENT, strict=False) if here]

    def slopes(x: Tensor, *_: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(weigh(x, PRESENT), (x, *present), create_graph=True)

    assert torch.autograd.gradcheck(slopes, (losses, *present))


@every_form
@every_policy
def test_vmap(form, policy) -> None:
    """A batch of losses, of presences, of both, of neither presence: as a Python loop, gradients per sample too."""
    weigh = build(policy, form)
    random = torch.Generator().manual_seed(0)
    losses = torch.rand(6, 4, dtype=torch.float64, generator=random)
    present = torch.rand(6, 4, generator=random) > 0.5
    pairs = list(zip(losses, present, strict=True))
    both = torch.stack([weigh(loss, here) for loss, here in pairs])
    one_mask = torch.stack([weigh(loss, PRESENT) for loss in losses])
    one_loss = torch.stack([weigh(LOSSES, here) for here in present])
    no_mask = torch.stack([weigh(loss) for loss in losses])
    torch.testing.assert_close(vmap(weigh)(losses, present), both, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(vmap(weigh, (0, None))(losses, PRESENT), one_mask, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(vmap(weigh, (None, 0))(LOSSES, present), one_loss, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(vmap(weigh)(losses), no_mask, rtol=1e-12, atol=1e-14)

    per_sample = vmap(grad(lambda p, x, m: functional_call(weigh, p, (x, m))), (None, 0, 0))(
        plain(weigh), losses, present
    )
    slopes = torch.cat([value.reshape(6, -1) for value in per_sample.values()], dim=1)
    expected = torch.stack([reverse(weigh, loss, here)[0] for loss, here in pairs])
    torch.testing.assert_close(slopes, expected, rtol=1e-12, atol=1e-14)
    if policy is not UnmaskedKendallLoss:
        assert (slopes[~present] == 0).all()


@every_policy
def test_vmap_over_an_ensemble(policy) -> None:
    """Three losses of different parameters, as one."""
    ensemble = [policy(TASKS, LogSigma(), sigma, dtype=torch.float64) for sigma in (0.5, 1.0, 2.0)]
    parameters, _ = stack_module_state(ensemble)  # type: ignore[arg-type]
    found = vmap(lambda p: functional_call(ensemble[0], p, (LOSSES, PRESENT)))(parameters)
    torch.testing.assert_close(found, torch.stack([weigh(LOSSES, PRESENT) for weigh in ensemble]), rtol=1e-12, atol=0)


@every_policy
def test_batched_gradients(policy) -> None:
    """Autograd's own vectorised jacobian sends a batch of gradients through the node."""
    weigh = build(policy)
    one, two = (
        torch.autograd.functional.jacobian(
            lambda x: torch.stack([weigh(x, PRESENT), 2 * weigh(x)]), LOSSES, vectorize=vectorize
        )
        for vectorize in (False, True)
    )
    torch.testing.assert_close(one, two, rtol=1e-12, atol=0)


@every_policy
def test_a_broken_absent_sigma_under_transforms(policy) -> None:
    """There too the masked terms give it exactly 0 and leave the others finite; the unmasked feel it."""
    weigh = policy(TASKS, PARAMETERIZATIONS["sigma"], dtype=torch.float64)
    with torch.no_grad():
        (weigh.theta[1] if policy is FrozenKendallLoss else weigh.theta[1:2]).fill_(0.0)
    slopes = flat(grad(lambda p: functional_call(weigh, p, (LOSSES, PRESENT)))(plain(weigh)))
    assert slopes.isfinite().all() == (policy is not UnmaskedKendallLoss)
    assert (slopes[1] == 0) == (policy is not UnmaskedKendallLoss)


def test_a_call_that_no_transform_follows_is_pytorchs_error() -> None:
    """The known limit: nothing tells the node that a transform is on, and PyTorch refuses it in its own words."""
    weigh = build(MaskedKendallLoss)
    with pytest.raises(RuntimeError, match="setup_context"):
        vmap(lambda factor: factor * weigh(LOSSES, PRESENT))(torch.ones(3))


@every_form
@every_policy
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_precisions(form, policy, dtype) -> None:
    """In half, bfloat16 and double precision: total and gradients are those of float64, to the precision's steps."""
    exact = build(policy, form)
    weigh = policy(TASKS, form, (0.5, 1.0, 1.5, 2.5), dtype=dtype)
    for mine, theirs in zip(exact.parameters(), weigh.parameters(), strict=True):
        mine.data.copy_(theirs.data)
    near = 32 * torch.finfo(dtype).eps
    losses = LOSSES.to(dtype)
    assert weigh(losses, PRESENT).dtype == dtype
    torch.testing.assert_close(weigh(losses, PRESENT).double(), exact(losses.double(), PRESENT), rtol=near, atol=near)
    for found, expected in zip(reverse(weigh, losses), reverse(exact, losses.double()), strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=near, atol=near)


@every_form
@every_policy
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.slow
def test_compile(form, policy) -> None:
    """As one graph, but for a frozen loss that reads the presence: total and gradients are those of eager mode."""
    torch.compiler.reset()
    weigh = build(policy, form)
    expected = reverse(weigh)
    one_graph = policy is not FrozenKendallLoss
    compiled = torch.compile(weigh, fullgraph=one_graph, backend="aot_eager")
    torch.testing.assert_close(reverse(compiled), expected, rtol=1e-12, atol=1e-14)
    absent = [one.grad is None for one in weigh.parameters()]
    assert absent == ([False] if one_graph else (~PRESENT).tolist())
    by_name = {task: loss for task, loss, here in zip(TASKS, LOSSES, PRESENT, strict=True) if here}
    torch.testing.assert_close(compiled(by_name), weigh(by_name), rtol=1e-12, atol=0)


@every_policy
@pytest.mark.parametrize("error", [RuntimeError, torch.OutOfMemoryError, MemoryError])
@pytest.mark.parametrize("transformed", [False, True])
def test_an_error_inside_comes_out_as_it_is(policy, error, transformed) -> None:
    """Whatever the parameterisation raises reaches the caller, and nothing is tried a second time."""
    calls = []

    class Broken(LogSigma):
        def weight(self, theta: Tensor) -> Tensor:
            calls.append(theta)
            raise error("no weight today")

        _slope = LogSigma._slope

    weigh = build(policy, Broken())
    call = grad(lambda x: weigh(x, PRESENT)) if transformed else lambda x: weigh(x, PRESENT)
    with pytest.raises(error, match="no weight today"):
        call(LOSSES)
    assert len(calls) == 1


def test_focal_loss_under_transforms() -> None:
    """Batched, and per-sample gradients; targets out of range are named there too."""
    random = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(6, 3, generator=random), torch.randint(3, (6,), generator=random)
    per_row = vmap(focal_loss)(logits, targets)
    torch.testing.assert_close(per_row, focal_loss(logits, targets, reduction="none"))
    slopes = vmap(grad(focal_loss))(logits, targets)
    torch.testing.assert_close(slopes / 6, grad(focal_loss)(logits, targets))
    torch.testing.assert_close(slopes / 6, jacfwd(focal_loss)(logits, targets))
    for call in (vmap(focal_loss), grad(focal_loss)):
        with pytest.raises(ValueError, match="from 0 to 2, got \\[3\\]"):
            call(logits, torch.full((6,), 3))
