"""PresentOnly: any balancer on the present tasks alone, the absent ones' state kept still."""

import copy
import importlib
import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement
from torch import nn

from aura_study.balancing import BALANCERS, GradNorm, Kind, MissingBalancers, PresentOnly, balancer
from aura_study.balancing.session import Fill, Session
from aura_study.balancing.torchjd_extra import SERIES
from aura_study.experiments.balancers.cure import trial, twin
from aura_study.experiments.balancers.problems import RandomGradients

pytest.importorskip("torchjd")
pytest.importorskip("cvxpy")
NAMES = [entry.name for entry in BALANCERS]
STATEFUL = ("UW", "IMTL-L", "DWA", "FAMO", "GradNorm", "DB-MTL", "GradVac", "Nash-MTL", "ExcessMTL")


def played(entry, balancing, problem, masks, fill=Fill.NAN):
    """Updates of a balancer over a problem's batches, a mask per step."""
    session = Session(balancing, entry.kind, fill, epoch=2)
    updates = []
    for step, present in enumerate(masks):
        torch.manual_seed(step)
        updates.append(session.answer(problem.losses(), problem.gradients(), present).update)
        session.close(0.9 * problem.losses(), present)
        problem.draw()
    return torch.stack(updates)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=4, deadline=None)
@given(data=st.data())
def test_equals_the_balancer_that_never_knew_the_absent_tasks(name, data):
    """For any set of at least two present tasks, any scale and both precisions: equal to rounding, at every step."""
    entry = balancer(name)
    tasks = data.draw(st.integers(3, 7), label="tasks")
    present = torch.zeros(tasks, dtype=torch.bool)
    present[data.draw(st.sets(st.integers(0, tasks - 1), min_size=2, max_size=tasks - 1).map(sorted))] = True
    seed = data.draw(st.integers(0, 10_000), label="seed")
    correlation = data.draw(st.sampled_from([-0.4, 0.0, 0.9]), label="correlation")
    spread = data.draw(st.sampled_from([0.1, 3.0]), label="spread")
    made = [RandomGradients(tasks, 30, seed, correlation, spread) for _ in range(2)]
    cured = played(entry, PresentOnly(entry.make(tasks).double()), made[0], [present] * 4)
    never_knew = twin(entry, tasks, present.nonzero().flatten(), torch.float64)
    alone = played(entry, never_knew, made[1], [present] * 4, Fill.LEFT_OUT)
    torch.testing.assert_close(cured, alone, rtol=1e-12, atol=0.0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("tasks", "absent"), [(5, 2), (24, 9)])
def test_serves_two_groups_in_turn_as_two_balancers_would(name, tasks, absent):
    """Groups that take turns each get what a balancer of their own would give, and never move each other's state."""
    found = trial(balancer(name), tasks, absent, seed=3, steps=4, dtype=torch.float64)
    assert found["difference"] < 1e-12
    assert found["moved"] == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_in_single_precision_too(name):
    """Equal to float32 rounding; nothing is widened or narrowed on the way."""
    assert trial(balancer(name), 6, 3, seed=1, steps=3, dtype=torch.float32)["difference"] < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_is_the_balancer_itself_when_all_are_there(name):
    """With everybody present it changes nothing."""
    entry, everyone = balancer(name), torch.ones(4, dtype=torch.bool)
    cured = played(entry, PresentOnly(entry.make(4).double()), RandomGradients(4, 20, 0), [everyone] * 5)
    plain = played(entry, entry.make(4).double(), RandomGradients(4, 20, 0), [everyone] * 5)
    torch.testing.assert_close(cured, plain, rtol=1e-12, atol=0.0)


class Thousand:
    """Fills with a number that would be noticed."""

    @staticmethod
    def losses(values, present):
        return values.masked_fill(~present, 1e3)

    @staticmethod
    def gradients(rows, present):
        return rows.masked_fill(~present.unsqueeze(1), 1e3)


