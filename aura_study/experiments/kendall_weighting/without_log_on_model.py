"""The AURA model without log sigma, beside the complete formula: what reaches the encoder, and what is learned.

Every batch holds rows of every task, so that nothing but log sigma differs between the arms, and the arm with it is its
own control (claims K3a to K3c, K4 and K4a).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch.nn.utils import get_total_norm

from aura_study.claims import Measurement
from aura_study.claims.rules import ADEQUACY
from aura_study.claims.statistics.intervals import Estimate, paired_interval, ratio_interval, ratio_of_means, seeds
from aura_study.data.tasks import TASK_NAMES
from aura_study.experiments.kendall_weighting.parameters import KendallWeightingParameters
from aura_study.experiments.kendall_weighting.without_log import WithoutLog
from aura_study.losses import LogSigma, MaskedKendallLoss, Parameterization
from aura_study.runs.jobs import job_metadata
from aura_study.training.adequacy import adequacy, least_above
from aura_study.training.loop import TrainingSettings
from aura_study.training.model import AuraModel
from aura_study.training.recording import Recorder
from aura_study.training.runs import Prepared, Presence, Probe, TrainingJob, train_jobs
from aura_study.training.scores import development
from aura_study.training.weighting import Weighting

WITH, WITHOUT = "with log", "without log"
ARMS: Mapping[str, Parameterization] = {WITH: LogSigma(), WITHOUT: WithoutLog()}
MEAN = "mean of tasks"
DECIDES, CHANCE = "auc", 0.5
"""The measure that K3a to K3c speak of, and what guessing scores in it."""
RECENT = 20
"""Steps whose median is the recent level of a norm."""


class WithoutLogJob(TrainingJob):
    """One training of the model with the complete formula or without its regulariser."""

    code = ("import aura_study.experiments.kendall_weighting.without_log_on_model",)

    arm: Literal["with log", "without log"]

    def weighting(self, device: torch.device) -> Weighting:
        """Masked, with the arm's form."""
        return MaskedKendallLoss(TASK_NAMES, ARMS[self.arm], device=device)

    def probe(self, prepared: Prepared, model: AuraModel) -> "Signal":
        """The trajectory, and the encoder's whole gradient."""
        return Signal(self.weighting(model.device), model.device, prepared, self.settings)


class Signal(Probe):
    """A run's trajectory with the norm of the encoder's whole gradient, before clipping, and its final scores."""

    def __init__(
        self, weighting: Weighting, device: torch.device, prepared: Prepared, settings: TrainingSettings
    ) -> None:
        super().__init__(weighting)
        self.recorder: Recorder = Recorder(TASK_NAMES, settings.policy, settings.seed, device)
        self.norms: list[float] = []
        self._prepared = prepared

    def gradients(self, step: int, model: AuraModel, optimizer: torch.optim.Optimizer) -> None:
        """Note the norm."""
        self.norms.append(float(get_total_norm([p.grad for p in model.encoder.parameters() if p.grad is not None])))

    def table(self, model: AuraModel) -> pd.DataFrame:
        """A row per step and task; ``norm`` is the step's."""
        frame = self.recorder.frame()
        return frame.assign(norm=np.array(self.norms)[frame["step"]])

    def results(self, model: AuraModel) -> dict[str, Any]:
        """Scores per task."""
        return {"scores": development(model, self._prepared.dev)}


def model_jobs(p: KendallWeightingParameters) -> list[WithoutLogJob]:
    """Both arms of each seed on the same batches from the same start, at constant rates."""
    jobs = []
    for seed in seeds(p.model_seeds):
        settings = TrainingSettings(
            steps=p.model_steps,
            accumulation=1,
            lr_encoder=p.lr_model,
            lr_heads=p.lr_model,
            lr_sigma=p.lr_sigma,
            schedule="constant",
            seed=seed,
        )
        for arm in ARMS:
            name = f"{arm.replace(' ', '-')}-sigma-seed{seed}"
            every = Presence(schedule="stretch")  # rows of every task in every batch, since nothing is away
            on = {"encoder": p.encoder, "frozen_layers": p.frozen_layers, **p.on_corpus}
            work = WithoutLogJob(name=name, arm=arm, settings=settings, presence=every, **on)
            jobs.append(work.model_copy(update={"max_length": 64, "batch_size": 32}))
    return jobs


