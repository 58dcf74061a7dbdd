"""What the return of an absent task does to the encoder's pre-training (claim P8).

Every fine-tuning starts from one checkpoint. The control has all tasks in every batch; the other arms lose one task
for a stretch and see the control's batches otherwise. Until the task returns, the arms with an absence have the same
encoder bit for bit, whatever their policy; what follows is the spike's doing. An arm's *effect* is the masked-language
loss that it adds to the control's, over what the control's fine-tuning added to the checkpoint's.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

from aura_study.claims import Measurement
from aura_study.data.tasks import TaskName
from aura_study.datasets import DEFAULT_DATASET
from aura_study.experiments.forgetting_runs import ForgettingJob
from aura_study.experiments.pretraining import (
    PretrainingJob,
    checkpoint_identity,
    checkpoint_test,
    learning_curve,
    pretrain,
)
from aura_study.experiments.training_runs import Presence
from aura_study.jobs import job_metadata
from aura_study.parameters import Data, Parameters, Workers
from aura_study.statistics import mean_interval, seeds
from aura_study.training import AURA, TrainingSettings

RegimeName = Literal["clipped", "unclipped", "sgd", "own_rate"]
ADAM_MEMORY = 10
"""Steps after the return at which the encoder is first judged: 1/(1 - b1), what Adam's first moment remembers."""


REGIMES: dict[RegimeName, str] = {"clipped": "P8", "unclipped": "P8a", "sgd": "P8b", "own_rate": "P8c"}
"""Ways to optimise, and the claim that each decides: AdamW clipped as AURA does, AdamW and SGD without clipping, and
the first with AURA's own rate for sigma."""


class PretrainingParameters(Parameters):
    """Parameters of notebook ``13_pretraining``."""

    notebook = "13_pretraining"
    profiles = {
        "smoke": {
            "seed_count": 1,
            "mlm_steps": 30,
            "before": 4,
            "absent_steps": 12,
            "after": 12,
            "lr_sigma": 0.25,
            "batch_size": 8,
            "max_length": 32,
            "rows": 200,
            "dev_rows": 16,
            "workers": 1,
        },
        "full": {
            "seed_count": 5,
            "mlm_steps": 4000,
            "before": 60,
            "absent_steps": 150,
            "after": 100,
            "lr_sigma": 0.02,
            "mlm_lr": 0.001,
            "dev_rows": 150,
        },
    }

    data: Data = DEFAULT_DATASET
    checkpoint: str | None = Field(
        None, description="hub id or local folder of a masked language model; none pre-trains one here"
    )
    mlm_steps: int = Field(200, ge=1, le=1_000_000, description="optimiser steps of the pre-training")
    mlm_batch: int = Field(32, ge=4, le=4096, description="texts of a batch of the pre-training")
    mlm_lr: float = Field(0.002, gt=0, le=1, description="AdamW's peak rate in the pre-training")
    absent: TaskName = Field("reporting", description="task that goes absent and returns")
    seed_count: int = Field(3, ge=1, le=100, description="seeds of the fine-tunings")
    before: int = Field(10, ge=1, description="steps before the absence")
    absent_steps: int = Field(40, ge=1, description="steps of the absence")
    after: int = Field(20, ge=ADAM_MEMORY + 1, description="steps after the return")
    lr_sigma: float = Field(0.075, gt=0, le=1, description="rate for sigma in the demonstrations")
    lr_model: float = Field(0.0005, gt=0, le=1, description="AdamW's rate for encoder and heads")
    lr_sgd: float = Field(0.005, gt=0, le=10, description="SGD's rate for encoder and heads")
    batch_size: int = Field(16, ge=4, le=4096, description="rows of a batch of the fine-tunings")
    max_length: int = Field(64, ge=8, le=512, description="tokens after which a text is cut")
    rows: int | None = Field(None, ge=16, description="most training rows per task; none keeps the corpus's own sizes")
    dev_rows: int = Field(40, ge=8, description="development rows per task that test the pre-training")
    every_policy: bool = Field(
        False,
        description="train masked in every regime, and frozen with every seed; else masked as AURA trains, frozen once",
    )
    workers: Workers = 0

    @field_validator("checkpoint")
    @classmethod
    def _named(cls, checkpoint: str | None) -> str | None:
        if checkpoint is not None and not checkpoint.strip():
            raise ValueError("a checkpoint is a hub id or a local folder, or none; got an empty name")
        return checkpoint

    @property
    def stop(self) -> int:
        """The first step back."""
        return self.before + self.absent_steps

    @property
    def steps(self) -> int:
        """Steps of a fine-tuning."""
        return self.stop + self.after

    def policies(self, regime: RegimeName, place: int) -> tuple[str, ...]:
        """What trains under a regime with the seed at ``place``, the control first."""
        clipped, everything = regime == "clipped", self.every_policy
        frozen = ("frozen",) if clipped and (everything or place == 0) else ()
        masked = ("masked",) if clipped or everything else ()
        return ("control", *frozen, *masked, "unmasked")

    @property
    def moments(self) -> dict[str, int]:
        """Steps before which all arms are compared, by name."""
        return {
            "before fine-tuning": 0,
            "before the return": self.stop,
            "after the return": self.stop + ADAM_MEMORY,
            "at the end": self.steps,
        }

    def pretraining(self) -> PretrainingJob:
        """The pre-training that stands in for a checkpoint."""
        shared = self.model_dump(include={"data", "rows", "dev_rows", "max_length"})
        return PretrainingJob(steps=self.mlm_steps, batch_size=self.mlm_batch, lr=self.mlm_lr, **shared)