@pytest.mark.parametrize("name", NAMES)
def test_reads_nothing_of_the_absent(name):
    """NaN, 0 or a thousand in the absent places: the same answers bit for bit, after a common past."""
    entry = balancer(name)
    everyone, some = torch.ones(4, dtype=torch.bool), torch.tensor([True, False, True, True])
    masks = [everyone] * 4 + [some] * 4 + [everyone] * 2
    answers = [
        played(entry, PresentOnly(entry.make(4).double()), RandomGradients(4, 20, 0), masks, fill=fill)
        for fill in (Fill.NAN, Fill.ZERO, Thousand)
    ]
    assert torch.equal(answers[0], answers[1])
    assert torch.equal(answers[0], answers[2])


@pytest.mark.parametrize("name", STATEFUL)
def test_absence_after_a_common_past_leaves_the_absent_state_alone_and_moves_the_others(name):
    """After steps with everybody (so that momentum and histories are there), the absent task's state does not move."""
    entry = balancer(name)
    made = PresentOnly(entry.make(4).double())
    everyone, some = torch.ones(4, dtype=torch.bool), torch.tensor([True, False, True, True])
    problem = RandomGradients(4, 20, 0)
    session = Session(made, entry.kind, epoch=2)
    for mask in [everyone] * 6 + [some] * 5:
        before = made.state_of(~mask), made.state_of(mask)
        session.answer(problem.losses(), problem.gradients(), mask)
        session.close(0.9 * problem.losses() ** 1.1, mask)
        if mask is some:
            after = made.state_of(~mask)
            assert all(torch.equal(before[0][key], after[key]) for key in before[0])
            moved = made.state_of(mask)
            assert any(not torch.equal(before[1][key], moved[key]) for key in moved)
        problem.draw()


def test_excess_mtl_from_a_common_past_is_torchjds_code_on_the_present_rows():
    """ExcessMTL with its state set by hand to the present rows and shares gives the same update."""
    aggregation = importlib.import_module("torchjd.aggregation")
    made, alone = PresentOnly(aggregation.ExcessMTL(0.1)), aggregation.ExcessMTL(0.1)
    problem, some = RandomGradients(4, 20, 0), torch.tensor([True, False, True, True])
    for _ in range(3):
        made(problem.gradients())
        problem.draw()
    known = made.balancer.weighting
    alone(problem.gradients()[some])
    fresh = alone.weighting
    fresh._weights = known._weights[some] / known._weights[some].sum()
    fresh._sq_grad_sum, fresh._initial_w = known._sq_grad_sum[some].clone(), known._initial_w[some]
    share = float(known._weights[1])
    torch.testing.assert_close(made(problem.gradients(), some), alone(problem.gradients()[some]))
    assert float(known._weights[1]) == share
    assert float(known._weights.sum()) == pytest.approx(1.0)


def test_grad_vac_from_a_common_past_is_torchjds_code_on_the_present_block():
    """GradVac with the present block of the targets set by hand gives the same update."""
    aggregation = importlib.import_module("torchjd.aggregation")
    made, alone = PresentOnly(aggregation.GradVac()), aggregation.GradVac()
    problem, some = RandomGradients(4, 20, 0, correlation=0.6), torch.tensor([True, True, False, True])
    for _ in range(4):
        made(problem.gradients())
        problem.draw()
    alone(problem.gradients()[some])
    alone.gramian_weighting._phi_t = made.balancer.gramian_weighting._phi_t[some][:, some].clone()
    answers = []
    for call in (lambda: made(problem.gradients(), some), lambda: alone(problem.gradients()[some])):
        torch.manual_seed(5)
        answers.append(call())
    assert torch.equal(*answers)


def test_a_learned_weight_has_no_gradient_while_its_task_is_away():
    """UW's absent uncertainty gets no gradient at all, so neither Adam's momentum nor weight decay moves it."""
    made = PresentOnly(balancer("UW").make(3))
    adam = torch.optim.AdamW(made.parameters(), lr=0.1, weight_decay=0.1)
    everyone, some = torch.ones(3, dtype=torch.bool), torch.tensor([True, False, True])
    for mask in [everyone] * 5 + [some] * 5:
        before = made.state()["log_var"]
        adam.zero_grad()
        made(torch.tensor([0.5, 2.0, 3.0]), mask).backward()
        adam.step()
    assert made.state()["log_var"][1] == before[1]
    assert made.state()["log_var"][0] != before[0]


