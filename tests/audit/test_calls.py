"""How the audit finds out how a weighting is made and called, and what it says when it cannot."""

import ast
from textwrap import dedent

import audit_specimens as specimens
import pytest
import torch

from aura_study.audit import CannotAudit, Settings, assert_no_phantom_gradient, audit
from aura_study.audit.calls.copies import duplicate
from aura_study.audit.calls.excerpt import _free
from aura_study.audit.calls.shared import SharedLayer
from aura_study.losses import MaskedKendallLoss, UnmaskedKendallLoss

QUICK = Settings(lr=0.05, steps=10)


@pytest.mark.parametrize(
    ("specimen", "call"),
    [
        (specimens.Varargs, "module(*losses)"),
        (specimens.ThreeLosses, "module(*losses)"),
        (specimens.Keywords, "module(**losses)"),
        (specimens.ByName, "module({name: loss})"),
        (specimens.Sum, "module([losses])"),
        (specimens.Squared, "module(torch.stack(losses))"),
        (specimens.CallsBackward, "module.backward([losses])"),
        (specimens.InPlace, "module([losses])"),
        (specimens.ReturnsTuple, "module(torch.stack(losses))"),
        (specimens.ReturnsTerms, "module(torch.stack(losses))"),
        (specimens.closure, "module([losses])"),
        (specimens.over_a_global, "module(torch.stack(losses))"),
        (specimens.instance, "module(torch.stack(losses))"),
    ],
)
def test_calling_convention_is_found(specimen, call):
    """Every way of handing the losses over is found by trial."""
    assert audit(specimen, absence="zero", settings=QUICK)["zero"].call == call


@pytest.mark.parametrize("specimen", [specimens.FloatMask, specimens.MaskTimesTerm])
def test_mask_is_found(specimen):
    """A mask argument is found, boolean or not."""
    report = audit(specimen, settings=QUICK)
    assert [str(finding.absence) for finding in report.findings] == ["mask", "nan"]


@pytest.mark.parametrize("specimen", [specimens.CallsBackward, specimens.closure, specimens.over_a_global])
def test_plain_tensors_are_learned_parameters(specimen):
    """Parameters in a list, a closure or a global move like nn.Parameter does."""
    assert audit(specimen, absence="zero", settings=QUICK)["zero"].growth > 1.5


def test_users_own_state_is_left_as_it_was():
    """Auditing an instance or a function over a global leaves parameters, gradients and randomness as they were."""
    before = torch.random.get_rng_state()
    audit(specimens.over_a_global, settings=QUICK)
    audit(specimens.instance, settings=QUICK)
    assert torch.equal(specimens.shared.detach(), torch.zeros(3))
    assert specimens.shared.grad is None
    assert torch.equal(specimens.instance.w.detach(), torch.zeros(3))
    assert torch.equal(before, torch.random.get_rng_state())


def test_tasks_are_found_or_given():
    """Names come from the module where it has them, else from `tasks`, else numbers are tried."""
    assert audit(specimens.FixedNames, absence="omit", settings=QUICK).tasks == ("depth", "normals")
    assert audit(specimens.ByName, tasks=["x", "y"], absence="omit", settings=QUICK).tasks == ("x", "y")
    assert audit(lambda: specimens.Squared(4), absence="zero", settings=QUICK).tasks[-1] == "task_3"
    assert len(audit(specimens.Squared, args={"n": 5}, absence="zero", settings=QUICK).tasks) == 5
    assert len(audit(specimens.Squared, args=[2], absence="zero", settings=QUICK).tasks) == 2


def test_adapter_of_one_line():
    """`call` replaces the trial; a third argument is the mask."""
    two = audit(MaskedKendallLoss, tasks=["x", "y"], call=lambda module, losses: module(losses), settings=QUICK)
    assert two["omit"].verdict == "safe"
    assert two["zero"].verdict == "phantom"
    three = audit(
        specimens.MaskTimesTerm,
        call=lambda module, losses, present: module(torch.stack(list(losses.values())), present),
        settings=QUICK,
    )
    assert three["mask"].verdict == "safe"


