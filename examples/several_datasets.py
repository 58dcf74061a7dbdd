"""Several data sets, one task each, in one transformers Trainer: mixed batches, masked Kendall loss, a full log.

The recipe, four things:

1. The data sets are put one after the other (``ConcatDataset``), each row with the name of its task. The Trainer
   shuffles, so that a batch holds rows of some tasks, and of others none.
2. The collator leaves the labels by task: ``{"rows": indices, "labels": tensor}`` for each task that is in the batch.
3. The model gives the weighting the losses of the tasks that are there. Their keys are the presence:
   `MaskedKendallLoss` leaves out both terms of the others, so that nothing pulls at their sigma. (Adam's momentum
   coasts for a few steps all the same; `FrozenKendallLoss` stops that too.)
4. `PhantomMonitorCallback` logs each task's loss, weight, sigma, presence and phantom number, wherever the Trainer
   reports to.

Run it:  python examples/several_datasets.py --steps 200
It needs: pip install "aura-study[parallel]"
"""

import argparse
import tempfile
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainingArguments

from aura_study.audit.trainer import PhantomMonitorCallback
from aura_study.data.registry import load_corpus
from aura_study.data.tokenization import corpus_tokenizer
from aura_study.losses import MaskedKendallLoss
from aura_study.training.model import build_encoder

LABELS = {"toxicity": 1, "sentiment": 1, "reporting": 1}
"""The tasks, and the outputs of each. The corpus has another, emotion, with several labels a row."""


class OneTask(Dataset[dict[str, Any]]):
    """A data set: texts and labels of one task."""

    def __init__(self, task: str, texts: list[str], labels: Any, tokenizer: PreTrainedTokenizerBase) -> None:
        self.task = task
        self.tokens = tokenizer(texts, truncation=True, max_length=48)["input_ids"]
        self.labels = [float(label) for label in labels]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {"task": self.task, "input_ids": self.tokens[row], "label": self.labels[row]}


class ByTask:
    """Collates rows of any tasks: padded tokens, and for each task that is there its rows' places and labels."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """The batch that `SeveralTasks` takes."""
        batch = dict(self.tokenizer.pad({"input_ids": [row["input_ids"] for row in rows]}, return_tensors="pt"))
        batch["targets"] = {}
        for task in {row["task"]: None for row in rows}:
            places = [place for place, row in enumerate(rows) if row["task"] == task]
            labels = torch.tensor([rows[place]["label"] for place in places])
            batch["targets"][task] = {"rows": torch.tensor(places), "labels": labels}
        return batch


class SeveralTasks(nn.Module):
    """One encoder, a linear head per task, and the weighting, whose sigmas the Trainer's optimiser learns."""

    def __init__(self, encoder: PreTrainedModel) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleDict({task: nn.Linear(encoder.config.hidden_size, n) for task, n in LABELS.items()})
        self.weigh = MaskedKendallLoss(list(LABELS))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, targets: dict[str, dict[str, Tensor]]) -> Any:
        """The weighted total of the tasks that the batch holds."""
        first = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state[:, 0]
        losses = {}
        for task, held in targets.items():
            logits = self.heads[task](first[held["rows"]]).squeeze(1)
            losses[task] = nn.functional.binary_cross_entropy_with_logits(logits, held["labels"])
        return {"loss": self.weigh(losses)}


def train(steps: int = 200, rows: int = 500, encoder: str = "tiny", report_to: str = "none", seed: int = 0) -> Trainer:
    """Train, and give back the Trainer: ``trainer.state.log_history`` has every number."""
    corpus = load_corpus(seed=seed, rows=rows)
    tokenizer = corpus_tokenizer(corpus)
    data = [OneTask(task, corpus.train[task].texts, corpus.train[task].labels, tokenizer) for task in LABELS]
    model = SeveralTasks(build_encoder(encoder, len(tokenizer), 48, seed, tokenizer.pad_token_id))
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=steps,
            per_device_train_batch_size=8,
            learning_rate=5e-4,
            logging_steps=max(1, steps // 10),
            save_strategy="no",
            dataloader_pin_memory=torch.cuda.is_available(),
            report_to=report_to,
            remove_unused_columns=False,  # the collator needs the task's name
            disable_tqdm=True,
            seed=seed,
        )
        trainer = Trainer(
            model=model, args=arguments, train_dataset=ConcatDataset(data), data_collator=ByTask(tokenizer)
        )
        PhantomMonitorCallback("weigh").join(trainer)  # before those that it reports to
        trainer.train()
    return trainer


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rows", type=int, default=500, help="most training rows of a task")
    parser.add_argument("--report-to", default="none", help="tensorboard, wandb, ... or none")
    given = parser.parse_args()
    train(given.steps, given.rows, report_to=given.report_to)