def checkpoint_curve(p: PretrainingParameters) -> pd.DataFrame:
    """Pre-train, unless it is done or another's checkpoint is given: the learning curve, of the latter its one point.

    Raises:
        ValueError: ``p.checkpoint`` is no masked language model that this study can read.
    """
    job = p.pretraining()
    return learning_curve(pretrain(job), job) if p.checkpoint is None else checkpoint_test(p.checkpoint, job)


def settings(p: PretrainingParameters, regime: RegimeName, policy: str, seed: int) -> TrainingSettings:
    """Settings of one fine-tuning; a policy ``"control"`` is the mask, which does nothing where no task is absent."""
    sgd = regime == "sgd"
    return TrainingSettings.model_validate(
        {
            "policy": "masked" if policy == "control" else policy,
            "seed": seed,
            "steps": p.steps,
            "accumulation": 1,
            "optimizer": "sgd" if sgd else "adamw",
            "lr_encoder": p.lr_sgd if sgd else p.lr_model,
            "lr_heads": p.lr_sgd if sgd else p.lr_model,
            "lr_sigma": AURA.lr_sigma if regime == "own_rate" else p.lr_sigma,
            "schedule": "constant",
            "clip_norm": None if regime in ("sgd", "unclipped") else AURA.clip_norm,
        }
    )


def jobs(p: PretrainingParameters) -> list[ForgettingJob]:
    """Every regime, policy and seed, and a control for each regime and seed."""
    shared = p.model_dump(include={"data", "rows", "dev_rows", "max_length", "batch_size"})
    identity = "" if p.checkpoint is None else checkpoint_identity(p.checkpoint)
    away = Presence(schedule="stretch", absent=p.absent, start=p.before, stop=p.stop)
    nobody = Presence(schedule="stretch", absent=p.absent, start=p.stop, stop=p.stop)
    return [
        ForgettingJob(
            name=f"forgetting-{name}-{policy}-seed{seed}",
            encoder=p.checkpoint or "tiny",
            identity=identity,
            pretraining=p.pretraining(),
            probes=probes(p),
            presence=nobody if policy == "control" else away,
            settings=settings(p, name, policy, seed),
            **shared,
        )
        for name in REGIMES
        for place, seed in enumerate(seeds(p.seed_count))
        for policy in p.policies(name, place)
    ]


def probes(p: PretrainingParameters) -> tuple[int, ...]:
    """Steps before which the encoder is tested: the moments, and a few between them for the curves."""
    way = [p.before, *np.linspace(p.before, p.stop, 4).astype(int), p.stop + 1, p.stop + 3]
    back = np.geomspace(ADAM_MEMORY, p.after, 4).astype(int) + p.stop
    return tuple(sorted({*p.moments.values(), *map(int, way), *map(int, back)}))


def load(work: Sequence[ForgettingJob], files: Sequence[Path]) -> pd.DataFrame:
    """All fine-tunings, one row per step: `PretrainingProbe.frame`, regime, policy (or ``control``) and seed."""
    frames = []
    for job, path in zip(work, files, strict=True):
        _, regime, policy, _ = job.name.split("-")
        frames.append(pd.read_parquet(path).assign(regime=regime, policy=policy, seed=job.settings.seed))
    return pd.concat(frames, ignore_index=True)


