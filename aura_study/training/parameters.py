"""What every notebook that trains the AURA model has among its parameters, and how its jobs take that over."""

from typing import Annotated, TypeAlias, TypedDict

from pydantic import Field

from aura_study.data.registry import BUILT, DEFAULT_DATASET, DatasetName
from aura_study.runs.parameters import Data, Encoder, Parameters, Workers

NOTE = "none keeps the corpus's own sizes"
Rows: TypeAlias = Annotated[int | None, Field(ge=16, description=f"most training rows per task; {NOTE}")]
DevRows: TypeAlias = Annotated[int | None, Field(ge=16, description="most development rows per task, for the scores")]
BatchSize: TypeAlias = Annotated[int, Field(ge=4, le=4096, description="rows of a batch")]
MaxLength: TypeAlias = Annotated[int, Field(ge=8, le=512, description="tokens after which a text is cut")]


class OnCorpus(TypedDict):
    """The arguments of a `TrainingJob` that `CorpusParameters` decide."""

    data: DatasetName
    rows: int | None
    dev_rows: int | None


class OnModel(OnCorpus):
    """The arguments of a `TrainingJob` that `TrainingParameters` decide."""

    encoder: str
    batch_size: int
    max_length: int


class CorpusParameters(Parameters):
    """Base of the parameters of a notebook with trainings on a corpus."""

    data: Data = DEFAULT_DATASET
    rows: Rows = None
    dev_rows: DevRows = 300
    workers: Workers = 0

    @property
    def on_corpus(self) -> OnCorpus:
        """For a job: ``TrainingJob(name=..., **p.on_corpus)``."""
        return OnCorpus(data=self.data, rows=self.rows, dev_rows=self.dev_rows)


class TrainingParameters(CorpusParameters):
    """Base of the parameters of a notebook whose trainings share an encoder, batches and lengths as well."""

    encoder: Encoder = BUILT
    batch_size: BatchSize = 8
    max_length: MaxLength = 64

    @property
    def encoders(self) -> tuple[str, ...]:
        """Encoders that the notebook reads, by name."""
        return (self.encoder,)

    @property
    def on_model(self) -> OnModel:
        """For a job: ``TrainingJob(name=..., **p.on_model)``."""
        return OnModel(**self.on_corpus, encoder=self.encoder, batch_size=self.batch_size, max_length=self.max_length)