def test_dwa_counts_each_task_in_its_own_epochs():
    """The ratio is that of the last two epochs in which the task was there, over its own presences."""
    made = PresentOnly(balancer("DWA").make(2))
    both, first = torch.tensor([True, True]), torch.tensor([True, False])
    for mask, losses in ((both, (4.0, 8.0)), (first, (3.0, 0.0)), (first, (1.0, 0.0)), (both, (2.0, 6.0))):
        made(torch.tensor(losses), mask)
        if losses[0] != 3.0:
            made.step()
    leaf = torch.ones(2, requires_grad=True)
    made(leaf, both).backward()
    expected = 2 * torch.softmax(torch.tensor([2.0 / 2.0, 6.0 / 8.0]) / 2.0, 0)
    torch.testing.assert_close(leaf.grad, expected)


@pytest.mark.parametrize("name", NAMES)
def test_nobody_present_is_a_zero_that_moves_nothing(name):
    """A total of 0 can be backpropagated and reaches no loss, NaN or not; an update of 0 has the parameters' shape."""
    entry = balancer(name)
    made, nobody = PresentOnly(entry.make(3)), torch.zeros(3, dtype=torch.bool)
    before = made.state()
    leaf = torch.full((3,), torch.nan, requires_grad=True)
    rows = torch.full((3, 5), torch.nan)
    if entry.kind == Kind.GRADIENTS:
        told = made(rows, nobody)
    else:
        told = made(leaf, nobody, **({"gradients": rows} if entry.kind == Kind.BOTH else {}))
    assert not told.any()
    if told.ndim:
        assert told.shape == (5,)
    else:
        told.backward()
        assert leaf.grad is None
    for key, value in made.state().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0, equal_nan=True)
    made.update(leaf.detach(), nobody)


def test_a_single_present_task_under_nash_mtl():
    """TorchJD's code raises for one task; its equation gives a weight of 1, clipped to the largest norm as always."""
    made = PresentOnly(balancer("Nash-MTL").make(3))
    rows, one = RandomGradients(3, 12, 0, spread=0.1).gradients(), torch.tensor([False, True, False])
    torch.testing.assert_close(made(0.1 * rows, one), 0.1 * rows[1])
    torch.testing.assert_close(made(5 * rows, one), rows[1] / rows[1].norm())


def test_names_say_who_is_there():
    """A mapping's keys are the presence, in any order; it equals the mask."""
    names = ["a", "b", "c"]
    by_name, by_mask = (PresentOnly(balancer("UW").make(3), tasks=names) for _ in range(2))
    by_name.learned[0][2].data += 0.5
    by_mask.learned[0][2].data += 0.5
    losses = torch.tensor([1.0, torch.nan, 3.0])
    total = by_mask(losses, torch.tensor([True, False, True]))
    assert torch.equal(by_name({"c": losses[2], "a": losses[0]}), total)
    assert not by_name({}).any()
    rows = PresentOnly(balancer("UPGrad").make(3), tasks=names)({"b": torch.ones(4), "c": torch.ones(4)})
    torch.testing.assert_close(rows, torch.ones(4))


def torchjd(place, name, *arguments, **options):
    return getattr(importlib.import_module(f"torchjd.{place}"), name)(*arguments, **options)


def smoothed(inner, alpha=0.7, **options):
    weighting = torchjd("aggregation", "CRMOGMWeighting", torchjd("aggregation", inner), alpha, **options)
    return torchjd("aggregation", "GramianWeightedAggregator", weighting)


def composed(inner, **options):
    return torchjd("aggregation", "GramianWeightedAggregator", torchjd("aggregation", inner, **options))


PREFERENCE = torch.tensor([0.1, 0.2, 0.3, 0.15, 0.25, 0.4])
BEYOND = {
    "COSMOS": lambda at: torchjd("scalarization", "COSMOS", 2.0, PREFERENCE[at]),
    "PBI": lambda at: torchjd("scalarization", "PBI", 5.0, PREFERENCE[at], 0.1 * PREFERENCE[at]),
    "UW-SO": lambda at: lambda losses: (torch.softmax(1 / losses.detach() / 2, 0) * losses).sum(),
    "Krum": lambda at: torchjd("aggregation", "Krum", 0, 2),
    "TrimmedMean": lambda at: torchjd("aggregation", "TrimmedMean", 1),
    "MoDo": lambda at: composed("MoDoWeighting"),
    "SDMGrad": lambda at: composed("SDMGradWeighting", pref_vector=PREFERENCE[at]),
    "CR-MOGM": lambda at: smoothed("UPGradWeighting"),
    "CR-MOGM from a start": lambda at: smoothed("UPGradWeighting", initial_weights=PREFERENCE[at]),
    "CR-MOGM of MoDo": lambda at: smoothed("MoDoWeighting"),
}


