"""The session: what stands in for an absent task, what a step's answer says, and draws that compare."""

import math

import pytest
import torch

from aura_study.balancing import PresentOnly, balancer
from aura_study.balancing.session import Fill, Session, same_draws
from aura_study.experiments.balancers.problems import RandomGradients

pytest.importorskip("torchjd")
PRESENT = torch.tensor([True, True, False, True])


@pytest.mark.parametrize(
    ("fill", "loss", "slope"), [(Fill.ZERO, 0.0, 0.0), (Fill.TINY, 1e-8, 0.0), (Fill.NAN, math.nan, math.nan)]
)
def test_a_fill_is_a_constant_in_the_absent_places_alone(fill, loss, slope):
    """What is present is handed on as it is; a tiny loss has no slope; left out, there is no place at all."""
    losses, gradients = torch.rand(4), torch.rand(4, 5)
    filled, rows = fill.losses(losses, PRESENT), fill.gradients(gradients, PRESENT)
    assert torch.equal(filled[PRESENT], losses[PRESENT])
    assert torch.equal(rows[PRESENT], gradients[PRESENT])
    torch.testing.assert_close(filled[2], torch.tensor(loss), equal_nan=True)
    torch.testing.assert_close(rows[2], torch.full((5,), slope), equal_nan=True)
    assert torch.equal(Fill.LEFT_OUT.losses(losses, PRESENT), losses[PRESENT])
    assert torch.equal(Fill.LEFT_OUT.gradients(gradients, PRESENT), gradients[PRESENT])


@pytest.mark.parametrize("cured", [False, True])
@pytest.mark.parametrize("name", ["Mean", "FAMO", "UPGrad", "GradNorm", "DB-MTL"])
def test_an_answer_is_the_update_of_the_present_tasks_by_their_weights(name, cured):
    """Update = sum of weights times gradients; a task that is not handed over weighs 0; no weights are NaN for all."""
    entry, problem = balancer(name), RandomGradients(4, 20, 0)
    made = entry.make(4).double()
    session = Session(PresentOnly(made) if cured else made, entry.kind, Fill.NAN if cured else Fill.ZERO)
    update, weights, total = session.answer(problem.losses(), problem.gradients(), PRESENT)
    assert (total is None) == (name in ("UPGrad", "DB-MTL"))
    if name == "DB-MTL":
        assert weights.isnan().all()
        return
    torch.testing.assert_close(update, weights[PRESENT] @ problem.gradients()[PRESENT])
    assert not (cured and weights[2])


def test_what_is_learned_is_learned_once_a_step_or_left_to_the_caller():
    """Adam's first step moves every present uncertainty by lr; without lr nothing moves."""
    entry, problem = balancer("UW"), RandomGradients(4, 20, 0)
    for lr, moved in ((0.1, 0.1), (None, 0.0)):
        made = PresentOnly(entry.make(4).double())
        Session(made, entry.kind, lr=lr).answer(problem.losses(), problem.gradients(), PRESENT)
        expected = torch.where(PRESENT, moved, 0.0).double()
        torch.testing.assert_close(made.state()["log_var"].abs(), expected)


def test_draws_do_not_depend_on_the_number_of_tasks_and_leave_the_generator_alone():
    """Within: the order as given, the first k of one long row, in every type; afterwards PyTorch draws as before."""
    torch.manual_seed(7)
    expected = torch.randn(3), torch.randperm(9)
    torch.manual_seed(7)
    with same_draws(1):
        many, few = torch.randn(100, dtype=torch.float64), torch.randn(3)
        assert torch.randperm(5).tolist() == [0, 1, 2, 3, 4]
        uniform = torch.rand(4)
    torch.testing.assert_close(few, many[:3].float())
    assert len(many) == 100
    assert torch.equal(torch.randn(3), expected[0])
    assert torch.equal(torch.randperm(9), expected[1])
    with same_draws(1):
        assert torch.equal(torch.rand(4), uniform)
    with same_draws(2):
        assert not torch.equal(torch.randn(3), few)


@pytest.mark.parametrize("name", ["PCGrad", "GradVac", "GradDrop"])
def test_by_equal_draws_a_row_of_zeros_is_nothing_to_balancers_that_ignore_it(name):
    """With orders and masks of their own the two would differ by chance."""
    entry, problem = balancer(name), RandomGradients(4, 20, 0, correlation=-0.3)
    updates = []
    for fill in (Fill.ZERO, Fill.LEFT_OUT):
        with same_draws(3):
            session = Session(entry.make(4).double(), entry.kind, fill)
            updates.append(session.answer(problem.losses(), problem.gradients(), PRESENT).update)
    torch.testing.assert_close(*updates)
