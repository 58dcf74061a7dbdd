"""Properties of the three absence policies in the five parameterisations."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from aura_study.losses import (
    PARAMETERIZATIONS,
    FrozenKendallLoss,
    KendallLoss,
    LogSigma,
    MaskedKendallLoss,
    Parameterization,
    UnmaskedKendallLoss,
)
from aura_study.theory.fixed_points import fixed_point
from aura_study.theory.forms import FORMS

TASKS = ("toxicity", "emotion", "sentiment", "reporting")
FORMS_UNDER_TEST = tuple(PARAMETERIZATIONS.values())
POLICIES = (UnmaskedKendallLoss, MaskedKendallLoss, FrozenKendallLoss)
SCALES = (0.0, 1e-10, 1e-3, 1.0, 1e3, 1e10)
PRESENCES = ((False,) * 4, (True, False, False, False), (False, True, True, False), (True,) * 4)

every_form = pytest.mark.parametrize("form", FORMS_UNDER_TEST, ids=lambda form: form.name)
every_policy = pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.__name__)
every_presence = pytest.mark.parametrize("present", PRESENCES, ids=lambda p: "".join("01"[here] for here in p))


def build(policy: type[KendallLoss], form: Parameterization, sigmas=(0.5, 1.0, 1.5, 2.5)) -> KendallLoss:
    return policy(TASKS, form, sigmas, dtype=torch.float64)


def gradients(weigh: KendallLoss) -> list[float | None]:
    """Gradient per task, None where a parameter has none."""
    if isinstance(weigh, FrozenKendallLoss):
        return [None if theta.grad is None else theta.grad.item() for theta in weigh.theta]
    return [None] * len(weigh.tasks) if weigh.theta.grad is None else weigh.theta.grad.tolist()


def loop_total(policy: type[KendallLoss], form: Parameterization, theta: Tensor, losses, present) -> Tensor:
    """The definition, one task at a time."""
    total = torch.zeros((), dtype=torch.float64)
    for value, loss, here in zip(theta, losses, present, strict=True):
        if here:
            total = total + form.weight(value) * loss + form.regularizer(value)
        elif policy is UnmaskedKendallLoss:
            total = total + form.regularizer(value)
    return total


@every_form
@every_policy
@every_presence
@pytest.mark.parametrize("scale", SCALES)
def test_mapping_vector_and_loop_agree(form, policy, present, scale):
    """Both calling forms equal the one-task-at-a-time definition to 1e-12, relative, in float64."""
    losses = scale * torch.tensor([0.3, 1.0, 2.0, 5.0], dtype=torch.float64)
    weigh = build(policy, form)
    by_name = weigh({task: loss for task, loss, here in zip(TASKS, losses, present, strict=True) if here})
    by_vector = weigh(losses, torch.tensor(present))
    expected = loop_total(policy, form, weigh.thetas().detach(), losses, present)
    torch.testing.assert_close(by_name, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(by_vector, expected, rtol=1e-12, atol=1e-12)


@every_form
@every_policy
@every_presence
@pytest.mark.parametrize("scale", SCALES)
def test_closed_form_gradients_equal_autograd(form, policy, present, scale):
    """weight' L + regularizer' where present; regularizer', 0.0 or no gradient at all where absent, by policy."""
    losses = scale * torch.tensor([0.3, 1.0, 2.0, 5.0], dtype=torch.float64)
    weigh = build(policy, form)
    weigh(losses, torch.tensor(present)).backward()
    theta = weigh.thetas().detach().numpy()
    here = FORMS[form.name].gradient(theta, losses.numpy())
    away = FORMS[form.name].absent_gradient(theta)
    for index, measured in enumerate(gradients(weigh)):
        if present[index]:
            assert measured == pytest.approx(here[index], rel=1e-12, abs=1e-14)
        elif policy is UnmaskedKendallLoss:
            assert measured == pytest.approx(away[index], rel=1e-12)
            assert measured != 0
        elif policy is MaskedKendallLoss:
            assert measured == 0.0
        else:
            assert measured is None


