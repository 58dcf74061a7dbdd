"""Shapes met in public code are right at the first command: no argument but the class."""

from textwrap import dedent

import audit_shapes as shapes
import pytest
import torch

from aura_study.audit import CannotAudit, Settings, audit
from aura_study.audit.calls.make import load_target

QUICK = Settings(lr=0.05, steps=20)

RIGHT = [
    (shapes.Baseline, {"zero": "unstable", "tiny": "phantom"}, 1),
    (shapes.WarmsUp, {"zero": "phantom"}, 1),
    (shapes.Narrow, {"zero": "phantom"}, 1),
    (shapes.WeightAverage, {"zero": "unstable", "omit": "safe", "nan": "unstable"}, 0),
    (shapes.FloatsOfAList, {"zero": "phantom", "tiny": "phantom", "nan": "unstable"}, 1),
    (shapes.RunningMean, {"zero": "unstable", "omit": "safe", "nan": "unstable"}, 0),
    (shapes.Variation, {"omit": "safe", "nan": "unstable"}, 0),
    (shapes.OwnOptimiser, {"zero": "unstable", "nan": "unstable"}, 1),
    (shapes.SoftOptimal, {"zero": "unstable", "omit": "safe"}, 0),
    (shapes.RandomWeights, {"zero": "safe", "omit": "safe", "nan": "unstable"}, 0),
    (shapes.ByEpoch, {"omit": "safe", "zero": "unstable"}, 0),
    (shapes.Schedule, {"zero": "phantom", "nan": "unstable"}, 1),
    (shapes.Couple, {"zero": "phantom", "nan": "unstable"}, 1),
    (shapes.Named, {"mask": "safe"}, 0),
    (shapes.Merges, {"zero": "phantom", "omit": "safe"}, 0),
    (shapes.Validity, {"mask": "phantom"}, 1),
    (shapes.ValidityLeftOut, {"mask": "safe"}, 0),
    (shapes.Computes, {"mask": "phantom", "omit": "safe"}, 0),
    (shapes.Empties, {"zero": "phantom", "empty": "safe"}, 0),
    (shapes.Sentinels, {"zero": "phantom", "sentinel": "safe"}, 0),
    (shapes.Shorter, {"zero": "phantom"}, 1),
    (shapes.Different, {"zero": "phantom"}, 0),
    (shapes.OptionalMask, {"mask": "safe"}, 0),
    (shapes.KeywordOnly, {"mask": "safe"}, 0),
    (shapes.scripted, {"zero": "phantom"}, 1),
    (shapes.compiled, {"zero": "phantom"}, 1),
    (shapes.parallel, {"zero": "phantom"}, 1),
    (shapes.ConstantBeside, {"zero": "phantom", "nan": "unstable"}, 1),
    (shapes.EpochsFirst, {"zero": "phantom"}, 1),
    (shapes.WeightsApart, {"zero": "phantom", "omit": "phantom"}, 1),
    (shapes.TermsAndPull, {"zero": "phantom"}, 1),
    (shapes.HardCuda, {"zero": "phantom"}, 1),
    (shapes.FromSettings, {"zero": "phantom"}, 1),
    (shapes.FromConfigs, {"zero": "phantom"}, 1),
    (shapes.MatrixOfLosses, {"mask": "safe"}, 0),
    (shapes.MissingLabels, {"nan": "safe"}, 0),
    (shapes.MarkedLabels, {"nan": "unstable"}, 1),
    (shapes.HeadsApart, {"nan": "unstable"}, 1),
    (shapes.EmptyByAccident, {"zero": "phantom", "nan": "unstable"}, 1),
    (shapes.GoesBack, {"zero": "safe", "nan": "unstable"}, 1),
    (shapes.SlowMemory, {"zero": "phantom"}, 1),
    (shapes.Shared, {"zero": "phantom", "nan": "unstable"}, 1),
    (shapes.BareWeights, {"zero": "unregularised"}, 1),
    (shapes.GivenCriteria, {"nan": "unstable"}, 1),
    (shapes.GivenCriteriaByName, {"omit": "safe", "nan": "unstable"}, 0),
    (shapes.Numbered, {"zero": "phantom", "omit": "safe"}, 0),
    (shapes.UnderAKey, {"zero": "phantom", "omit": "safe"}, 0),
    (shapes.Optional, {"zero": "phantom", "none": "safe", "omit": "safe"}, 0),
    (shapes.OptionalLabels, {"nan": "unstable"}, 1),
    (shapes.LastChanges, {"zero": "phantom", "tiny": "phantom"}, 1),
    (shapes.RelativeChanges, {"zero": "phantom", "tiny": "phantom"}, 1),
    (shapes.ChangesByName, {"zero": "phantom", "omit": "safe"}, 0),
    (shapes.OwnEpochs, {"zero": "unstable", "omit": "safe"}, 0),
    (shapes.FromNamedTuple, {"zero": "phantom", "nan": "unstable"}, 1),
    (shapes.FromDataclass, {"zero": "phantom", "none": "safe", "omit": "safe"}, 0),
    (shapes.KnownNames, {"zero": "phantom", "nan": "unstable"}, 1),
    (shapes.NestedSettings, {"zero": "phantom"}, 0),
    (shapes.TypedSettings, {"zero": "phantom"}, 1),
    (shapes.with_its_parameters, {"zero": "phantom"}, 1),
    (shapes.Prepared, {"zero": "phantom", "nan": "unstable"}, 1),
    (shapes.AroundAModel, {"zero": "phantom", "nan": "unstable"}, 1),
    (shapes.FromBatch, {"mask": "phantom", "nan": "unstable"}, 1),
    (shapes.ByNumber, {"mask": "safe"}, 0),
    (shapes.Ascends, {"zero": "safe", "nan": "unstable"}, 1),
    (shapes.ByKind, {"zero": "phantom", "omit": "safe"}, 0),
    (shapes.PartsOfGroups, {"zero": "phantom", "omit": "safe"}, 0),
    (shapes.GivenOrNot, {"zero": "phantom", "none": "safe", "omit": "safe"}, 0),
    (shapes.Projects, {"zero": "safe", "shorter": "safe"}, 0),
    (shapes.RemembersAngles, {"zero": "phantom"}, 1),
    (shapes.StepsByNorms, {"zero": "phantom"}, 1),
    (shapes.LeastNorm, {"zero": "unstable"}, 1),
    (shapes.AtLastLayer, {"zero": "unstable"}, 1),
    (shapes.InverseNorms, {"zero": "unstable"}, 1),
    (shapes.weighted_by_name, {"zero": "phantom", "omit": "safe"}, 0),
    (shapes.parameters_first, {"zero": "phantom", "nan": "unstable"}, 1),
    (shapes.SparseLabels, {"nan": "safe"}, 0),
    (shapes.PoseCriterion, {"mask": "phantom"}, 1),
    (shapes.Scene, {"nan": "safe"}, 0),
    (shapes.System, {"zero": "phantom", "omit": "phantom"}, 1),
    (shapes.TextModel, {"zero": "phantom", "none": "safe", "omit": "safe"}, 0),
    (shapes.OnePerCall, {"zero": "phantom", "omit": "safe"}, 0),
    (shapes.Collects, {"zero": "phantom", "omit": "safe"}, 0),
    (shapes.TargetsThenPredictions, {"zero": "phantom"}, 1),
    (shapes.SampleByTask, {"mask": "safe"}, 0),
    (shapes.SomeRequired, {"tiny": "phantom", "none": "safe", "omit": "safe"}, 0),
    (shapes.Counted, {"mask": "safe"}, 0),
    (shapes.Annotated, {"mask": "safe", "nan": "safe"}, 0),
    (shapes.BesideAMainLoss, {"mask": "safe"}, 0),
    (shapes.ByLeadTime, {"mask": "unregularised"}, 1),
    (shapes.SentencePairs, {"mask": "safe"}, 0),
    (shapes.Gathered, {"zero": "phantom", "omit": "safe"}, 0),
    (shapes.after_a_warm_up, {"zero": "phantom", "omit": "safe"}, 0),
    (shapes.RegulariserApart, {"mask": "phantom", "nan": "phantom"}, 1),
    (shapes.GaussianOutputs, {"mask": "safe"}, 0),
    (shapes.FromTheCommandLine, {"zero": "phantom", "none": "safe", "omit": "safe"}, 0),
    (shapes.StepsTheModel, {"omit": "safe"}, 0),
    (shapes.Counts, {"mask": "safe"}, 0),
    (shapes.Instances, {"zero": "phantom", "none": "safe", "omit": "safe"}, 0),
    (shapes.Entries, {"none": "phantom"}, 1),
]


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "right", "code"), RIGHT, ids=[shape.__name__ for shape, _, _ in RIGHT])
def test_right_at_the_first_command(shape, right, code):
    """Verdict on each mark and exit code; no mask is found where there is none."""
    report = audit(shape, settings=QUICK)
    found = {str(finding.absence): str(finding.verdict) for finding in report.findings}
    assert {mark: found.get(mark) for mark in right} == right, str(report)
    assert report.exit_code == code
    assert ("mask" in found) == ("mask" in right)


