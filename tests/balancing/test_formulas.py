"""GradNorm and DB-MTL against their papers' equations, and what a zero does to each balancer against its formula."""

import pytest
import torch

from aura_study.balancing import BALANCERS, DBMTL, GradNorm, Kind, PresentOnly, balancer
from aura_study.balancing.session import Fill, Session
from aura_study.experiments.balancers.problems import RandomGradients, SharedLayer, present_mask, sizes

pytest.importorskip("torchjd")
pytest.importorskip("cvxpy")


def test_grad_norm_descends_its_papers_objective():
    """The weights' step is minus lr times autograd's gradient of sum |G_i - mean(G) r_i^alpha|, then a sum of m."""
    problem, tasks, alpha, lr = RandomGradients(4, 20, 0), 4, 1.5, 0.03
    made = GradNorm(tasks, alpha, lr).double()
    weights, first = torch.ones(tasks, dtype=torch.float64), problem.losses()
    for _ in range(6):
        losses, gradients = problem.losses(), problem.gradients()
        total = made(losses, gradients)
        torch.testing.assert_close(total, (weights * losses).sum())
        leaf = weights.clone().requires_grad_()
        pulls = torch.stack([(leaf[i] * gradients[i]).norm() for i in range(tasks)])
        ratios = [float(losses[i] / first[i]) for i in range(tasks)]
        mean = float(pulls.mean().detach())
        targets = [mean * (ratio / (sum(ratios) / tasks)) ** alpha for ratio in ratios]
        sum(abs(pull - target) for pull, target in zip(pulls, targets, strict=True)).backward()
        weights = leaf.detach() - lr * leaf.grad
        weights = tasks * weights / weights.sum()
        torch.testing.assert_close(made.weights, weights)
        problem.draw()


def test_db_mtl_is_its_papers_algorithm_in_a_loop():
    """Running mean of the log losses' gradients, each scaled to the largest norm, summed; beta falls with the calls."""
    problem, beta, sigma = RandomGradients(3, 10, 0), 0.8, 0.5
    made = DBMTL(3, beta, sigma).double()
    running = [torch.zeros(10, dtype=torch.float64) for _ in range(3)]
    for call in range(1, 6):
        past = beta / call**sigma
        for i in range(3):
            gradient = problem.gradients()[i] / (problem.losses()[i] + 1e-8)
            running[i] = past * running[i] + (1 - past) * gradient
        largest = max(float(mean.norm()) for mean in running)
        expected = sum(largest * mean / (mean.norm() + 1e-8) for mean in running)
        torch.testing.assert_close(made(problem.losses(), problem.gradients()), expected)
        problem.draw()


@pytest.mark.parametrize(("make", "text"), [(lambda: GradNorm(2, lr=-1), "lr"), (lambda: DBMTL(2, beta=1), "beta")])
def test_bad_settings_are_named(make, text):
    """A negative rate and a mean that never forgets are refused."""
    with pytest.raises(ValueError, match=text):
        make()


def answers(name, tasks=4, absent=1, seed=0, **options):
    """Updates with zeros for the last tasks and on the others alone, and the weights of the first."""
    entry, problem = balancer(name), RandomGradients(tasks, 30, seed, **options)
    present = present_mask(tasks, absent)
    batch = problem.losses(), problem.gradients(), present
    made, alone = entry.make(tasks).double(), entry.make(tasks - absent).double()
    torch.manual_seed(0)
    filled = Session(made, entry.kind, Fill.ZERO).answer(*batch)
    torch.manual_seed(0)
    return filled, Session(alone, entry.kind, Fill.LEFT_OUT).answer(*batch).update


@pytest.mark.parametrize("name", ["Mean", "UPGrad", "DualProj", "Aligned-MTL"])
@pytest.mark.parametrize(("tasks", "absent"), [(2, 1), (5, 3), (16, 15)])
def test_a_mean_over_all_tasks_shrinks_to_the_share_that_is_there(name, tasks, absent):
    """The update on zeros is k/m times the update on the present tasks."""
    filled, alone = answers(name, tasks, absent, correlation=-0.2)
    torch.testing.assert_close(filled.update, alone * (tasks - absent) / tasks, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["Geometric mean", "MGDA", "CAGrad"])
def test_stops_exactly(name):
    """A factor of 0, or a convex hull that holds 0: the update is 0.0, exactly, for gradients that agree."""
    for seed in range(4):
        assert not answers(name, seed=seed, correlation=0.3)[0].update.any()


def test_famo_divides_everyone_by_the_slope_of_its_logarithm_at_zero():
    """Weights z_i c / L_i with c = 1 / sum(z / (L + 1e-8)): with equal z, c is 1e-8 times the number of tasks."""
    filled, _ = answers("FAMO")
    losses = RandomGradients(4, 30, 0).losses()[:3]
    torch.testing.assert_close(filled.weights[:3], 1e-8 / losses, rtol=1e-5, atol=0.0)


def test_cagrad_does_not_stop_where_the_present_gradients_oppose_their_mean():
    """Two opposed gradients: the smaller points against the mean, beats the row of zeros, and the update is not 0."""
    first = torch.zeros(1, 6, dtype=torch.float64)
    first[0, 0] = 1.0
    update = balancer("CAGrad").make(3)(torch.cat([first, -0.5 * first, 0 * first]))
    assert update.norm() > 0.01


