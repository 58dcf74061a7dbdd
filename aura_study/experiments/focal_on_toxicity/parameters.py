"""Parameters of notebook 11."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from aura_study.training.parameters import BatchSize, DevRows, TrainingParameters

if TYPE_CHECKING:  # what trains is imported where a job is made: a run is planned without it
    from aura_study.experiments.focal_on_toxicity.trainings import ToxicityJob

AS_THEY_ARE = "as they are"
"""Name of the training set with the data's own share of toxic comments."""
NOISY = 0.2
"""From this share of wrong labels on, the claims call labels noisy."""


class FocalOnToxicityParameters(TrainingParameters):
    """Parameters of notebook ``11_focal_on_toxicity``."""

    notebook = "11_focal_on_toxicity"
    profiles = {
        "smoke": {
            "seed_count": 1,
            "comments": 100,
            "epochs": 3,
            "rows": 300,
            "dev_rows": 40,
            "probe_rows": 60,
            "encoder_rows": 20,
            "noise_comments": 60,
            "noise_epochs": 4,
            "workers": 1,
        },
        "full": {
            "seed_count": 5,
            "comments": 3000,
            "looks_per_epoch": 2,
            "dev_rows": None,
            "probe_rows": 800,
            "encoder_rows": 100,
            "noise_rates": [0.2, 0.4],
            "noise_comments": 1500,
            "noise_epochs": 8,
        },
    }

    dev_rows: DevRows = 100
    batch_size: BatchSize = 32
    seed_count: int = Field(3, ge=1, le=100, description="seeds of every training")
    gamma: float = Field(2.0, gt=0, le=10, description="focusing parameter of focal loss; cross-entropy has 0")
    alphas: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        [0.25, 0.5, 0.75], min_length=2, description="weights of the toxic class to compare"
    )
    gammas: list[Annotated[float, Field(ge=0, le=10)]] = Field(
        [0.0, 1.0, 2.0, 5.0], min_length=2, description="focusing parameters to compare in a given model"
    )
    toxic_share: float = Field(0.05, gt=0, lt=0.5, description="toxic comments in the setting that the guide supposes")
    comments: int = Field(256, ge=100, description="training comments")
    epochs: int = Field(15, ge=1, description="most epochs; AURA planned as many")
    patience: int = Field(3, ge=1, description="epochs without a smaller held-out loss that end a training")
    looks_per_epoch: int = Field(1, ge=1, le=10, description="looks at training and held-out comments in an epoch")
    lr: float = Field(0.001, gt=0, le=1, description="AdamW's rate for encoder and heads")
    rows: int | None = Field(None, ge=100, description="most training rows per task; none keeps the corpus's own sizes")
    probe_rows: int = Field(100, ge=20, description="training comments whose shares are measured")
    encoder_rows: int = Field(15, ge=1, description="easy comments whose gradient on the encoder is taken")
    noise_rates: list[Annotated[float, Field(ge=NOISY, le=0.5)]] = Field(
        [0.4], min_length=1, description="shares of flipped training labels"
    )
    noise_comments: int = Field(60, ge=20, description="training comments under label noise")
    noise_epochs: int = Field(5, ge=2, description="epochs under label noise, enough to memorise")

    @property
    def rare(self) -> str:
        """Name of the training set with the guide's share of toxic comments."""
        return f"{100 * self.toxic_share:g} % toxic"

    @property
    def losses(self) -> tuple[float, float]:
        """Gammas of the two losses that are compared: cross-entropy and focal loss."""
        return 0.0, self.gamma

    def job(self, name: str, seed: int, gamma: float, alpha: float | None = None, **changes: Any) -> "ToxicityJob":
        """A training on this notebook's data and model; plain loss: no smoothing, no weights, no clipping.

        Without clipping, AdamW does not see the overall scale of a loss, so that alpha and gamma are compared by what
        they do to the shares alone. The rate warms up and falls over the planned epochs, as AURA's does; the training
        ends earlier, once held-out loss has stopped falling.
        """
        from aura_study.experiments.focal_on_toxicity.trainings import ToxicityJob
        from aura_study.training.loop import TrainingSettings

        comments = changes.setdefault("comments", self.comments)
        epochs, looks = changes.pop("epochs", self.epochs), changes.pop("looks_per_epoch", self.looks_per_epoch)
        every = max(1, round(comments / self.batch_size / looks))
        settings = TrainingSettings(
            policy="equal",
            seed=seed,
            steps=epochs * looks * every,
            accumulation=1,
            lr_encoder=self.lr,
            lr_heads=self.lr,
            schedule="linear",
            clip_norm=None,
            gamma=gamma,
            alpha=alpha,
            label_smoothing=0,
        )
        changes.setdefault("patience", self.patience * looks)
        changes.setdefault("probe_rows", self.probe_rows)
        return ToxicityJob(name=name, settings=settings, look_every=every, **self.on_model, **changes)