@pytest.mark.parametrize("name", BEYOND)
def test_more_of_torchjd_serves_two_groups_in_turn_as_two_balancers_would(name):
    """Two groups of three take turns, NaN in the absent rows: each gets what a balancer of its own would give."""
    torch.manual_seed(0)
    groups = [torch.tensor([0, 2, 5]), torch.tensor([1, 3, 4])]
    made, alone = PresentOnly(BEYOND[name](torch.arange(6))), [BEYOND[name](group) for group in groups]
    scalar = name in ("COSMOS", "PBI", "UW-SO")
    for step in range(12):
        turn = step // 2 % 2
        values = torch.rand(6) + 0.5 if scalar else torch.randn(6, 9)
        mask = torch.zeros(6, dtype=torch.bool).index_fill(0, groups[turn], True)
        filled = values.masked_fill(~(mask if scalar else mask.unsqueeze(1)), torch.nan)
        torch.testing.assert_close(made(filled, mask), alone[turn](values[groups[turn]]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["MoDoWeighting", "SDMGradWeighting"])
def test_a_weighting_by_itself_takes_the_matrix_of_the_present(name):
    """MoDo and SDMGrad on a product of two batches' Jacobians: weights in their places, 0 for the absent."""
    torch.manual_seed(0)
    made, alone = PresentOnly(torchjd("aggregation", name)), torchjd("aggregation", name)
    some = torch.tensor([True, False, True, True])
    for _ in range(3):
        first, second = torch.randn(4, 9), torch.randn(4, 9)
        first[1] = torch.nan
        weights = made(first @ second.T, some)
        torch.testing.assert_close(weights[some], alone(first[some] @ second[some].T))
        assert weights[1] == 0


def test_cr_mogm_gives_a_newcomer_its_own_first_weight_and_keeps_the_absent_ones():
    """The average of a task begins with its first presence, and stands still while it is away."""
    made = PresentOnly(smoothed("MeanWeighting", alpha=0.5))
    rows, path = torch.eye(3), "gramian_weighting._lambda"
    made(rows, torch.tensor([True, True, False]))
    made(rows, torch.tensor([False, True, True]))
    assert made.state()[path].tolist() == [0.5, 0.5, 0.5]
    made(rows)
    torch.testing.assert_close(made.state()[path], torch.full((3,), 0.5 * 0.5 + 0.5 / 3))
    made.reset()
    assert path not in made.state()


def test_what_cannot_be_cut_down_is_refused_with_the_reason():
    """PCD has a primary task; a weighting that is not known is named."""
    with pytest.raises(TypeError, match="does not take PCD: its first task is the primary one"):
        PresentOnly(torchjd("aggregation", "PCD"))
    with pytest.raises(TypeError, match="does not know what PCDWeighting keeps"):
        PresentOnly(smoothed("PCDWeighting"))
    with pytest.raises(ValueError, match="at least 3 rows"):
        PresentOnly(torchjd("aggregation", "Krum", 0))(torch.eye(3), torch.tensor([True, True, False]))


class History(nn.Module):
    """A balancer of somebody else's, with a memory."""

    def __init__(self, tasks: int, fails: bool = False) -> None:
        super().__init__()
        self.mean = torch.zeros(tasks)
        self.fails = fails

    def forward(self, losses):
        self.mean = 0.5 * self.mean + 0.5 * losses.detach()
        if self.fails:
            raise RuntimeError("no")
        return (losses / self.mean).sum()


def test_an_unknown_balancer_has_to_say_what_its_state_is():
    """Tensors of which nobody says whose they are are refused; named, they are kept; without any, nothing is asked."""
    with pytest.raises(TypeError, match="History holds mean"):
        PresentOnly(History(3))
    made = PresentOnly(History(3), state={"mean": (0,)})
    made(torch.tensor([1.0, torch.nan, 2.0]), torch.tensor([True, False, True]))
    assert made.state()["mean"].tolist() == [0.5, 0.0, 1.0]
    assert (
        float(PresentOnly(lambda losses: losses.mean())(torch.tensor([1.0, 9.0]), torch.tensor([True, False]))) == 1.0
    )


def test_a_balancer_that_fails_leaves_the_state_as_it_was():
    """An exception inside does not leave the state cut down."""
    made = PresentOnly(History(3, fails=True), state={"mean": (0,)})
    with pytest.raises(RuntimeError):
        made(torch.ones(3), torch.tensor([True, False, True]))
    assert made.state()["mean"].tolist() == [0.0, 0.0, 0.0]


def test_clear_errors():
    """Each misuse is named with what was given."""
    made = PresentOnly(balancer("FAMO").make(3), tasks=["a", "b", "c"])
    with pytest.raises(ValueError, match=r"boolean of shape \(3,\)"):
        made(torch.ones(3), torch.ones(3))
    with pytest.raises(ValueError, match="2 tasks for a balancer of 3"):
        made(torch.ones(2))
    with pytest.raises(ValueError, match=r"unknown tasks \['d'\]"):
        made({"d": torch.ones(())})
    with pytest.raises(ValueError, match="2 task names for a balancer of 3"):
        PresentOnly(balancer("UW").make(3), tasks=["a", "b"])
    with pytest.raises(ValueError, match="n_warmup_steps must be 0, got 4"):
        PresentOnly(importlib.import_module("torchjd.aggregation").ExcessMTL(n_warmup_steps=4))
    made(torch.ones(3), torch.tensor([True, True, False]))
    with pytest.raises(ValueError, match="needs the tasks of the call before"):
        made.update(torch.ones(3), torch.tensor([True, False, True]))
    with pytest.raises(ValueError, match="unknown balancer 'UV'"):
        balancer("UV")


def test_without_torchjd_one_error_names_the_extra(monkeypatch):
    """TorchJD is imported when it is needed; where it is missing the error says what to install."""

    def missing(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingBalancers, match=r"aura-study\[balancers\]"):
        balancer("UW").make(3)
    assert isinstance(balancer("GradNorm").make(3), GradNorm)


def test_another_series_of_torchjd_is_refused_by_name(monkeypatch):
    """The state behind private attributes is known for one series, which is the one that is asked for."""
    known, made = f"{SERIES}.7", balancer("UW").make(3)
    monkeypatch.setattr(importlib.metadata, "version", lambda package: known)
    assert PresentOnly(made).state()
    for unknown in ("0.19.0", "0.180.1", "1.0"):
        monkeypatch.setattr(importlib.metadata, "version", lambda package, unknown=unknown: unknown)
        with pytest.raises(MissingBalancers, match=rf"TorchJD {re.escape(unknown)} .* known for 0\.18\.\* alone"):
            PresentOnly(made)
        assert PresentOnly(GradNorm(3)).state()
        assert PresentOnly(made, state={"log_var": (0,)}).state()


def test_the_extra_asks_for_the_series_that_is_known():
    """What ``pyproject.toml`` lets pip install is what `task_state_torchjd` was written for."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (asked,) = {text for text in project["optional-dependencies"]["balancers"] if text.startswith("torchjd")}
    allowed = Requirement(asked).specifier
    assert f"{SERIES}.0" in allowed
    assert not [other for other in ("0.17.9", "0.19.0", "1.0.0") if other in allowed]


@pytest.mark.parametrize("name", STATEFUL)
def test_reset_and_copy(name):
    """A copy goes its own way; reset, where the balancer has one, brings the first answer back."""
    entry = balancer(name)
    made, everyone = PresentOnly(entry.make(3).double()), torch.ones(3, dtype=torch.bool)
    first = played(entry, made, RandomGradients(3, 20, 0), [everyone] * 4)
    copied = copy.deepcopy(made)
    more = [played(entry, one, RandomGradients(3, 20, 1), [everyone] * 2) for one in (made, copied)]
    assert torch.equal(*more)
    if hasattr(entry.make(3), "reset"):
        made.reset()
        torch.testing.assert_close(played(entry, made, RandomGradients(3, 20, 0), [everyone] * 4), first)