@every_form
@pytest.mark.parametrize("policy", [MaskedKendallLoss, FrozenKendallLoss], ids=lambda policy: policy.__name__)
@pytest.mark.parametrize("poison", [0.0, torch.nan, torch.inf, -torch.inf])
def test_absent_task_has_no_pull(form, policy, poison):
    """Whatever stands in an absent task's place, nothing of it reaches the total or any gradient."""
    clean, filled = build(policy, form), build(policy, form)
    present = torch.tensor([True, False, True, True])
    for weigh, absent in ((clean, 7.0), (filled, poison)):
        losses = torch.tensor([0.3, absent, 2.0, 5.0], dtype=torch.float64, requires_grad=True)
        total = weigh(losses, present)
        total.backward()
        assert losses.grad is not None
        assert losses.grad[1] == 0.0
        assert torch.equal(losses.grad[present], weigh.weights()[present])
    assert gradients(clean) == gradients(filled)


def test_unmasked_fails_where_masked_holds():
    """V10.1 is wrong in exactly the way that V10.2 is right: same call, non-zero against zero."""
    pulls = {}
    for policy in (UnmaskedKendallLoss, MaskedKendallLoss):
        weigh = build(policy, LogSigma())
        weigh({"toxicity": torch.tensor(1.0, dtype=torch.float64)}).backward()
        pulls[policy] = gradients(weigh)[1:]
    assert pulls == {UnmaskedKendallLoss: [1.0] * 3, MaskedKendallLoss: [0.0] * 3}


@every_form
@every_policy
def test_permuting_tasks_permutes_gradients(form, policy):
    """No task's place in the list matters."""
    losses, present, sigmas = (0.3, 1.0, 2.0, 5.0), (True, False, True, True), (0.5, 1.0, 1.5, 2.5)
    found = set()
    for order in itertools.permutations(range(4)):
        weigh = policy([TASKS[i] for i in order], form, [sigmas[i] for i in order], dtype=torch.float64)
        weigh({TASKS[i]: torch.tensor(losses[i], dtype=torch.float64) for i in order if present[i]}).backward()
        found.add(tuple(sorted(zip((TASKS[i] for i in order), gradients(weigh), strict=True))))
    assert len(found) == 1


