"""The audit's verdicts on published formulas, published packages and our own losses."""

import functools
import math
from pathlib import Path

import audit_specimens as specimens
import pytest
import torch

import aura_study.audit
from aura_study.audit import Absence, Report, Settings, Verdict, assert_no_phantom_gradient, audit
from aura_study.audit.measuring.bench import LOSS_LEVELS
from aura_study.losses import (
    PARAMETERIZATIONS,
    FrozenKendallLoss,
    LogSigma,
    LogVariance,
    MaskedKendallLoss,
    Sigma,
    UnmaskedKendallLoss,
)

TASKS = ("a", "b")
PARAMETERISATIONS = tuple(type(form) for form in PARAMETERIZATIONS.values())


@functools.cache
def report_on(target) -> Report:
    return audit(target, tasks=2)


@pytest.mark.parametrize(
    ("specimen", "absence", "verdict"),
    [
        (specimens.LogOnePlus, "zero", "phantom"),
        (specimens.LogOnePlus, "tiny", "phantom"),
        (specimens.Raw, "zero", "unstable"),
        (specimens.Clamped, "zero", "inert"),
        (specimens.ClampedHigh, "zero", "inert"),
        (specimens.Unregularised, "zero", "unregularised"),
        (specimens.ReturnsWeights, "zero", "unregularised"),
        (specimens.Softmax, "zero", "unregularised"),
        (specimens.Squared, "zero", "phantom"),
        (specimens.Bounded, "zero", "phantom"),
        (specimens.NotZero, "zero", "safe"),
        (specimens.NotZero, "tiny", "phantom"),
        (specimens.MaskTimesTerm, "mask", "safe"),
        (specimens.MaskTimesTerm, "nan", "unstable"),
        (specimens.WhereTerm, "mask", "safe"),
        (specimens.WhereTerm, "nan", "unstable"),
        (specimens.LossMaskedOnly, "mask", "phantom"),
        (specimens.SkipsNone, "none", "safe"),
        (specimens.SkipsNone, "zero", "phantom"),
        (specimens.ByName, "omit", "safe"),
        (specimens.ByName, "zero", "phantom"),
        (specimens.Sum, "zero", "safe"),
        (specimens.Sum, "nan", "unstable"),
    ],
)
def test_verdict_of_each_formula_under_each_mark(specimen, absence, verdict):
    """Each formula gets the verdict that its mathematics implies, for that mark of absence on its own."""
    assert report_on(specimen)[absence].verdict == verdict


def test_the_manual_names_every_verdict_and_every_mark():
    """The README of the room tells a user what each verdict means and which marks can be asked about."""
    manual = Path(aura_study.audit.__file__).with_name("README.md").read_text(encoding="utf-8")
    of_their_own = [verdict for verdict in Verdict if f"| {verdict} |" not in manual]
    assert of_their_own == [Verdict.DISTURBED, Verdict.LEAKS]  # balancers', focal losses'
    assert [verdict for verdict in of_their_own if f"*{verdict}*" not in manual] == []
    assert [mark for mark in Absence if f"`{mark}`" not in manual] == []


@pytest.mark.parametrize("form", PARAMETERISATIONS)
def test_our_unmasked_loss_is_never_safe(form):
    """UnmaskedKendallLoss is phantom in every parameterisation; in sigma itself it goes on to NaN."""
    report = audit(lambda: UnmaskedKendallLoss(TASKS, form()), absence="mask")
    assert report.verdict == (Verdict.UNSTABLE if form is Sigma else Verdict.PHANTOM)
    assert report.exit_code == 1


@pytest.mark.parametrize("form", PARAMETERISATIONS)
@pytest.mark.parametrize("loss", [MaskedKendallLoss, FrozenKendallLoss])
def test_our_masked_and_frozen_losses_are_safe(loss, form):
    """Both are safe in every parameterisation; the weight moves by exactly nothing."""
    report = assert_no_phantom_gradient(lambda: loss(TASKS, form()), absence="mask")
    assert report["mask"].growth == 1.0
    assert report.exit_code == 0


@pytest.mark.parametrize(
    ("loss", "verdict"), [(UnmaskedKendallLoss, "phantom"), (MaskedKendallLoss, "safe"), (FrozenKendallLoss, "safe")]
)
def test_our_losses_under_every_mark(loss, verdict):
    """A missing key, a mask, and NaN under the mask are the marks they accept, and all give the same verdict."""
    found = {str(finding.absence): str(finding.verdict) for finding in report_on(loss).findings}
    assert found == dict.fromkeys(("omit", "mask", "nan"), verdict)


def test_masked_keeps_a_residue_and_frozen_does_not():
    """A gradient of exactly 0 lets momentum and weight decay move the parameter; no gradient does not."""
    masked = audit(lambda: MaskedKendallLoss(TASKS), absence="omit")["omit"].evidence.residue
    frozen = audit(lambda: FrozenKendallLoss(TASKS), absence="omit")["omit"].evidence.residue
    assert masked.momentum > 0
    assert masked.decay > 0
    assert frozen.momentum == frozen.decay == 0.0
    slow, fast = (
        audit(lambda: MaskedKendallLoss(TASKS), absence="omit", settings=Settings(lr=lr, steps=20))
        for lr in (0.01, 0.1)
    )
    assert fast["omit"].evidence.residue.decay == pytest.approx(10 * slow["omit"].evidence.residue.decay, rel=0.02)


