"""What logs say: AURA's own, simulated ones, and trainings of the project's losses, step by step and in means."""

import json
import textwrap
from importlib import resources

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from aura_study.cli import app
from aura_study.diagnosis import Diagnosis, Known, Verdict, diagnose, understand
from aura_study.experiments.aura_log import reading
from aura_study.experiments.aura_log.parameters import AuraLogParameters
from aura_study.experiments.aura_log.run import V10_1, V10_2
from aura_study.losses import LogSigma, LogVariance, MaskedKendallLoss, Sigma, UnmaskedKendallLoss
from aura_study.theory.solved import SolvedFlow

LOSS = {"masked": MaskedKendallLoss, "unmasked": UnmaskedKendallLoss}
MEANS = {"here": 0.8, "rare": 0.2}


def trained(
    policy: str, form=None, *, steps: int = 400, rate: float = 3e-3, presence: float = 0.3, adam: bool = True
) -> pd.DataFrame:
    """A log of every step of one training on drawn losses, made with the project's own loss."""
    draw = np.random.default_rng(5)
    weigh = LOSS[policy](list(MEANS), form or LogVariance()).double()
    optimizer = (torch.optim.Adam if adam else torch.optim.SGD)(weigh.parameters(), lr=rate)
    rows = []
    for step in range(1, steps + 1):
        drawn = {task: mean * draw.lognormal(-0.08, 0.4) for task, mean in MEANS.items()}
        if draw.random() > presence:
            del drawn["rare"]
        optimizer.zero_grad()
        weigh({task: torch.tensor(loss, dtype=torch.float64) for task, loss in drawn.items()}).backward()
        optimizer.step()
        sigma = dict(zip(weigh.tasks, weigh.sigma().tolist(), strict=True))
        rows.append(
            {"step": step, **{f"loss_{t}": drawn.get(t) for t in MEANS}, **{f"sigma_{t}": sigma[t] for t in MEANS}}
        )
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("policy", "says"), [("masked", Verdict.MASKED), ("unmasked", Verdict.PHANTOM)])
@pytest.mark.parametrize(
    ("form", "adam", "rate"), [(LogVariance(), True, 3e-3), (LogSigma(), False, 3e-2), (Sigma(), True, 2e-3)]
)
def test_a_log_of_steps_decides_by_the_steps_without_the_task(policy, says, form, adam, rate):
    """Missing losses say who was there; neither rate nor optimiser nor parameterisation is told."""
    table = trained(policy, form, rate=rate, adam=adam)
    assert diagnose(understand(table)).verdict == says
    assert diagnose(understand(table.fillna(0.0).assign(lr=rate))).verdict == says


@pytest.mark.parametrize(("policy", "says"), [("masked", Verdict.MASKED), ("unmasked", Verdict.PHANTOM)])
def test_means_over_steps_decide_where_presence_and_rate_are_told(policy, says):
    """Thirty means of forty steps each."""
    table = trained(policy, steps=1200, rate=1e-3)
    blocks = table.groupby((table["step"] - 1) // 40)
    means = blocks.mean().assign(
        **{name: blocks[name].last() for name in table if not name.startswith("loss")}, lr=1e-3
    )
    known = Known(form="log_variance", optimizer="adam", presence={"here": 1.0, "rare": 0.3})
    assert diagnose(understand(means), known).verdict == says


def test_a_task_that_is_always_there_tells_nothing():
    """Masked and unmasked are the same, and the reading says so."""
    found = diagnose(understand(trained("masked", presence=1.0)))
    assert found.verdict == Verdict.OPEN
    assert "there in every batch" in " ".join(found.open)


def test_weights_without_losses_tell_nothing():
    table = trained("masked").drop(columns=["loss_here", "loss_rare"])
    assert diagnose(understand(table)).verdict == Verdict.OPEN


def test_rates_that_move_nothing_are_left_open():
    """The whole way is shorter than what the printed digits show."""
    table = trained("unmasked", rate=1e-8)
    assert diagnose(understand(table.round(4).assign(lr=1e-8))).verdict == Verdict.OPEN


def test_the_solved_flow_is_found_solved():
    """The weight grows as the loss falls: a present task, as `theory.solved` has it."""
    steps = np.linspace(0, 4000, 41)
    flow = SolvedFlow(0.005, 0.02)
    table = {"step": steps + 1, "loss_a": np.exp(flow.log_loss(steps)), "log_sigma_a": flow.sigma(steps)}
    found = diagnose(understand(pd.DataFrame(table)))
    assert found.verdict == Verdict.SOLVED
    assert found.solved[0].margin > 3
    assert max(map(len, str(found).splitlines())) <= 80


def test_auras_logs_say_what_ran() -> None:
    """V10.2 was masked, V11.5's reporting solved."""
    table = reading.real_table(reading.real_logs())
    assert table["verdict"].tolist() == table["expected"].tolist() == ["masked", "solved"]


@pytest.mark.parametrize("version", ["v11.3", "v11.4", "v11.6"])
def test_other_balancers_weights_are_left_open(version):
    """GradNorm's weights and clamped scales are not Kendall's, and nothing is read into them."""
    path = resources.files("aura_study.data") / f"aura_{version}_history.json"
    told = CliRunner().invoke(app, ["diagnose", str(path)])
    assert told.exit_code == 2
    assert told.stdout.startswith("CANNOT TELL")


@pytest.mark.slow
def test_simulated_logs_are_read_back() -> None:
    """A few of the 400 that the notebook counts; without the rates none is read wrongly."""
    table = reading.readings(AuraLogParameters.for_profile("smoke").model_copy(update={"logs": 4, "seed": 7}))
    assert table[table["rates"]]["right"].all()
    assert (table["right"] | table["open"]).all()


@pytest.mark.parametrize("run", [V10_2, V10_1])
def test_a_simulated_log_looks_like_auras(run):
    """Columns and places of V10.2's printed log, and losses whose means are over the batches that held the task."""
    log = reading.simulated_log(run, "masked", 1.0, [1, 1, 1, 1], 3)
    assert len(log) == run.epochs
    assert set(log) == {"epoch", "lr", "toxicity_loss", "reporting_loss", *(f"weight_{task}" for task in run.sizes)}
    assert log["reporting_loss"].iloc[0] == pytest.approx(0.5668, rel=0.3)


def run_on(table: pd.DataFrame, path, *options: str):
    table.to_csv(path / "log.csv", index=False)
    return CliRunner().invoke(app, ["diagnose", str(path / "log.csv"), *options])


def test_text_fits_a_terminal_and_json_is_json(tmp_path):
    """80 columns, exit code 1 for the phantom, and the same verdict in JSON."""
    table = trained("unmasked")
    told = run_on(table, tmp_path)
    assert told.exit_code == 1
    assert max(map(len, told.stdout.splitlines())) <= 80
    document = json.loads(run_on(table, tmp_path, "--json").stdout)
    assert document["verdict"] == "phantom"
    assert document["exit_code"] == 1
    assert run_on(trained("masked"), tmp_path).exit_code == 0


def test_help_says_the_exit_codes():
    text = CliRunner().invoke(app, ["diagnose", "--help"]).stdout
    assert "Exit code 0: masked" in " ".join(textwrap.dedent(text).split())


def test_a_diagnosis_says_what_it_guessed():
    found = diagnose(understand(trained("masked")))
    assert isinstance(found, Diagnosis)
    assert any("sigma of rare" in sentence for sentence in found.log.guesses)