def test_named_calls():
    """A built-in way can be asked for by name; an unknown one is refused with the names."""
    assert audit(specimens.CallsBackward, call="backward:list", absence="zero", settings=QUICK).exit_code == 1
    assert audit(UnmaskedKendallLoss, call="stacked+mask", absence="mask", settings=QUICK).exit_code == 1
    with pytest.raises(ValueError, match="varargs"):
        audit(specimens.Squared, call="tuple")


@pytest.mark.parametrize(
    ("specimen", "reason"),
    [
        (specimens.Raises, "out of order"),
        (specimens.NeedsModel, "model"),
        (lambda: None, "NoneType"),
        (lambda: 1 / 0, "division"),
        (object(), "nothing to call"),
    ],
)
def test_what_cannot_be_audited_says_why_and_how_to_adapt(specimen, reason):
    """A module that raises gives the reason and a way out, not its traceback."""
    with pytest.raises(CannotAudit, match=reason) as caught:
        audit(specimen)
    assert "args" in caught.value.adapt or "call=" in caught.value.adapt


def test_a_loss_that_is_ignored_cannot_be_audited():
    """A total that one task's loss does not reach says so."""
    with pytest.raises(CannotAudit, match="does not reach"):
        audit(lambda: lambda losses: losses[0] * 1.0, tasks=2)


def test_a_mark_that_is_not_accepted():
    """Asking for a mark that the module cannot take is no verdict."""
    with pytest.raises(CannotAudit, match="none"):
        audit(specimens.Squared, absence="none")
    with pytest.raises(ValueError, match="zero"):
        audit(specimens.Squared, absence="nought")


@pytest.mark.parametrize("tasks", [1, ["a", "a"], "ab"])
def test_tasks_must_be_two_distinct_names(tasks):
    """One task, repeated names or a bare string are refused."""
    with pytest.raises(ValueError, match="tasks"):
        audit(specimens.Squared, tasks=tasks)


def test_assert_shows_the_report():
    """The assertion's message is the report, and it hands the report of a safe module back."""
    with pytest.raises(AssertionError, match="NOT SAFE"):
        assert_no_phantom_gradient(specimens.Squared, tasks=2, absence="zero", settings=QUICK)
    assert assert_no_phantom_gradient(MaskedKendallLoss, tasks=2, settings=QUICK).safe


def test_gradients_off_outside_do_not_matter():
    """The audit measures under torch.no_grad as well."""
    with torch.no_grad():
        assert audit(specimens.Squared, tasks=2, absence="zero", settings=QUICK).exit_code == 1


def test_what_an_excerpt_reads_before_it_is_given_is_handed_to_it():
    """In the order of the reading; what it only adds to is read as well, and what it loops over is its own."""
    code = """
    total += weight * loss
    for name in names:
        other = scale * total
    parts = [part for part in other]
    """
    assert _free(ast.parse(dedent(code)).body) == ["weight", "loss", "total", "names", "scale"]


def test_what_a_shared_layer_hands_on_are_the_losses_and_what_comes_back_their_weights():
    """Each loss times 1, along a direction of its own, from which its part of the gradient is read."""
    weight = SharedLayer(3).weight
    factors = weight.factors(3)
    torch.testing.assert_close(factors, torch.ones(3))
    (torch.tensor([0.5, 2.0, 0.0]) * factors).sum().backward()
    torch.testing.assert_close(weight.parts(3), torch.tensor([0.5, 2.0, 0.0]), rtol=1e-4, atol=1e-5)


def test_a_copied_function_remembers_for_itself():
    """Its cells are its own, those of functions within it as well; one that is not filled yet stays empty."""

    def made():
        seen = []

        def note(loss):
            seen.append(loss)
            return len(seen)

        def weigh(losses):
            return [note(loss) for loss in losses][-1] if losses else later

        return weigh
        later = None

    weigh = made()
    twin, own = duplicate(weigh, [])
    assert (twin([1, 2, 3]), own) == (3, [])
    assert weigh([1]) == 1
