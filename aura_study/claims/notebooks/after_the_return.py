"""Claims on what follows the return of an absent task (question Q2 of the guide, and theory)."""

from aura_study.claims.model import Claim, Foretells, Gate, Kind, Limit, decided_by
from aura_study.claims.notebooks.aura_training import JUMP
from aura_study.claims.rules import LEARNED, Alike, AtLeast, AtMost, RatioWithin, SameSide, Within

THROWN = Gate(
    quantity="eta exp(2 Lambda)", at_least=5.0, text="the absence was too short: eta exp(2 Lambda) is no few units"
)

CLAIMS = decided_by(
    "12_after_the_return",
    Claim(
        "P6a",
        "Q2",
        statement="The jump on return follows the same law whatever the optimiser, with clipping and without: SGD and "
        "AdamW send a gradient into the encoder that is larger by the ratio of the weights.",
        prediction=r"in each of the four arms by the precision ratio that its own absence built up: $e^{2\Lambda}$ "
        "under SGD, under AdamW what its memory makes of it",
        rule=RatioWithin(tolerance=0.02, min_seeds=3, gate=JUMP),
        kind=Kind.ARITHMETIC,
        figure="return_in_four_arms",
    ),
    Claim(
        "P6b",
        "Q2",
        statement=r"The spike costs the other tasks something: with AdamW and clipping, on a model that has learned, "
        r"ten steps after a return that finds $\log\sigma$ lower by 3 their mean development loss is "
        r"higher than the masked run's by .01 "
        "nats or more.",
        prediction="it is: clipping leaves steps of the usual size, but for as long as the weight is inflated nearly "
        "all of each step is the returned task's, and ten such steps on a few of its rows move a model that "
        "four tasks share",
        rule=AtLeast(bound=0.01, min_seeds=5, gate=LEARNED),
        kind=Kind.TRAINED,
        figure="what_it_costs",
    ),
    Claim(
        "P6c",
        "Q2",
        statement=r"It heals: with $\log\sigma$ lower by 3, at the end of the steps watched since the "
        r"return, the mean development "
        "area under the ROC curve over the tasks differs from the masked run's by less than a point.",
        prediction="it does: with the weight half-way back the other tasks are trained again, and what they lost was a "
        "few steps",
        rule=Alike(min_seeds=5),
        kind=Kind.TRAINED,
        figure="what_it_costs",
    ),
    Claim(
        "P6d",
        "Q2",
        statement=r"With $\log\sigma$ lower by what AURA's own rate makes of an epoch's absence (.04) "
        r"the return costs nothing: "
        "over all tasks and the steps since the return the mean development loss differs from the masked run's by less "
        "than .01 nats.",
        prediction="the weight is inflated by 8 %",
        rule=Within(reach=0.01, min_seeds=5, gate=LEARNED),
        kind=Kind.TRAINED,
        figure="what_it_costs",
    ),
    Claim(
        "P6e",
        "Q2",
        statement=r"What the return costs grows with the fall of $\log\sigma$: over the steps since the "
        r"return the other tasks' mean "
        r"development loss is higher with a fall of 5 than of 1, by .01 nats or more.",
        prediction="clipping makes the first steps alike, but the weight takes longer to come back from farther away",
        rule=AtLeast(bound=0.01, min_seeds=5, gate=LEARNED),
        kind=Kind.TRAINED,
        figure="what_it_costs",
    ),
    Claim(
        "P6f",
        "theory",
        statement=r"With clipping it is whose rows teach that does the harm and not the size of the gradient: fifty "
        r"steps after a return that finds $\log\sigma$ lower by 5 the other tasks have lost no more, "
        r"within a quarter, than by as many "
        "steps on the returned task's rows alone without a spike.",
        prediction=r"as much: $e^{10}$ leaves next to nothing of the others' gradients, clipping of the size",
        rule=AtMost(bound=1.25, min_seeds=5, gate=LEARNED),
        kind=Kind.TRAINED,
        figure="what_it_costs",
    ),
    Claim(
        "P7",
        "Q2",
        statement="The return has an aftermath: whiplash under SGD, hysteresis under Adam, second-moment poisoning of "
        "the encoder without clipping, the other tasks scaled down with it.",
        prediction="all four parts hold: P7f, P7b, P7c and P7d",
        rule=AtLeast(
            bound=1.0,
            limit=Limit(
                quantity="share of parts that hold without limits",
                at_least=1.0,
                text="within the limits of its parts",
            ),
        ),
        kind=Kind.TRAINED,
        figure="return_in_four_arms",
    ),
    Claim(
        "P7a",
        "theory",
        statement="Whiplash: once eta exp(2 Lambda) exceeds a few units, SGD's first step with the task back throws s "
        "far above its fixed point, and the task is switched off for thousands of steps.",
        prediction=r"it is thrown, and switched off for $e^{2\Lambda} - \Lambda/\eta$ steps, less the last few: at "
        r"rates of hundredths that is tens for a few units, hundreds for $\Lambda$ of 3, a thousand from 3.5 on",
        rule=AtLeast(bound=1000.0, min_seeds=6, gate=THROWN),
        kind=Kind.TRAINED,
        foretells=Foretells.FAILS,
        figure="whiplash_and_hysteresis",
    ),
    Claim(
        "P7b",
        "theory",
        statement="Hysteresis: under Adam the weight needs longer to come back than the task was absent.",
        prediction=r"first and second moment of the large gradients give one burst of some ten steps, each of several "
        r"$\eta$, which undoes a short absence; what is left takes $\frac{e^{2\Lambda_A}}{4\eta}\sqrt{(1-b_2)A}$ "
        r"steps, A being how many steps the spike lasts. Longer than the absence from $\Lambda$ of about 1.6 on for a "
        r"cold Adam at a rate of .01; from less for a quiet loss or a small rate, from more, up to 4, for a noisy loss "
        "or a large rate",
        rule=AtLeast(
            bound=1.0,
            min_seeds=5,
            limit=Limit(
                quantity="steps back over steps absent, short absence",
                at_least=1.0,
                text="not after a short absence: the way back is the quicker one",
            ),
        ),
        kind=Kind.TRAINED,
        foretells=SameSide(bound=1.0, min_seeds=5),
        figure="whiplash_and_hysteresis",
        cites=("kirchdorfer2024analytical", "kingma2015adam"),
    ),
    Claim(
        "P7c",
        "theory",
        statement="Second-moment poisoning: the spike inflates Adam's v in the encoder, and the updates that the other "
        "tasks give the encoder shrink.",
        prediction=r"in the layers, which every text reaches, by $\sqrt{\sum_i \omega_i / (1 + \kappa q_i)}$, "
        r"$\kappa = (1-b_2)\sum_j b_2^{n-j}(R_j^2 - 1)$ for weight ratios $R_j$ since the return and $q_i = g_i^2/v_i$ "
        r"of the task's proper gradient, if every parameter gets its mean; less for a spike of few steps, which misses "
        r"some by chance; $\kappa$ fades as $b_2^n$. Rows of the embeddings that the task's texts never touch keep "
        "theirs",
        rule=AtMost(
            bound=0.8,
            min_seeds=3,
            limit=Limit(
                quantity="shrinkage by v with clipping",
                at_least=0.2,
                text="without clipping only: with it the spike enters v no larger than any other step",
            ),
        ),
        kind=Kind.TRAINED,
        figure="poisoning",
    ),
    Claim(
        "P7d",
        "theory",
        statement="With clipping the damage moves: the whole gradient is scaled down at the return, the other tasks' "
        "part with it.",
        prediction="by the ratio of the norms with the task's proper weight and with its inflated one, each cut off at "
        "the bound",
        rule=RatioWithin(tolerance=0.1, min_seeds=3),
        kind=Kind.TRAINED,
        figure="poisoning",
    ),
    Claim(
        "P7e",
        "theory",
        statement="Which of SGD and Adam brings a returned task's weight back sooner turns with the whiplash: below "
        "its threshold, eta exp(2 Lambda) less than Lambda, SGD does; above it Adam does after a noisy loss or at a "
        "large rate, SGD still does after a quiet loss at a small rate.",
        prediction=r"below the threshold SGD needs some $.35/\eta$ steps, above it $e^{2\Lambda} - \Lambda/\eta$; Adam "
        r"needs its burst of some ten steps if that covers the distance, else $T = "
        r"\frac{e^{2\Lambda_A}}{4\eta}\sqrt{(1-b_2)A}$, and $\frac{2}{1-b_2}\ln(1+\frac{1-b_2}{2}T)$ once v forgets: "
        r"above the threshold Adam is the sooner if $\eta > \frac14 e^{2(\Lambda_A-\Lambda)}\sqrt{(1-b_2)A}$. In each "
        r"cell the recursion for a loss without noise, with the noise in Adam's memory alone, says which",
        rule=AtLeast(bound=0.9, min_seeds=5),
        kind=Kind.SIMULATED,
        figure="which_is_sooner",
    ),
    Claim(
        "P7f",
        "theory",
        statement="SGD's throw is undone by the regulariser alone: the weight is back after the height of the throw "
        "over the learning rate.",
        prediction=r"the step lands $\Delta = \eta(e^{2\Lambda} L/\bar L - 1) - \Lambda$ above the fixed point, L "
        r"being the loss of that one step, and the weight is back within a factor 2 after "
        r"$1 + (\Delta - \frac12\ln\frac{1}{1-e^{-2\Delta}})/\eta$ steps: tens of them at $\Lambda$ of 2, hundreds at "
        "3. Clipping the model's gradient changes none of that; without it the task's own loss is thrown as well",
        rule=RatioWithin(tolerance=0.2, min_seeds=3, gate=THROWN),
        kind=Kind.TRAINED,
        figure="whiplash_and_hysteresis",
    ),
    Claim(
        "P7g",
        "theory",
        statement="How far the poisoning shrinks the others' updates is known in advance, in the embeddings and in "
        "each layer, within a factor 2.",
        prediction="by P7c's closed form, with the distribution of q over that layer alone, from the twin's gradients",
        rule=AtMost(bound=2.0, min_seeds=3),
        kind=Kind.TRAINED,
        figure="poisoning",
    ),
    Claim(
        "P7h",
        "theory",
        statement="With clipping v is not poisoned: it leaves the other tasks at least nine tenths of their updates.",
        prediction="a clipped gradient is no larger than the bound, whatever the weight behind it, so that the spike "
        "enters v like any other step",
        rule=AtLeast(bound=0.9, min_seeds=3),
        kind=Kind.TRAINED,
        figure="poisoning",
    ),
)
