"""The three phases of an audit hand on plain things: what was made, subjects that are ready, and what was measured."""

import itertools

import audit_specimens as specimens
import pytest
import torch

from aura_study.audit import Absence, CannotAudit, Settings, audit
from aura_study.audit.calls.call import ready_subjects
from aura_study.audit.calls.make import make_in_every_way
from aura_study.audit.judge import judge
from aura_study.audit.laboratory import AuditedCodeError, audited_code, laboratory
from aura_study.audit.measuring.measure import measure
from aura_study.losses import UnmaskedKendallLoss

QUICK = Settings(lr=0.05, steps=10)
TASKS = ("a", "b")


def ready(target):
    return ready_subjects(make_in_every_way(target, TASKS, None), TASKS, True, None)


def test_a_ready_subject_was_called_once_and_is_at_its_start():
    """Every subject that the call phase yields can be read at once, one for each way to call, parameters unmoved."""
    subjects = ready(UnmaskedKendallLoss)
    assert len({subject.convention.name for subject in subjects}) == len(subjects) > 1
    start = next(UnmaskedKendallLoss(TASKS).parameters())
    for subject in subjects:
        assert subject.read({"a": 1.0, "b": 2.0}).finite
        assert torch.equal(subject.values()[0], start)


def test_every_way_to_make_says_what_it_gave():
    """A way that fails stands beside those that work, with the error in one line."""
    made = make_in_every_way(specimens.ByName, TASKS, None)
    assert made["ByName(2)"] == "TypeError: 'int' object is not iterable"
    assert made["ByName(['a', 'b'])"].leaves[0].shape == ()


def test_the_phases_one_after_the_other_are_the_audit():
    """Call, measure, judge by hand give the report that `audit` gives."""
    with laboratory():
        report = judge(measure(ready(specimens.Squared), None, QUICK))
    assert report.to_dict() == audit(specimens.Squared, tasks=TASKS, settings=QUICK).to_dict()


def test_measuring_one_mark_asks_about_no_other():
    """With ``absence`` there is evidence on that mark alone, even where the target takes a mask."""
    with laboratory():
        measured = measure(ready(UnmaskedKendallLoss), Absence.ZERO, QUICK)
    assert [evidence.mark for evidence in measured.evidence] == [Absence.ZERO]
    assert measured.without_mask is None


@pytest.mark.parametrize("error", [ValueError("two\n lines"), SystemExit(3), OSError()])
def test_whatever_audited_code_raises_comes_out_in_one_line(error):
    """Any error, and `sys.exit`, becomes one `AuditedCodeError` that names it."""
    with pytest.raises(AuditedCodeError) as caught, audited_code():
        raise error
    assert str(caught.value) == {"ValueError": "ValueError: two lines", "SystemExit": "SystemExit: 3"}.get(
        type(error).__name__, type(error).__name__
    )


@pytest.mark.parametrize("error", [KeyboardInterrupt(), CannotAudit("why", "what to do")])
def test_an_interrupt_and_our_own_refusal_pass(error):
    """The user's Ctrl-C stays one, and a refusal keeps its advice."""
    with pytest.raises(type(error)), audited_code():
        raise error


def test_shared_parameters_are_put_back_even_where_measuring_failed():
    """A weighting over a tensor of the user's that raises in the middle leaves that tensor as it was."""
    mine = torch.zeros(2, requires_grad=True)

    calls = itertools.count()

    def tires(losses):
        if next(calls) > 60:
            raise RuntimeError("tired")
        return (torch.exp(-mine) * torch.stack(losses) + mine).sum()

    with pytest.raises(CannotAudit, match="tired"):
        audit(tires, tasks=2, settings=QUICK)
    assert torch.equal(mine.detach(), torch.zeros(2))
    assert mine.grad is None
