"""Parameters of notebook 13, and the ways to optimise that it compares."""

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, field_validator, model_validator

from aura_study.data.tasks import TaskName
from aura_study.training.parameters import BatchSize, CorpusParameters, MaxLength

if TYPE_CHECKING:  # what trains is imported where a job is made: a run is planned without it
    from aura_study.experiments.pretraining.language_model import PretrainingJob

RegimeName = Literal["clipped", "unclipped", "sgd", "own_rate"]
"""Ways to optimise: AdamW clipped as AURA does, AdamW and SGD without clipping, and the first with AURA's own rate for
sigma."""
DOSES = (0.04, 1.0, 2.0, 5.0)
"""Sums of sigma's rates over the absence (Lambda) that are tried beside the one that the rate gives; AURA's first."""
CYCLES = 3
"""Absences and returns of the arms that go through several."""
ADAM_MEMORY = 10
"""Steps after the return at which the encoder is first looked at: 1/(1 - b1), what Adam's first moment remembers."""
WARM_UPS = (0.0, 0.1, 0.3)
"""Shares of the steps over which the rate rises: none, AURA's code, OneCycleLR's default."""


class PretrainingParameters(CorpusParameters):
    """Parameters of notebook ``13_pretraining``."""

    notebook = "13_pretraining"
    profiles = {
        "smoke": {
            "seed_count": 1,
            "few_seeds": 1,
            "mlm_steps": 30,
            "before": 4,
            "absent_steps": 12,
            "after": 12,
            "healed": 16,
            "lr_sigma": 0.25,
            "batch_size": 8,
            "max_length": 32,
            "rows": 200,
            "dev_rows": 16,
            "workers": 1,
        },
        "full": {
            "seed_count": 8,
            "few_seeds": 5,
            "batch_size": 16,
            "max_length": 64,
            "mlm_steps": 4000,
            "mlm_batch": 32,
            "before": 50,
            "absent_steps": 100,
            "after": 100,
            "healed": 300,
            "lr_sigma": 0.03,
            "dev_rows": 150,
            "probed": "minilm",
        },
    }

    dev_rows: int = Field(40, ge=8, description="development rows per task that test the pre-training")
    batch_size: BatchSize = 8
    max_length: MaxLength = 32
    checkpoint: str | None = Field(
        None, description="hub id or local folder of a masked language model; none pre-trains one here"
    )
    mlm_steps: int = Field(100, ge=1, le=1_000_000, description="optimiser steps of the pre-training")
    mlm_batch: int = Field(16, ge=4, le=4096, description="texts of a batch of the pre-training")
    mlm_lr: float = Field(0.004, gt=0, le=1, description="AdamW's peak rate in the pre-training")
    absent: TaskName = Field("reporting", description="task that goes absent and returns")
    seed_count: int = Field(1, ge=1, le=100, description="seeds of the fine-tunings")
    few_seeds: int = Field(
        0, ge=0, le=100, description="seeds of other doses, several returns and the probed encoder; 0: none of these"
    )
    before: int = Field(5, ge=1, description="steps before the absence")
    absent_steps: int = Field(20, ge=1, description="steps of the absence")
    after: int = Field(15, ge=ADAM_MEMORY + 1, description="steps after the return at which the harm is judged")
    healed: int = Field(25, ge=ADAM_MEMORY + 1, description="steps after the return at which the healing is judged")
    lr_sigma: float = Field(0.15, gt=0, le=1, description="rate for sigma in the demonstrations")
    lr_model: float = Field(0.0005, gt=0, le=1, description="AdamW's rate for encoder and heads")
    lr_sgd: float = Field(0.005, gt=0, le=10, description="SGD's rate for encoder and heads")
    probed: str | None = Field(
        None, description="pre-trained encoder without a language-model head, tested by probes; none: left out"
    )
    probed_batch: BatchSize = Field(6, ge=4, description="rows of a batch of the probed encoder")
    probed_lr: float = Field(0.0001, gt=0, le=1, description="AdamW's rate for the probed encoder and its heads")
    probed_rows: int = Field(700, ge=32, description="rows of the held-out corpus that train a probe, and that test it")

    @field_validator("checkpoint", "probed")
    @classmethod
    def _named(cls, name: str | None) -> str | None:
        if name is not None and not name.strip():
            raise ValueError("an encoder is a hub id or a local folder, or none; got an empty name")
        return name

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.healed <= self.after:
            raise ValueError(f"healing is judged after the harm: got healed={self.healed} and after={self.after}")
        if self.probed and "absent" in self.model_fields_set:  # what probes is imported only to look at a choice
            from aura_study.experiments.pretraining.probing import HELD_OUT

            if self.absent == HELD_OUT:
                raise ValueError(f"{HELD_OUT!r} is held out from the probed encoder's training: it cannot return to it")
        return self

    @property
    def encoders(self) -> tuple[str, ...]:
        """The checkpoint, where it is not pre-trained here, and the probed encoder."""
        return tuple(name for name in (self.checkpoint, self.probed) if name)

    @property
    def regimes(self) -> tuple[RegimeName, ...]:
        """Ways to optimise that are tried: two of them where there are no ``few_seeds``."""
        return ("clipped", "unclipped", "sgd", "own_rate") if self.few_seeds else ("clipped", "sgd")

    @property
    def fewer(self) -> int:
        """Seeds of all regimes but the first."""
        return min(self.few_seeds or self.seed_count, self.seed_count)

    def rates(self, regime: RegimeName) -> float:
        """Sum of sigma's rates over the absence: Lambda."""
        from aura_study.training.loop import AURA

        return self.absent_steps * (AURA.lr_sigma if regime == "own_rate" else self.lr_sigma)

    @property
    def stop(self) -> int:
        """The first step back."""
        return self.before + self.absent_steps

    @property
    def steps(self) -> int:
        """Steps of a fine-tuning up to where the harm is judged."""
        return self.stop + self.after

    @property
    def moments(self) -> dict[str, int]:
        """Steps before which arms are compared, by name."""
        return {
            "before fine-tuning": 0,
            "before the return": self.stop,
            "soon after the return": self.stop + ADAM_MEMORY,
            "after the return": self.steps,
            "long after the return": self.stop + self.healed,
        }

    def pretraining(self) -> "PretrainingJob":
        """The pre-training that stands in for a checkpoint."""
        from aura_study.experiments.pretraining.language_model import PretrainingJob

        return PretrainingJob(
            steps=self.mlm_steps,
            batch_size=self.mlm_batch,
            lr=self.mlm_lr,
            max_length=self.max_length,
            **self.on_corpus,
        )