@every_form
def test_weights_are_the_losses_slopes_and_define_sigma(form):
    """weights() = d total / d L, and weight = 1 / (2 sigma^2)."""
    weigh = build(MaskedKendallLoss, form)
    losses = torch.rand(4, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    weigh(losses).backward()
    assert torch.equal(losses.grad, weigh.weights())
    torch.testing.assert_close(1 / (2 * weigh.sigma() ** 2), weigh.weights(), rtol=1e-12, atol=0)
    torch.testing.assert_close(
        weigh.sigma(), torch.tensor([0.5, 1.0, 1.5, 2.5], dtype=torch.float64), rtol=1e-9, atol=0
    )
    assert not weigh.weights().requires_grad
    assert not weigh.sigma().requires_grad


@every_form
def test_torch_and_numpy_forms_agree(form):
    """The losses and the theory were written twice; they say the same."""
    theta = torch.linspace(0.1, 4, 50, dtype=torch.float64)
    closed = FORMS[form.name]
    for ours, theirs in (
        (form.weight, closed.weight),
        (form.regularizer, closed.regularizer),
        (form.sigma, closed.sigma),
    ):
        np.testing.assert_allclose(ours(theta), theirs(theta.numpy()), rtol=1e-12)
    assert form.initial_theta == closed.initial_theta


@every_form
def test_initial_sigma_round_trip(form):
    """theta(sigma) is the inverse of sigma(theta), and the default is the published start."""
    for sigma in (1e-2, 1.0, 30.0):
        theta = torch.tensor(form.theta(sigma), dtype=torch.float64)
        assert form.sigma(theta).item() == pytest.approx(sigma, rel=1e-6)
    assert MaskedKendallLoss(TASKS, form).thetas().tolist() == [form.initial_theta] * 4


@every_policy
def test_only_frozen_is_still_under_momentum_and_decay(policy):
    """A gradient of 0 is not stillness: Adam coasts and decays under the mask, and only `None` stops it."""
    weigh = build(policy, LogSigma())
    optimizer = torch.optim.AdamW(weigh.parameters(), lr=0.01, weight_decay=0.1)
    for step in range(20):
        optimizer.zero_grad()
        names = TASKS if step < 10 else TASKS[1:]
        weigh({task: torch.tensor(0.1, dtype=torch.float64) for task in names}).backward()
        if step == 10:
            before = weigh.thetas()[0].item()
        optimizer.step()
    assert (weigh.thetas()[0].item() == before) is (policy is FrozenKendallLoss)


@every_policy
@every_presence
def test_every_parameter_stays_in_the_graph(policy, present):
    """Absent ones too: DistributedDataParallel waits for a sign of each parameter in every backward pass."""
    weigh = build(policy, LogSigma())
    nodes, reached = [weigh(torch.ones(4, dtype=torch.float64), torch.tensor(present)).grad_fn], set()
    while nodes:
        node = nodes.pop()
        reached.add(id(getattr(node, "variable", None)))
        nodes += [above for above, _ in node.next_functions if above is not None]
    assert {id(parameter) for parameter in weigh.parameters()} <= reached


@every_policy
def test_state_dict_round_trip(policy):
    """A saved weighting loads into a fresh one and gives the same total."""
    source, target = build(policy, LogSigma()), build(policy, LogSigma(), sigmas=(1, 1, 1, 1))
    target.load_state_dict(source.state_dict())
    losses = torch.rand(4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(source(losses), target(losses))


@every_policy
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_the_wider_one(policy, dtype):
    """Half-precision losses are weighed in the parameters' precision."""
    weigh = policy(TASKS, dtype=dtype)
    for loss_dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float64):
        expected = torch.promote_types(dtype, loss_dtype)
        assert weigh(torch.ones(4, dtype=loss_dtype)).dtype == expected
        assert weigh({"emotion": torch.ones((), dtype=loss_dtype)}).dtype == expected


@every_policy
def test_autocast(policy):
    """Under autocast a bfloat16 loss gives the same total as its float32 value, to bfloat16's precision."""
    weigh = policy(TASKS)
    features = torch.rand(8, 8, generator=torch.Generator().manual_seed(0))
    exact = weigh({"emotion": (features @ features).mean()})
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = (features @ features).mean()
        total = weigh({"emotion": loss})
    total.backward()
    assert loss.dtype == torch.bfloat16
    torch.testing.assert_close(total, exact, rtol=1e-2, atol=1e-2)


@pytest.mark.slow
@every_policy
@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)  # of the compiler
def test_compile(policy):
    """Compiled, totals and gradients (none at all for a frozen absent task) are those of eager mode."""
    eager, other = build(policy, LogSigma()), build(policy, LogSigma())
    compiled = torch.compile(other)
    losses = torch.tensor([0.3, 1.0, 2.0, 5.0], dtype=torch.float64)
    for present in (torch.tensor([True, False, True, True]), torch.tensor([False, True, True, False])):
        for weigh in (eager, other):
            weigh.zero_grad()
        first, second = eager(losses, present), compiled(losses, present)
        first.backward()
        second.backward()
        torch.testing.assert_close(first, second, rtol=1e-12, atol=0)
        expected, found = gradients(eager), gradients(other)
        assert [value is None for value in found] == [value is None for value in expected]
        assert [value or 0.0 for value in found] == pytest.approx([value or 0.0 for value in expected], rel=1e-12)


@pytest.mark.parametrize(
    ("tasks", "error", "words"),
    [
        ([], ValueError, "at least one task"),
        (["a", "b", "a"], ValueError, "repeated: \\['a'\\]"),
        ("abc", TypeError, "sequence of names"),
        ([1, 2], TypeError, "sequence of names"),
    ],
)
def test_bad_tasks(tasks, error, words):
    """Names are checked when the loss is built."""
    with pytest.raises(error, match=words):
        MaskedKendallLoss(tasks)


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan"), float("inf"), [1.0, 2.0]])
def test_bad_initial_sigma(sigma):
    """A start value must be finite, positive, and one per task."""
    with pytest.raises(ValueError, match="initial_sigma"):
        MaskedKendallLoss(TASKS, initial_sigma=sigma)


