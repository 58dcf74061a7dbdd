"""Claims on AURA's later logs: a task that is present and exactly solved, and the lineage of the mask (theory)."""

import math

from aura_study.claims.model import Claim, Foretells, Gate, Kind, Limit, decided_by
from aura_study.claims.rules import AtLeast, AtMost, Each, RatioWithin

FLOOR = math.log(1e-8)
"""Of V11.5's and V11.6's ``log(loss.clamp(min=1e-8))``."""
NOTED_ROWS, FOUND_ROWS = 925, 6440
"""Reporting's training rows: in AURA's README of V11, and in the training table that its repository holds."""
SCALE = "least of the seeds' largest mean scales of reporting"
SCALE_OF_BATCH = "scale of the solved term"
CAPPED = "least rows, were emotion and sentiment capped at 20,000"
HELD_BACK = "the scale never exploded, so that there was nothing to take away"
DECADES = "least decades by which the loss of reporting fell"
UNSOLVED = "the task was never solved, and the claim is about a solved one"

CLAIMS = decided_by(
    "16_aura_later_logs",
    Claim(
        "A1",
        "theory",
        statement="The loss that V11.5 reports from its second epoch on is one term, that of batches in which "
        "reporting was present and its loss lay below the clamp: over reporting's weight it is ln 1e-8 in every epoch.",
        prediction=r"$\text{train loss}/\text{weight} = \ln 10^{-8} = -18.42$ within .3 % in nine of nine epochs: "
        "weights are means of the scale over all batches, the loss of scale times log loss over the same ones, and "
        "all other terms are ten orders of magnitude smaller",
        rule=RatioWithin(tolerance=0.003),
        kind=Kind.LOGGED,
        figure="later_floor",
        cites=("aura", "lin2023dual"),
    ),
    Claim(
        "A2",
        "theory",
        statement="The scale of V11.5's exploded term reaches no parameter.",
        prediction="the gradient of a log loss below its clamp is 0, exactly, and any finite scale times 0 is 0",
        rule=AtMost(bound=0.0, gate=Gate(SCALE_OF_BATCH, 1e11, HELD_BACK)),
        kind=Kind.ARITHMETIC,
        cites=("aura", "lin2023dual"),
    ),
    Claim(
        "A2a",
        "theory",
        statement="In single precision the second door opens before the clamp: the gradient of the log of a binary "
        "cross-entropy is exactly 0 from a logit of 24 ln 2 on for a positive row and of 21 ln 2 for a negative one, "
        "not only from -ln 1e-8 on.",
        prediction=r"$24\ln 2 = 16.6$, where $1 + e^{-z}$ rounds to 1 and the gradient $\sigma(z) - 1$ to 0, and "
        r"$21\ln 2 = 14.6$, where $-z - e^{-z}$ rounds to $-z$ and the loss to 0; the log then still lies between "
        "-16.6 and the clamp, so that A1's ratio may fall short of the floor and never exceed it",
        rule=RatioWithin(tolerance=0.01),
        kind=Kind.ARITHMETIC,
    ),
    Claim(
        "A3",
        "theory",
        statement="A training with V11.5's exploded scale and one in which a term without gradient keeps scale 1 "
        "end alike.",
        prediction="in the same parameters, bit for bit",
        rule=AtMost(bound=0.0, min_seeds=3, gate=Gate(SCALE, 1e9, HELD_BACK)),
        kind=Kind.SIMULATED,
        figure="later_scale",
        cites=("lin2023dual",),
    ),
    Claim(
        "A3a",
        "theory",
        statement="V11.6's cure, a clamp at 5 and running norms, gives a solved task more gradient than V11.5's "
        "explosion did.",
        prediction="more than as much: the running norm of a task that is mostly without gradient decays to 0 and "
        "its scale stands at the clamp, in the batches in which it has a gradient too, where V11.5's scale was about 1",
        rule=AtLeast(bound=1.0, min_seeds=3, gate=Gate(SCALE, 1e9, UNSOLVED)),
        kind=Kind.SIMULATED,
        figure="later_scale",
    ),
    Claim(
        "A4",
        "theory",
        statement="V11.6's log is not that of a training with the 925 reporting rows of AURA's notes.",
        prediction="a scale of at most 5, and of 1 where reporting is absent, make the mean weight at most 1 + 4q, q "
        "the share of batches that hold reporting; the largest mean asks for about as many rows as the repository's "
        "own training table has, 6,440",
        rule=AtLeast(
            bound=float(NOTED_ROWS),
            limit=Limit(CAPPED, NOTED_ROWS, "only if emotion and sentiment were not capped as in V10.2"),
        ),
        foretells=RatioWithin(tolerance=0.1),
        kind=Kind.LOGGED,
        figure="later_presence",
        cites=("aura",),
    ),
    Claim(
        "A5",
        "theory",
        statement="Which way each task's weight ran under GradNorm in V11.3 and V11.4 follows from alpha and the "
        "clamp: a small model with one solved task, at the same settings, shows the same eight directions.",
        prediction="reporting down and the others up at alpha 1.5, reporting up and the others down at alpha 1",
        rule=Each(gate=Gate(DECADES, 2.0, UNSOLVED)),
        kind=Kind.SIMULATED,
        figure="later_gradnorm",
        cites=("aura", "chen2018gradnorm"),
    ),
    Claim(
        "A5a",
        "theory",
        statement="Under GradNorm a solved task ends with more weight at alpha = 1 than at alpha = 1.5.",
        prediction="its gradient is proportional to its loss L, its target to L to the power alpha: above alpha = 1 "
        "the target falls faster and the weight with it, at 1 neither does, and the weight goes where the others' "
        "norms and the common sum send it",
        rule=AtLeast(bound=1.0, min_seeds=3, gate=Gate(DECADES, 2.0, UNSOLVED)),
        kind=Kind.SIMULATED,
        figure="later_gradnorm",
        cites=("chen2018gradnorm",),
    ),
    Claim(
        "A6",
        "theory",
        statement="V9 and V12 leave the absent task out, V10 brings the zero, V10.2 masks it, V11's baseline brings "
        "the zero back and V11 masks it again: the audit calls V10 and the baseline phantom, the other four safe.",
        prediction="phantom where the regulariser of the absent task stays in the total, safe where its whole term "
        "is left out or multiplied by 0",
        rule=Each(),
        kind=Kind.ARITHMETIC,
        figure="later_lineage",
        cites=("aura",),
    ),
    Claim(
        "A6a",
        "theory",
        statement="V10's first cure, a zero that does not require a gradient, keeps an absent task's weight still.",
        prediction="it does not: the regulariser is no part of the zero, and moves the weight as before",
        rule=AtMost(bound=0.001),
        foretells=Foretells.FAILS,
        kind=Kind.ARITHMETIC,
        figure="later_lineage",
        cites=("aura",),
    ),
    Claim(
        "A7",
        "theory",
        statement="A task that is present and solved pulls Kendall's sigma down for ever, and more slowly than an "
        "absent one: its weight times its loss stays where it is, while an absent task's decays.",
        prediction=r"$\dot s = -\eta_s\,\eta_z/(4\eta_s + \eta_z)$ for a loss $e^{-z}$ whose logit descends at the "
        r"rate $\eta_z$, with $L/\sigma^2 \to 4\eta_s/(4\eta_s + \eta_z)$; the phantom gradient has $\dot s = -\eta_s$",
        rule=RatioWithin(tolerance=0.05),
        kind=Kind.ARITHMETIC,
        figure="later_solved",
        cites=("kendall2018multi",),
    ),
    Claim(
        "A8",
        "theory",
        statement="Beside a present task's loss that falls by itself, by a factor e^k a step, Kendall's sigma falls at "
        "k/2 and never faster than an absent task's: up to that speed the weight is the one that the loss asks for, "
        "beyond it sigma alone does not tell the two apart.",
        prediction=r"$\dot s = -\min(k/2, \eta_s)$, with and without noise on the loss, under SGD as under Adam",
        rule=RatioWithin(tolerance=0.05),
        kind=Kind.SIMULATED,
        figure="later_falling",
        cites=("kendall2018multi",),
    ),
    Claim(
        "A8a",
        "theory",
        statement="With a floor added to a solved task's loss, the time that its weight needs once the loss is back "
        "does not depend on how long the task was solved.",
        prediction=r"sigma rests at $\sqrt\varepsilon$, so that eight times the stretch leaves the way back as long as "
        "it was; a variance softened by the same floor keeps its parameter falling under Adam and needs eight times as "
        "long, and a clamped parameter never comes back",
        rule=RatioWithin(tolerance=0.05),
        kind=Kind.SIMULATED,
        figure="later_floors",
    ),
)