def test_a_zero_without_the_mask_is_told_in_a_note():
    """MaskedKendallLoss takes a mask; a bare 0 marks nothing, and the report says what it would do."""
    report = report_on(MaskedKendallLoss)
    assert report.safe
    assert "phantom" in "".join(report.notes)
    assert audit(MaskedKendallLoss, tasks=2, absence="zero").exit_code == 1


@pytest.mark.parametrize("phantom_number", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(
    ("form", "sgd", "adam"), [(LogSigma, 2.0, 2.0), (LogVariance, 0.5, 1.0)], ids=["log_sigma", "log_variance"]
)
def test_growth_is_the_closed_form(form, sgd, adam, phantom_number):
    """Precision grows by exp(2 Lambda) on s and, on u, by exp(Lambda / 2) under SGD and exp(Lambda) under Adam."""
    settings = Settings(lr=phantom_number / 100, steps=100)
    report = audit(lambda: UnmaskedKendallLoss(TASKS, form()), absence="omit", settings=settings)
    for drift in report["omit"].evidence.drifts:
        expected = math.exp({"SGD": sgd, "Adam": adam}[drift.optimiser] * phantom_number)
        assert drift.growth == pytest.approx(expected, rel=1e-3)


def test_gradient_is_the_absent_gradient_of_theory():
    """The largest gradient on the absent task's own parameter is 1 for s and 1/2 for u."""
    for form, gradient in ((LogSigma, 1.0), (LogVariance, 0.5)):
        report = audit(lambda form=form: UnmaskedKendallLoss(TASKS, form()), absence="omit")
        assert {drift.gradient for drift in report["omit"].evidence.drifts} == {gradient}


def test_a_bounded_growth_is_told_from_an_unbounded_one():
    """3 tanh(l/3) and s^2 level off, log sigma does not."""
    for specimen, bounded in ((specimens.Squared, True), (specimens.Bounded, True), (specimens.ReturnsTerms, False)):
        notes = " ".join(report_on(specimen)["zero"].notes)
        assert ("levels off" in notes) is bounded, (specimen, notes)


def test_long_growth_of_the_square_is_the_ratio_of_its_weights():
    """exp(-s) L + s^2 falls back from its fixed point s e^s = L/2 to s = 0: the weight grows by e^s."""
    level = LOSS_LEVELS[1]
    s = 0.0
    for _ in range(200):
        s = 0.5 * level * math.exp(-s)
    assert report_on(specimens.Squared)["zero"].evidence.ceiling.end == pytest.approx(math.exp(s), rel=1e-3)


def test_the_start_does_not_hide_the_effect():
    """Squared starts where its regulariser pulls by exactly 0, and Clamped where its drift would be exactly 0."""
    assert report_on(specimens.Squared)["zero"].growth > 1.5
    assert not report_on(specimens.Clamped).safe


def test_recovery_takes_longer_than_the_absence_under_adam():
    """Hysteresis: under Adam the way back is longer than the absence was."""
    assert report_on(specimens.ReturnsTerms)["zero"].evidence.returns["Adam"].recovery > 1


def test_whiplash_switches_the_task_off():
    """Once eta exp(2 Lambda) is large, the first SGD step back throws the weight far below where it was."""
    report = audit(lambda: UnmaskedKendallLoss(TASKS), absence="omit", settings=Settings(lr=0.05, steps=80))
    assert report["omit"].verdict == Verdict.UNSTABLE
    assert report["omit"].evidence.returns["SGD"].floor < 1e-6


def test_torchjd_scalarizers():
    """UW and IMTL-L drift when an absent task counts as 0; the geometric mean switches everyone off."""
    scalarization = pytest.importorskip("torchjd.scalarization")
    for name in ("UW", "IMTLL"):
        report = report_on(getattr(scalarization, name))
        assert report.verdict == report["zero"].verdict == report["tiny"].verdict == Verdict.PHANTOM
        assert report["zero"].growth == pytest.approx(math.e, rel=1e-3)
    assert report_on(scalarization.GeometricMean)["zero"].verdict == Verdict.UNSTABLE


def test_mtl_uncertainty_loss():
    """Its log sigmas drift by exp(2 Lambda); it takes no None."""
    package = pytest.importorskip("mtl_uncertainty_loss")
    report = report_on(package.UncertaintyWeightedMultiTaskLoss)
    assert report["zero"].verdict == Verdict.PHANTOM
    assert report["zero"].growth == pytest.approx(math.exp(2), rel=1e-3)
    assert Absence.NONE in report.not_accepted


def test_a_total_below_zero_is_called_sound_or_the_absent_term():
    """The same losses, lowered by a constant: at rest sound; and while a task is away, by the rate a step, not."""

    class Lowered(torch.nn.Module):
        def __init__(self, kind):
            super().__init__()
            self.inner = kind(["a", "b"])

        def forward(self, losses):
            return self.inner(losses) - 2

    told = {}
    for kind in (MaskedKendallLoss, UnmaskedKendallLoss):
        report = audit(functools.partial(Lowered, kind), ["a", "b"], absence="omit")
        told[kind] = " ".join(report["omit"].notes)
    assert all("with every task present, at rest" in notes for notes in told.values())
    assert "that is the absent term" in told[UnmaskedKendallLoss]
    assert "by 1 of the learning rate a step" in told[UnmaskedKendallLoss]
    assert "absent term" not in told[MaskedKendallLoss]