def test_a_death_that_a_longer_absence_brings_is_told():
    """A clamp at log variance -4 is reached at a phantom number of 4 and something."""
    notes = " ".join(audit(shapes.Narrow, absence="zero")["zero"].notes)
    assert "dies in a longer absence" in notes
    with pytest.raises(KeyError):
        audit(shapes.Narrow, absence="zero")["mask"]


@pytest.mark.slow
def test_tasks_that_differ_are_told_apart():
    """A task that is left out at 0 stays where it was, the others move."""
    assert "by task: task_0 unmoved" in " ".join(audit(shapes.Different)["zero"].notes)


def test_a_weighting_that_is_cut_off_from_its_losses_is_a_finding():
    """The reason says what is wrong with it, not how to call it."""
    with pytest.raises(CannotAudit, match="by value and not by gradient"):
        audit(shapes.Detached)


def test_a_shorter_list_can_be_asked_about():
    """Every later loss meets its neighbour's parameter."""
    assert audit(shapes.Shorter, absence="shorter").exit_code == 1


def by_mask(module, losses, present):
    return module(list(losses.values()), present)


@pytest.mark.slow
def test_zero_under_an_adapter_of_three_is_not_told_to_the_mask():
    """Nobody says that the task is absent: its loss is 0, and the mask is True."""
    assert audit(shapes.OptionalMask, call=by_mask, absence="zero").exit_code == 1
    report = audit(shapes.OptionalMask, call=by_mask)
    assert report["mask"].verdict == "safe"
    assert "phantom" in " ".join(report.notes)


