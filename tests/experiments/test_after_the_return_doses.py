"""What a return costs, by dose: arms that differ in sigma alone, differences by seed, measurements, sentences."""

import numpy as np
import pandas as pd
import pytest

from aura_study.claims import CLAIMS
from aura_study.claims.rules import ADEQUACY, INTEREST
from aura_study.experiments.after_the_return import costs, doses, figures
from aura_study.experiments.after_the_return.parameters import AfterTheReturnParameters
from aura_study.training.fork import prefix_of


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """All arms and controls, at the smoke profile's size with fewer rows."""
    shorter = {"dose_rows": 64, "max_length": 32, "dose_after": 12, "dose_before": 4, "dose_absent": 6}
    p = AfterTheReturnParameters.for_profile("smoke", **shorter)
    folder = tmp_path_factory.mktemp("doses")
    return p, doses.train_arms(p, folder), doses.train_controls(p, folder)


def test_one_prefix_a_seed_serves_all_arms_of_a_way():
    """Every dose, frozen, alone and the cycles; another optimiser, or clipping, has one of its own."""
    p = AfterTheReturnParameters.for_profile("full")
    found = {(way.name, seed, prefix_of(job).name) for way, _, seed, job in doses.arms(p)}
    assert len(found) == p.dose_seeds + 2 * p.few_seeds
    names = [job.name for *_, job in doses.arms(p)]
    assert len(set(names)) == len(names)


def test_arms_differ_at_the_return_in_the_weight_alone(small):
    """Equal scores and equal losses up to the return; the gradient is larger by the ratio of the weights."""
    p, files, _ = small
    differences = costs.against_the_mask(doses.scores(p, files), p.absent)
    assert (differences.loc[differences["since"] == 0, "difference"] == 0).all()
    assert (differences.loc[differences["since"] > 0, "difference"] != 0).mean() > 0.5
    table = costs.spike_table(doses.steps(p, files), p.absent)
    np.testing.assert_allclose(table["ratio"], table["weight_ratio"], rtol=1e-3)
    np.testing.assert_allclose(table["weight_ratio"], table["law"], rtol=1e-3)
    table = table[table["arm"] != "unmasked"]
    assert table.groupby("way")["ratio"].apply(lambda ratios: ratios.is_monotonic_increasing).all()


def test_the_notebooks_tables_and_figures_come_of_it(small):
    """Adequacy of the controls, the curve, costs, two figures."""
    p, files, controls = small
    control = doses.control_scores(p, controls)
    assert costs.learning_curve(control)["step"].nunique() == doses.CURVE
    learned = costs.adequacy_table(p, control)
    assert set(learned["task"]) == {"toxicity", "emotion", "sentiment", "reporting"}
    differences = costs.against_the_mask(doses.scores(p, files), p.absent)
    prices = costs.cost_table(differences)
    spikes = costs.spike_table(doses.steps(p, files), p.absent)
    assert figures.what_it_costs(prices, spikes, p.absent, doses.CLIPPED.name, INTEREST).figure.axes
    assert len(figures.costs_over_time(prices, doses.cycle_ends(p)).figure.axes) == 4
    row = CLAIMS["P6b"].decide(costs.measure_soon(differences, learned))
    assert (row.verdict, row.seeds) == ("void", 1)


def made(cost, seeds=8):
    """Differences in which an arm costs the other tasks ``cost(dose, since)`` nats, with a little noise."""
    rng, rows = np.random.default_rng(0), []
    for arm in (*map("{:g}".format, doses.DOSES), "alone"):
        for seed in range(seeds):
            for since in (0, 1, 10, 50, 150, 300):
                dose = 5.0 if arm == "alone" else float(arm)
                common = {"way": doses.CLIPPED.name, "arm": arm, "seed": seed, "since": since}
                value = cost(dose, since) + rng.normal(0, 1e-4) if since else 0.0
                for task in (costs.OTHERS, costs.ALL, "reporting"):
                    rows += [{**common, "task": task, "measure": "log_loss", "difference": value}]
                    rows += [{**common, "task": task, "measure": "auc", "difference": -value / 10}]
    return pd.DataFrame(rows)


MEASURE = {
    "P6b": costs.measure_soon,
    "P6c": costs.measure_healed,
    "P6d": costs.measure_own_dose,
    "P6e": costs.measure_growth,
    "P6f": costs.measure_alone,
}
GOOD = pd.DataFrame({"task": ["toxicity"] * 2, "measure": ["auc", "macro_f1"], "above": [0.0, 0.0]})


@pytest.mark.parametrize(
    ("cost", "verdicts"),
    [
        (lambda dose, since: 0.02 * dose / (1 + since / 50), dict.fromkeys(MEASURE, True)),
        (lambda dose, since: 0.0001, {"P6b": False, "P6c": True, "P6d": True, "P6e": False}),
        (lambda dose, since: 0.2, {"P6b": True, "P6c": False, "P6d": False, "P6e": False}),
    ],
)  # fmt: skip
def test_a_claim_is_decided_by_what_was_planted(cost, verdicts):
    """A cost that fades and grows with the dose confirms all; none, and one that stays, refute what they should."""
    differences = made(cost)
    for key, confirmed in verdicts.items():
        row = CLAIMS[key].decide(MEASURE[key](differences, GOOD))
        assert row.verdict == ("confirmed" if confirmed else "refuted"), key


def test_a_model_that_has_not_learned_decides_nothing():
    """The control below the bag of words by more than the gate lets through: void, whatever the difference."""
    differences = made(lambda dose, since: 0.2)
    row = CLAIMS["P6b"].decide(costs.measure_soon(differences, GOOD.assign(above=-0.2)))
    assert (row.verdict, row.limits[ADEQUACY]) == ("void", pytest.approx(-0.2))