@every_policy
@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (({"toxic": torch.tensor(1.0)},), ValueError, "unknown tasks \\['toxic'\\].*toxicity"),
        (({"toxicity": torch.ones(1)},), ValueError, "scalar, got shape \\(1,\\)"),
        (({"toxicity": torch.tensor(1)},), TypeError, "floating point"),
        (({"toxicity": 1.0},), TypeError, "must be a tensor, got float"),
        (({"toxicity": None},), TypeError, "must be a tensor, got NoneType"),
        (({"toxicity": torch.tensor(1.0)}, torch.ones(4, dtype=torch.bool)), ValueError, "keys are the presence"),
        ((torch.ones(3),), ValueError, "shape \\(4,\\)"),
        ((torch.ones(4, 1),), ValueError, "shape \\(4,\\)"),
        ((torch.ones(4, dtype=torch.int64),), TypeError, "floating point"),
        ((torch.ones(4), torch.ones(4)), TypeError, "boolean"),
        ((torch.ones(4), [True] * 4), TypeError, "boolean tensor, got list"),
        ((torch.ones(4), torch.ones(3, dtype=torch.bool)), ValueError, "shape of losses"),
        ((torch.ones(4, device="meta"),), ValueError, "is on meta"),
    ],
)
def test_bad_calls(policy, arguments, error, words):
    """Each misuse is one error that names the value, raised before anything is computed."""
    with pytest.raises(error, match=words):
        policy(TASKS)(*arguments)


def test_parameters_are_made_where_they_are_asked_for():
    """On a device without values, too."""
    assert {parameter.device.type for parameter in MaskedKendallLoss(TASKS, device="meta").parameters()} == {"meta"}


def long_solved(weigh: KendallLoss, steps: int, rate: float = 0.01) -> None:
    """Adam on sigma, with toxicity present at a loss of 0, emotion at 1, and the others absent."""
    adam = torch.optim.Adam(weigh.parameters(), lr=rate)
    zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    for _ in range(steps):
        adam.zero_grad()
        weigh({"toxicity": zero, "emotion": one}).backward()
        adam.step()


@pytest.mark.parametrize("policy", [MaskedKendallLoss, FrozenKendallLoss])
def test_a_loss_of_zero_is_present_and_a_missing_key_is_absent(policy):
    """The solved task's sigma falls by the rate at every step, for ever; the absent one's stays bit for bit."""
    weigh = policy(TASKS, dtype=torch.float64)
    for steps in (300, 600):
        long_solved(weigh, 300)
        toxicity, _, *absent = weigh.sigma().tolist()
        assert toxicity == pytest.approx(np.exp(-0.01 * steps), rel=1e-6)
        assert absent == [1.0, 1.0]


@every_form
@pytest.mark.parametrize("policy", [MaskedKendallLoss, FrozenKendallLoss])
def test_under_a_floor_a_solved_task_rests_where_a_loss_of_that_size_would(policy, form):
    """The form's fixed point at the floor, from far above it and after twice the stretch."""
    floor = 0.04
    rest = FORMS[form.name].sigma(fixed_point(FORMS[form.name], floor))
    weigh = policy(TASKS, form, loss_floor=floor, dtype=torch.float64)
    for _ in range(2):
        long_solved(weigh, 1_500)
        assert weigh.sigma()[0].item() == pytest.approx(float(rest), rel=0.01)


@every_form
@every_policy
@every_presence
def test_a_floor_adds_to_present_losses_alone_and_leaves_their_gradients(policy, form, present):
    """The total is that of the losses plus the floor; d total / d L is the weight, at 0 too; nothing leaks from NaN."""
    losses = torch.tensor([0.0, 1.0, 2.0, 5.0], dtype=torch.float64, requires_grad=True)
    here = torch.tensor(present)
    plain, floored = build(policy, form), policy(TASKS, form, (0.5, 1.0, 1.5, 2.5), loss_floor=0.1, dtype=torch.float64)
    total = floored(losses, here)
    torch.testing.assert_close(total, plain(losses + 0.1, here), rtol=1e-12, atol=1e-12)
    (slope,) = torch.autograd.grad(total, losses)
    torch.testing.assert_close(slope, torch.where(here, plain.weights(), 0.0), rtol=1e-12, atol=0)
    broken = torch.where(here, losses.detach(), torch.nan)
    torch.testing.assert_close(floored(broken, here), total.detach(), rtol=0, atol=0)
    assert ("loss_floor=0.1" in repr(floored), "loss_floor" in repr(plain)) == (True, False)


@pytest.mark.parametrize("floor", [-1e-3, float("nan"), float("inf")])
def test_a_floor_that_is_none_is_refused(floor):
    """One error that names it."""
    with pytest.raises(ValueError, match=r"loss_floor must be finite and >= 0, got"):
        MaskedKendallLoss(TASKS, loss_floor=floor)
