"""Claims on AURA's own run (sections 3, 3.2 and 4 and question 2 of the guide)."""

from aura_study.claims.model import Claim, Foretells, Gate, Kind, Limit, decided_by
from aura_study.claims.rules import AtLeast, AtMost, Each, PredictedAtMost

TOLERANCE = 0.02
"""How far predicted weights may lie from those that AURA's run printed."""
COLLAPSE = 10.0
"""Growth of a weight, against that of a masked twin, from which this study speaks of collapse."""
WRONG_OR_OPEN = 0.05
"""Share of logs that a reading of them may get wrong or leave open."""

CLAIMS = decided_by(
    "07_aura_log",
    Claim(
        "P10",
        "3.2",
        statement="AURA's V10.2 run trained with the mask: its printed reporting weights are those of masked dynamics.",
        prediction="masked dynamics give the reporting weight of all 14 epochs within 2 %; unmasked dynamics miss it "
        "by about 10 %",
        rule=AtMost(
            bound=TOLERANCE,
            min_seeds=8,
            gate=Gate(
                quantity="unmasked miss over masked miss, least over all assumptions",
                at_least=3.0,
                text="under some assumption on the losses the two predictions lie too close to tell them apart",
            ),
            limit=Limit(
                quantity="2 % over the masked miss, least over all assumptions",
                at_least=1.0,
                text="the 2 % need a loss that varies from sample to sample, which the log does not tell: where it "
                "hardly does, masked dynamics miss by more; the row's numbers name the least noise tried that is "
                "enough under every other assumption, and the greatest miss without any",
            ),
        ),
        kind=Kind.LOGGED,
        figure="aura_reporting_weight",
        cites=("aura",),
    ),
    Claim(
        "P10a",
        "theory",
        statement="A command that knows nothing of AURA finds in its logs what ran: in V10.2's, told the rows of each "
        "task, the batch and the steps of an epoch but no learning rate, the mask, and in V11.5's, told nothing, a "
        "task that is present and solved.",
        prediction=r"the fastest weight bounds the rate from below, and at that rate an unmasked reporting would have "
        r"gone further than it did, whatever its noise, by $1 - \sqrt{p}$ of the way, $p$ its presence in a step; "
        r"V11.5's loss over one of its weights is the logarithm of a round clamp, as A1 has it",
        rule=Each(),
        kind=Kind.LOGGED,
        figure="aura_diagnosis",
        cites=("aura",),
    ),
    Claim(
        "P11",
        "Q2",
        statement="In AURA's own code and at its own learning rates the phantom gradient of V10.1 collapses no task's "
        "sigma.",
        prediction=r"no weight grows by more than about $e^{\Lambda}$ over that of a masked twin, because in AURA's "
        r"code $-\mathrm{d}\log w/\mathrm{d}x = \mathrm{sigmoid}(x)/\mathrm{softplus}(x) < 1$; $\Lambda$ is at most "
        "the sum of all learning rates: 0.31 for V10.2's data and epochs, 0.49 for V10.1's, 0.73 for V10.1's data and "
        "V10.2's epochs",
        rule=AtMost(bound=COLLAPSE, min_seeds=8),
        kind=Kind.SIMULATED,
        foretells=PredictedAtMost(tolerance=0.1),
        figure="aura_counterfactual",
        cites=("aura",),
    ),
    Claim(
        "P11a",
        "Q2",
        statement="Nor would the guide's formula, at AURA's own learning rates, have collapsed any task's sigma.",
        prediction=r"no weight grows by more than about $e^{2\Lambda}$ over that of a masked twin, with the same "
        r"$\Lambda$ as in AURA's code",
        rule=AtMost(bound=COLLAPSE, min_seeds=8),
        kind=Kind.SIMULATED,
        foretells=PredictedAtMost(tolerance=0.1),
        figure="aura_counterfactual",
        cites=("aura",),
    ),
    Claim(
        "P11b",
        "3",
        statement="In version 10.1 the model learned absurd uncertainties for the tasks absent from the batch: in "
        "AURA's code, at its own rates, some task's weight was at some time ten times that of a masked twin or more, "
        "if only for some losses.",
        prediction=r"whatever the losses, a task's weight stays within about $e^{\Lambda}$ of its masked twin's, "
        "which is 2.1 even for V10.2's epochs",
        rule=AtLeast(bound=COLLAPSE, min_seeds=8),
        kind=Kind.SIMULATED,
        foretells=PredictedAtMost(tolerance=0.1),
        figure="aura_absurd",
        cites=("aura",),
    ),
    Claim(
        "P11c",
        "3",
        statement="Had version 10.1 computed the guide's formula, it would have learned absurd uncertainties for the "
        "tasks absent from the batch: at AURA's own rates some task's weight would at some time have been ten times "
        "that of a masked twin or more, for one at least of the losses tried: those that V10.2 printed, and constant "
        "ones of 0.0001 to 1.5.",
        prediction=r"whatever the losses, a task's weight stays within about $e^{2\Lambda}$ of its masked twin's, "
        "which is 4.3 even for V10.2's epochs",
        rule=AtLeast(bound=COLLAPSE, min_seeds=8),
        kind=Kind.SIMULATED,
        foretells=PredictedAtMost(tolerance=0.1),
        figure="aura_absurd",
        cites=("aura",),
    ),
    Claim(
        "P11d",
        "theory",
        statement="A log of weights, losses and learning rates tells whether absent tasks were masked: of 400 "
        "simulated runs with AURA's rows, batches, rates and noise, half of them masked, `aura-study diagnose`, told "
        "each task's presence, reads at most 5 % wrongly or not at all.",
        prediction=r"a masked reporting moves at $\sqrt{p}$ of Adam's speed towards $\sigma^2 = L$, an unmasked one at "
        r"full speed towards $pL$, $p$ its presence in a step, .05 to .68 in AURA's runs: they part by a tenth of the "
        "weight or more, a hundred times what three printed decimals hide",
        rule=AtMost(bound=WRONG_OR_OPEN),
        kind=Kind.SIMULATED,
        figure="aura_diagnosis",
        cites=("aura",),
    ),
    Claim(
        "P11e",
        "theory",
        statement="Without its learning rates the same log is read wrongly in at most 5 % of the 400 runs.",
        prediction="a rate that nobody told is bounded from below by the fastest weight and otherwise free; what that "
        "leaves open is said to be open, in some part of the runs",
        rule=AtMost(bound=WRONG_OR_OPEN),
        kind=Kind.SIMULATED,
        figure="aura_diagnosis",
        cites=("aura",),
    ),
    Claim(
        "S1a",
        "4",
        statement="AURA uses a OneCycleLR: the weights that its V10.2 run printed move from epoch to epoch as masked "
        "dynamics do under PyTorch's OneCycleLR, and not as under a linear warm-up.",
        prediction="on the way from the linear warm-up's prediction (0) to OneCycleLR's (1) the log stands at 0: the "
        "run's public code calls get_linear_schedule_with_warmup; the epochs' shares of the rates' sum differ by 0.36 "
        "between the two",
        rule=AtLeast(
            bound=0.5,
            min_seeds=8,
            gate=Gate(
                quantity="distance of the two predictions over the closer one's miss, least over all assumptions",
                at_least=3.0,
                text="under some assumption on the losses the two predictions lie too close to tell them apart",
            ),
        ),
        kind=Kind.LOGGED,
        foretells=Foretells.FAILS,
        figure="aura_schedule",
        cites=("aura",),
    ),
    Claim(
        "S1b",
        "theory",
        statement="Nor does the log allow the OneCycleLR of AURA's other versions, with its peak at 10 % of the steps: "
        "no course of the loss makes masked dynamics under it reproduce the printed weights of sentiment as well as "
        "under the linear warm-up.",
        prediction="the best fit under that OneCycleLR misses by at least three times as much: the two sums of rates "
        "part by up to 5 % of the way, a hundredth of the weight, and a loss far below the one that the weight stands "
        "for can neither hasten nor slow AdamW",
        rule=AtLeast(bound=3.0),
        kind=Kind.LOGGED,
        figure="aura_schedule",
        cites=("aura",),
    ),
)