@pytest.mark.slow
def test_twenty_eight_tasks_are_audited_by_a_few():
    """Three are measured in full; one that differs is found by its first step, and measured too."""
    names = shapes.names_of(28)
    report = audit(shapes.ByNameLast, tasks=names, absence="zero")
    assert report["zero"].evidence.measured == ("t0", "t1", "t2", "t27")
    assert "4 of 28" in " ".join(report.notes)


def test_a_file_of_a_package_is_loaded_with_its_neighbours(tmp_path):
    """Relative imports work, and the package's own code is not run."""
    (tmp_path / "losses").mkdir()
    (tmp_path / "losses" / "__init__.py").write_text("import no_such_package")
    (tmp_path / "losses" / "base.py").write_text("START = 0.0")
    (tmp_path / "losses" / "mine.py").write_text("from .base import START")
    assert load_target(f"{tmp_path}/losses/mine.py:START") == 0.0


ADAPTED = [
    (shapes.WeightsAndPull, {}, {"zero": "phantom", "omit": "phantom"}),
    (shapes.Priced, {"...": "dict.fromkeys(losses, 2.0)"}, {"mask": "safe"}),
    (shapes.PoseWithCamera, {"...": "{'focal': 1.0}"}, {"mask": "phantom"}),
    (shapes.Network, {}, {"zero": "phantom"}),
    (shapes.OwnLosses, {}, {"zero": "phantom"}),
    (shapes.OwnLoop, {}, {"zero": "phantom"}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "filled", "right"), ADAPTED, ids=[shape.__name__ for shape, _, _ in ADAPTED])