def train_both(p: KendallWeightingParameters, folder: Path) -> list[Path]:
    """Files of `model_jobs`, finished ones kept."""
    return train_jobs(model_jobs(p), folder, p.workers, "without log sigma")


def load(files: Sequence[Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Trajectories, a row per arm, seed, step and task, with the step's norm; and the final development scores, a row
    per arm, seed, task (and the mean of the tasks) and measure."""
    paths, scores = [], []
    for path in files:
        stored = job_metadata(path)
        run = {"arm": stored["job"]["arm"], "seed": stored["job"]["settings"]["seed"]}
        paths.append(pd.read_parquet(path).assign(**run))
        for task in TASK_NAMES:
            found = stored["scores"][task]
            scores += [{**run, "task": task, "measure": name, "score": score} for name, score in found.items()]
    table = pd.DataFrame(scores).query("measure != 'samples_f1'")
    mean = table.groupby(["arm", "seed", "measure"], sort=False)["score"].mean().reset_index().assign(task=MEAN)
    trajectories = pd.concat(paths, ignore_index=True).astype({"task": str})
    columns = ["arm", "seed", "step", "task", "sigma", "weight", "loss", "gradient_norm", "norm"]
    return trajectories[columns], pd.concat([table, mean], ignore_index=True)


def outcome(paths: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Sigma, weight and scores at the end, mean over seeds: one row per task and arm."""
    last = paths[paths["step"] == paths["step"].max()]
    ends = last.groupby(["task", "arm"], sort=False)[["sigma", "weight"]].mean()
    means = scores.pivot_table(index=["task", "arm"], columns="measure", values="score", sort=False)
    return ends.join(means).reset_index()


def score_changes(scores: pd.DataFrame) -> pd.DataFrame:
    """What the formula's log sigma is worth in each measure, paired over seeds: with it minus without it.

    Columns: measure, task (and the mean of the tasks), with_log and without_log (means over seeds), difference, low,
    high (95 % interval), seeds.
    """
    rows = []
    for (measure, task), group in scores.groupby(["measure", "task"], sort=False):
        by_seed = group.pivot(index="seed", columns="arm", values="score")
        means = {"with_log": by_seed[WITH].mean(), "without_log": by_seed[WITHOUT].mean()}
        gain = paired_interval(by_seed[WITH], by_seed[WITHOUT])
        rows.append({"measure": measure, "task": task, **means, **gain.row("difference")})
    return pd.DataFrame(rows)


def adequacy_of(p: KendallWeightingParameters, files: Sequence[Path]) -> pd.DataFrame:
    """What the arm with log sigma scores beside models without a network, see `adequacy`."""
    stored = [job_metadata(path) for path in files]
    controls = [run["scores"] for run in stored if run["job"]["arm"] == WITH]
    return adequacy(controls, model_jobs(p)[0].texts.corpus())


def _by_seed(scores: pd.DataFrame, task: str) -> pd.DataFrame:
    """The deciding score, a row per seed and a column per arm."""
    chosen = scores[(scores["measure"] == DECIDES) & (scores["task"] == task)]
    return chosen.pivot(index="seed", columns="arm", values="score")


def measure_evasion(scores: pd.DataFrame, table: pd.DataFrame) -> Measurement:
    """K3a: how far the score has risen above chance without log sigma, in parts of how far with it."""
    risen = _by_seed(scores, MEAN) - CHANCE
    return Measurement.of(
        ratio_of_means(risen[WITHOUT], risen[WITH]),
        "development area under the ROC curve above chance, mean over the tasks, without log sigma / with it",
        limits={ADEQUACY: least_above(table)},
    )


def measure_loss_of_score(scores: pd.DataFrame, table: pd.DataFrame) -> Measurement:
    """K3b: the score that is lost without log sigma, mean over the tasks."""
    by_seed = _by_seed(scores, MEAN)
    return Measurement.of(
        paired_interval(by_seed[WITH], by_seed[WITHOUT]),
        "development area under the ROC curve, mean over the tasks, with log sigma minus without",
        limits={ADEQUACY: least_above(table)},
    )


def measure_worst_task(scores: pd.DataFrame, table: pd.DataFrame) -> Measurement:
    """K3c: the score that is lost without log sigma in the task that loses most.

    The largest of four losses: between the largest lower and the largest upper end of the four intervals, each at
    1 - 0.05 / 4, which hold all four at once in 95 % of cases (Bonferroni) and so the largest too.
    """
    by_task = {task: _by_seed(scores, task) for task in TASK_NAMES}
    level = 1 - 0.05 / len(by_task)
    losses = [paired_interval(by_seed[WITH], by_seed[WITHOUT], level) for by_seed in by_task.values()]
    middle, low, high = (max(getattr(loss, end) for loss in losses) for end in ("mean", "low", "high"))
    return Measurement.of(
        Estimate(middle, low, high, losses[0].count),
        "development area under the ROC curve, with log sigma minus without, largest of the four tasks",
        limits={ADEQUACY: least_above(table)},
    )


def signal(paths: pd.DataFrame) -> pd.DataFrame:
    """How steady each run's training signal was, one row per arm and seed.

    ``volatility``: standard deviation over the steps of the change of the log norm of the encoder's gradient from one
    step to the next; ``leap``: largest norm over the median norm of the `RECENT` steps before (of five at least);
    ``leap_of`` and ``weight_then``: the task that sent most into the encoder at that step, and its weight;
    ``loss_volatility``: as the first, of the training loss, mean over the tasks and not weighted; ``kept``: mean norm
    of the last tenth of the steps over that of the first.
    """
    rows = []
    for (arm, seed), run in paths.groupby(["arm", "seed"], sort=False):
        steps = run.groupby("step")[["norm", "loss"]].mean()
        norm, tenth = steps["norm"], max(1, len(steps) // 10)
        recent = norm.rolling(RECENT, min_periods=5).median().shift(1)
        leaps, changes = norm / recent, steps.apply(np.log).diff().std()
        then = run[run["step"] == leaps.idxmax()].nlargest(1, "gradient_norm").iloc[0]
        rows.append(
            {
                "arm": arm,
                "seed": seed,
                "volatility": changes["norm"],
                "leap": leaps.max(),
                "leap_of": then["task"],
                "weight_then": then["weight"],
                "loss_volatility": changes["loss"],
                "kept": norm.iloc[-tenth:].mean() / norm.iloc[:tenth].mean(),
            }
        )
    return pd.DataFrame(rows)


def signal_changes(table: pd.DataFrame) -> pd.DataFrame:
    """Every column of `signal` without log sigma over with it: geometric mean, low, high (95 % interval), seeds."""
    rows = []
    for name in ("volatility", "leap", "loss_volatility", "kept"):
        by_seed = table.pivot(index="seed", columns="arm", values=name)
        rows.append({"of": name, **ratio_interval(by_seed[WITHOUT], by_seed[WITH]).row("ratio")})
    return pd.DataFrame(rows)


def measure_instability(table: pd.DataFrame, of: Literal["volatility", "leap"]) -> Measurement:
    """K4 and K4a: how much less steady the encoder's gradient is without log sigma."""
    by_seed = table.pivot(index="seed", columns="arm", values=of)
    unit = f"{of} of the encoder's gradient norm, without log sigma / with it"
    return Measurement.of(ratio_interval(by_seed[WITHOUT], by_seed[WITH]), unit, predicted=1.0, logarithmic=True)