def test_mgda_can_stop_early_before_it_reaches_zero():
    """A small gradient in slight conflict leads the search; its last step is below epsilon, and zero is not reached."""
    products = [[4.359, 1.7526, -0.0019], [1.7526, 3.3231, -0.0062], [-0.0019, -0.0062, 0.0012]]
    rows = torch.linalg.cholesky(torch.tensor(products, dtype=torch.float64))
    made = balancer("MGDA").make(4)
    assert made(torch.cat([rows, torch.zeros(1, 3)])).norm() > 0.01
    assert not made(torch.cat([rows[:2], torch.zeros(1, 3)])).any()


def test_stch_divides_by_the_number_of_tasks_twice():
    """For losses small against m mu the weights are 1/m^2."""
    made = balancer("STCH").make(8)
    leaf = torch.full((8,), 1e-4, requires_grad=True)
    made(leaf).backward()
    torch.testing.assert_close(leaf.grad, torch.full((8,), 1 / 64), rtol=1e-3, atol=0.0)


def test_dwa_divides_zero_by_zero():
    """Two epochs of zeros make the absent ratio NaN, and with it every weight."""
    made = balancer("DWA").make(2)
    for _ in range(2):
        made(torch.tensor([1.0, 0.0]))
        made.step()
    leaf = torch.tensor([1.0, 0.0], requires_grad=True)
    made(leaf).backward()
    assert leaf.grad.isnan().all()


def test_a_connected_zero_makes_the_geometric_mean_nan():
    """A zero that is attached to the model, as data parallelism wants it, gets the slope 0 * infinity."""
    leaf = torch.tensor([1.0, 0.0], requires_grad=True)
    balancer("Geometric mean").make(2)(leaf).backward()
    assert leaf.grad[0] == 0
    assert leaf.grad[1].isnan()


def test_db_mtl_keeps_pushing_where_the_absent_task_last_pushed():
    """Its running gradient shrinks as beta^t, its term in the update does not: the norm stays the largest of all."""
    made, problem = DBMTL(2).double(), RandomGradients(2, 10, 0)
    made(problem.losses(), problem.gradients())
    ghost = made.running[1] / made.running[1].norm()
    for _ in range(20):
        problem.draw()
        zero = problem.losses() * torch.tensor([1, 0]), problem.gradients() * torch.tensor([[1], [0]])
        update = made(*zero)
    push = float((update - made.running[0] / made.running[0].norm() * made.running.norm(dim=1).max()) @ ghost)
    assert made.running[1].norm() < 0.2 * made.running[0].norm()
    assert push == pytest.approx(float(made.running.norm(dim=1).max()), rel=1e-6)


def test_grad_vac_forgets_its_targets():
    """While the task is away its running targets fade as (1 - beta)^t; the cure keeps them."""
    made, cured = balancer("GradVac").make(3), PresentOnly(balancer("GradVac").make(3))
    problem, some = RandomGradients(3, 20, 0, correlation=0.6), torch.tensor([True, True, False])
    for step in range(8):
        rows = problem.gradients()
        made(rows if step < 4 else rows * some.unsqueeze(1))
        cured(rows, some if step >= 4 else None)
        if step == 3:
            before = made.gramian_weighting._phi_t[2, 0].clone()
        problem.draw()
    assert made.gramian_weighting._phi_t[2, 0] == pytest.approx(float(before) / 2**4)
    assert cured.state()["gramian_weighting._phi_t"][2, 0] != 0


def test_the_layers_gradients_are_autograds():
    """The closed form of the shared layer's Jacobian equals autograd's, task by task."""
    problem = SharedLayer(3, 0)
    hidden = torch.tanh(problem.x @ problem.layer.T)
    losses = problem.scales * (hidden @ problem.heads.T - problem.y).square().mean(0)
    torch.testing.assert_close(losses.detach(), problem.losses())
    for task, row in enumerate(problem.gradients()):
        (gradient,) = torch.autograd.grad(losses[task], problem.layer, retain_graph=True)
        torch.testing.assert_close(gradient.flatten(), row)


def test_random_gradients_have_the_cosines_they_are_asked_for():
    """The fixed directions are unit vectors with the given cosine, where that is possible."""
    centre = RandomGradients(4, 50, 0, correlation=-0.2).centre
    expected = torch.full((4, 4), -0.2, dtype=torch.float64).fill_diagonal_(1.0)
    torch.testing.assert_close(centre @ centre.T, expected)


@pytest.mark.parametrize("text", ["4", "4/4", "a/b", "0/0"])
def test_bad_sizes_are_named(text):
    """Sizes are tasks/absent, with somebody away and somebody left."""
    with pytest.raises(ValueError, match=r"absent must|tasks/absent"):
        sizes([text])


def test_the_registry_covers_both_kinds_and_says_why():
    """At least sixteen balancers of both kinds, distinct names, a version of the code and a reason for each."""
    assert len(BALANCERS) >= 16
    assert len({entry.name for entry in BALANCERS}) == len(BALANCERS)
    assert {entry.kind for entry in BALANCERS} == set(Kind)
    assert all(entry.why.endswith(".") and entry.code().split()[1][0].isdigit() for entry in BALANCERS)