def test_an_adapter_that_is_printed_works(tmp_path, shape, filled, right):
    """Written beside the module as it stands, with what nobody can guess filled in, it gives the right verdict."""
    with pytest.raises(CannotAudit) as caught:
        audit(shape, settings=QUICK)
    told = caught.value.adapt
    code = dedent(told.split("what is not:\n")[1].split("and type")[0])
    for blank, by in filled.items():
        assert blank in code
        code = code.replace(blank, by)
    (tmp_path / "adapt.py").write_text(code)
    tasks = told.split("--tasks ")[1].split()[0].split(",")
    call = load_target(f"{tmp_path / 'adapt.py'}:adapt")
    found = {str(one.absence): str(one.verdict) for one in audit(shape, tasks, call, settings=QUICK).findings}
    assert {mark: found.get(mark) for mark in right} == right


def test_a_configuration_given_as_json_has_attributes():
    """What ``--args`` gives as an object is read as code reads its configuration, however deep."""
    args = {"cfg": {"model": {"heads": ["x", "y"]}, "loss": {"weighting": {"scale": 2.0}}}}
    report = audit(shapes.NestedSettings, args=args, absence="omit", settings=QUICK)
    assert (report.tasks, report.exit_code) == (("x", "y"), 0)


def test_what_is_needed_and_not_known_is_told_as_a_function_to_fill_in(tmp_path):
    """A factory of three lines with the class's own arguments; ... stands for what nobody can guess."""
    (tmp_path / "mine.py").write_text(
        "import torch\nclass Mine(torch.nn.Module):\n"
        "    def __init__(self, n_tasks, vocabulary, tokenizer):\n        super().__init__()\n"
        "        self.s = torch.nn.Parameter(torch.zeros(n_tasks + len(vocabulary) * 0))\n"
        "    def forward(self, losses):\n        return (torch.exp(-self.s) * losses + self.s).sum()\n"
    )
    with pytest.raises(CannotAudit) as caught:
        audit(load_target(f"{tmp_path / 'mine.py'}:Mine"))
    code = caught.value.adapt.split("... filled in:\n")[1].split("and type")[0]
    (tmp_path / "adapt.py").write_text(dedent(code).replace("...", "'ab'"))
    assert audit(load_target(f"{tmp_path / 'adapt.py'}:make"), absence="zero", settings=QUICK).exit_code == 1


def test_what_a_criterion_computes_with_is_not_audited_in_its_place():
    """A masked mean is safe whatever is done with it: where the criterion cannot be called, the audit says so."""
    with pytest.raises(CannotAudit, match="No way of calling it"):
        audit(shapes.PoseWithCamera, settings=QUICK)


def test_a_function_that_makes_a_weighting_is_not_audited_as_one():
    """What it makes cannot be called as things stand; the function itself weighs nothing."""
    with pytest.raises(CannotAudit, match="No way of calling it"):
        audit(lambda: shapes.StepsOnLayer(2), settings=QUICK)


def test_a_wrapped_optimiser_is_not_called_safe():
    """No loss that the audit makes depends on the parameters that it moves."""
    with pytest.raises(CannotAudit, match="parameters of an optimiser that it was given"):
        audit(lambda: shapes.InverseNorms(torch.optim.SGD([torch.nn.Parameter(torch.ones(4))], lr=0.1)), settings=QUICK)
