"""Parameters of notebook 14, and the arms that it compares."""

from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from aura_study.claims.statistics.intervals import seeds
from aura_study.theory.schedules import linear_warmup_decay, phantom_number
from aura_study.training.parameters import BatchSize, Rows, TrainingParameters

if TYPE_CHECKING:  # what trains is imported where a job is made: a run is planned without it
    from aura_study.experiments.task_quality.trainings import QualityJob
    from aura_study.training.runs import Presence, PresenceName

REGIMES: "tuple[PresenceName, ...]" = ("mixed", "stretch", "alternating")
"""The regimes that P9 is decided over."""
ALL_ROWS, AURA_RATE, WHOLE = "mixed, all rows", "mixed, AURA's rate", "mixed, whole encoder"
FURTHER = (ALL_ROWS, AURA_RATE, WHOLE)
FEW, ALL = "few rows of reporting", "all rows"
ROWS = {"mixed": FEW, AURA_RATE: FEW, WHOLE: FEW, "stretch": ALL, "alternating": ALL, ALL_ROWS: ALL}
"""The rows that a regime trains on, and so the name of its control, which has rows of every task in every batch."""
KENDALL = ("unmasked", "masked")
OTHERS = ("frozen", "equal", "analytic")
CONTROL_SEEDS = 2
"""Most seeds of the controls."""
PARTS = 4
"""Of the training of a control, after each of which it is scored."""


class TaskQualityParameters(TrainingParameters):
    """Parameters of notebook ``14_task_quality``."""

    notebook = "14_task_quality"
    profiles = {
        "smoke": {"seed_count": 1, "steps": 20, "rows": 200, "dev_rows": 40, "reporting_dev": 60, "scored": True},
        "full": {
            "scored": True,
            "seed_count": 8,
            "further_seeds": 2,
            "encoder": "minilm",
            "frozen_layers": 5,
            "max_length": 48,
            "steps": 882,
            "dev_rows": 1000,
            "reporting_dev": 1000,
            "lr_model": 0.0003,
        },
    }

    rows: Rows = 750
    dev_rows: int | None = Field(200, ge=16, description="most development rows of each other task")
    batch_size: BatchSize = 8
    frozen_layers: int = Field(0, ge=0, description="lowest layers of the encoder that do not learn; 0: none")
    scored: bool = Field(False, description="whether models are scored, and by other weightings too: if they can learn")
    seed_count: int = Field(3, ge=1, le=100, description="seeds of each weighting; unscored regimes but mixed have one")
    further_seeds: int = Field(0, ge=0, le=100, description="seeds of further regimes, on which no claim rests")
    steps: int = Field(100, ge=20, description="optimiser steps of a run")
    reporting_rows: int = Field(101, ge=2, description="training rows of reporting in the mixed regime")
    reporting_dev: int = Field(300, ge=2, description="development rows of reporting")
    phantom: float = Field(3.0, gt=0, le=20, description="phantom number of the stretch; sets sigma's rate everywhere")
    lr_model: float = Field(0.001, gt=0, le=1, description="AdamW's largest rate for encoder and heads")

    @model_validator(mode="after")
    def _stretch_has_room(self) -> "TaskQualityParameters":
        if self.rows is not None and self.reporting_rows > self.rows:
            raise ValueError(f"reporting_rows = {self.reporting_rows} exceeds rows = {self.rows}")
        return self

    @property
    def stretch(self) -> "Presence":
        """Reporting absent from a fifth of the run to its half."""
        from aura_study.experiments.task_quality.trainings import RARE
        from aura_study.training.runs import Presence

        return Presence(schedule="stretch", absent=RARE, start=self.steps // 5, stop=self.steps // 2)

    @property
    def after_return(self) -> int:
        """Step before which the model is scored after the return: a fortieth of the run after it."""
        return self.stretch.stop + max(1, self.steps // 40)

    @property
    def lr_sigma(self) -> float:
        """AdamW's largest rate for sigma: such that the stretch has the phantom number asked for."""
        start, stop = self.stretch.start, self.stretch.stop
        return self.phantom / phantom_number(linear_warmup_decay(1.0, self.steps, self._warmup)[start:stop])

    @property
    def lr_sigma_aura(self) -> float:
        """The rate whose sum over this run is that of AURA's own rate over AURA's own run."""
        from aura_study.training.loop import AURA

        aura = linear_warmup_decay(AURA.lr_sigma, AURA.steps, int(AURA.warmup * AURA.steps))
        return phantom_number(aura) / phantom_number(linear_warmup_decay(1.0, self.steps, self._warmup))

    @property
    def _warmup(self) -> int:
        from aura_study.training.loop import AURA

        return int(AURA.warmup * self.steps)

    @property
    def arms(self) -> list[tuple[str, str, int]]:
        """Regime, weighting and seed of every run, seed after seed, so that one that is stopped has whole pairs."""
        arms = []
        for seed in seeds(self.seed_count):
            regimes = REGIMES if self.scored or seed == 0 else REGIMES[:1]
            arms += [(regime, policy, seed) for regime in regimes for policy in KENDALL]
            arms += [(REGIMES[0], policy, seed) for policy in OTHERS if self.scored]
        return arms + [
            (regime, pol, seed) for seed in range(self.further_seeds) for regime in FURTHER for pol in KENDALL
        ]

    @property
    def controls(self) -> list[tuple[str, str, int]]:
        """Regime, weighting and seed of the runs that say whether the model can learn its tasks."""
        return [(rows, "masked", seed) for rows in (FEW, ALL) for seed in seeds(min(self.seed_count, CONTROL_SEEDS))]

    def job(self, regime: str, policy: str, seed: int) -> "QualityJob":
        """The run of one weighting in one regime."""
        from aura_study.experiments.task_quality.trainings import QualityJob
        from aura_study.training.loop import TrainingSettings
        from aura_study.training.runs import Presence

        always = Presence(schedule="stretch")
        presence = {"stretch": self.stretch, "alternating": Presence(schedule="alternating"), FEW: always, ALL: always}
        settings = TrainingSettings(
            policy=policy,
            seed=seed,
            steps=self.steps,
            accumulation=1,
            lr_encoder=self.lr_model,
            lr_heads=self.lr_model,
            lr_sigma=self.lr_sigma_aura if regime == AURA_RATE else self.lr_sigma,
        )
        return QualityJob(
            name=f"quality-{regime.replace(', ', '-').replace(' ', '-').replace(chr(39), '')}-{policy}-seed{seed}",
            settings=settings,
            presence=presence.get(regime, Presence()),
            reporting_rows=self.reporting_rows if ROWS.get(regime, regime) == FEW else None,
            probes=self._probes(regime),
            scored=self.scored,
            frozen_layers=0 if regime == WHOLE else self.frozen_layers,
            regime=regime,
            reporting_dev=self.reporting_dev,
            **self.on_model,
        )

    def _probes(self, regime: str) -> tuple[int, ...]:
        """Steps before the end at which a run of that regime is scored."""
        if regime in (FEW, ALL):
            return tuple(self.steps * part // PARTS for part in range(1, PARTS))
        return (self.stretch.stop, self.after_return) if regime == "stretch" else ()