def scores(files: Sequence[Path]) -> pd.DataFrame:
    """Macro-F1 at the end by regime, policy and task: mean over seeds."""
    rows = []
    for path in files:
        _, regime, policy, _ = path.stem.split("-")
        found = job_metadata(path)["macro_f1"]
        rows += [{"regime": regime, "policy": policy, "task": task, "macro_f1": f1} for task, f1 in found.items()]
    return (
        pd.DataFrame(rows).groupby(["regime", "policy", "task"], sort=False)["macro_f1"].mean().unstack().reset_index()
    )


def effects(runs: pd.DataFrame, p: PretrainingParameters) -> pd.DataFrame:
    """Every arm at every moment against its control, and against the mask, of the same seed.

    Columns: regime, policy, seed, moment, mlm_loss, cka, distance; ``forgotten``, the controls' loss minus the
    checkpoint's, mean over seeds (a seed that forgot little must not decide by its small divisor); ``effect``, the
    arm's loss minus the control's over ``forgotten``; ``drift``, the same of 1 - CKA; ``spike``, the arm's loss minus
    the masked arm's over ``forgotten``: control and arms differ in the absent task's rows too, masked and unmasked in
    the return alone. NaN where no masked arm was trained.
    """
    names = {step: name for name, step in p.moments.items()}
    chosen = runs[runs["step"].isin(names)].assign(moment=runs["step"].map(names))
    start = float(chosen.loc[chosen["step"] == 0, "mlm_loss"].mean())
    keys, found = ["regime", "seed", "moment"], ["mlm_loss", "cka"]
    table = chosen.loc[(chosen["policy"] != "control") & (chosen["step"] > 0), [*keys, "policy", *found, "distance"]]
    for other in ("control", "masked"):
        rows = chosen.loc[chosen["policy"] == other, [*keys, *found]]
        table = table.merge(rows, "left", keys, suffixes=("", f"_{other}"))
    controls = table.groupby(["regime", "moment", "policy"])[["mlm_loss_control", "cka_control"]].transform("mean")
    forgotten = controls["mlm_loss_control"] - start
    table = table.assign(
        forgotten=forgotten,
        effect=(table["mlm_loss"] - table["mlm_loss_control"]) / forgotten,
        drift=(table["cka_control"] - table["cka"]) / (1 - controls["cka_control"]),
        spike=(table["mlm_loss"] - table["mlm_loss_masked"]) / forgotten,
    )
    return table.drop(columns=[f"{name}_{other}" for name in found for other in ("control", "masked")])


def effect_table(table: pd.DataFrame) -> pd.DataFrame:
    """`effects` over seeds, by regime, policy and moment: mean effect and spike, each with its 95 % interval, drift."""
    rows = []
    for (regime, policy, moment), group in table.groupby(["regime", "policy", "moment"], sort=False):
        row = {"regime": regime, "policy": policy, "moment": moment, "seeds": len(group)}
        row |= {name: group[name].mean() for name in ("forgotten", "drift")}
        for name in ("effect", "spike"):
            if group[name].notna().all():
                estimate = mean_interval(group[name])
                row |= {name: estimate.mean, f"{name} low": estimate.low, f"{name} high": estimate.high}
        rows.append(row)
    return pd.DataFrame(rows)


def measure(table: pd.DataFrame, regime: RegimeName, policy: str = "unmasked") -> Measurement:
    """P8 and its parts: an arm's effect, at whichever is worse: soon after the return, or the end of training.

    The interval is infinite, and the claim undecided, if the controls have forgotten nothing.
    """
    arm = table[(table["regime"] == regime) & (table["policy"] == policy)]
    forgets = bool((arm["forgotten"] > 0).all())  # a share of nothing tells nothing
    found = {moment: arm[arm["moment"] == moment] for moment in ("after the return", "at the end")}
    worse = max(found.values(), key=lambda rows: float(rows["effect"].mean()))
    estimate = mean_interval(worse["effect"])
    spike = worse["spike"].dropna()
    against_mask = {"the same against the mask, on the same batches": float(spike.mean())} if len(spike) else {}
    return Measurement(
        estimate.mean,
        estimate.low if forgets else -np.inf,
        estimate.high if forgets else np.inf,
        "masked-language loss that the spike adds / that fine-tuning adds anyway",
        seeds=estimate.count,
        limits={
            "effect at the end of training": float(found["at the end"]["effect"].mean()),
            "drift (1 - CKA) added / that of the control": float(worse["drift"].mean()),
            **against_mask,
        },
    )
