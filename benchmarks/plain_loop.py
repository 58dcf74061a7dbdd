"""A straightforward training loop of the kind found in the field, as the baseline of `training.py`.

One text at a time is tokenised when it is asked for and padded to 128 tokens; every task's head runs on every row and
returns its attention weights; every loss is read with ``.item()``; the optimiser is PyTorch's default AdamW.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from aura_study.data.corpus import Corpus
from aura_study.data.tasks import TASK_NAMES, TASKS
from aura_study.losses import MaskedKendallLoss
from aura_study.training.loop import task_loss
from aura_study.training.model import AuraModel, TaskHead

PADDED = 128


class Items(Dataset):
    """Every row of every task, one text at a time."""

    def __init__(self, corpus: Corpus, tokenizer) -> None:
        self.tokenizer = tokenizer
        self.splits = corpus.train
        self.index = [(task, row) for task, split in corpus.train.items() for row in range(len(split))]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, place: int) -> dict[str, object]:
        task, row = self.index[place]
        split = self.splits[task]
        encoded = self.tokenizer(
            split.texts[row], truncation=True, padding="max_length", max_length=PADDED, return_tensors="pt"
        )
        return {
            "task": task,
            "input_ids": encoded["input_ids"].squeeze(0),
            "attention_mask": encoded["attention_mask"].squeeze(0),
            "label": split.labels[row],
        }


def collate(items: list[dict]) -> dict:
    """Rows side by side; labels stay in lists, since each task's have another shape."""
    stacked = {name: torch.stack([item[name] for item in items]) for name in ("input_ids", "attention_mask")}
    return {**stacked, "task": [item["task"] for item in items], "label": [item["label"] for item in items]}


def head_on_all_rows(head: TaskHead, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """What `TaskHead` computes, with the attention weights returned."""
    attended, weights = head.attention(hidden, hidden, hidden, key_padding_mask=~mask, need_weights=True)
    states = head.norm(hidden + head.dropout(attended))
    kept = mask.unsqueeze(-1).float()
    pooled = (states * kept).sum(1) / kept.sum(1)
    return head.classifier(head.dropout(pooled)), weights


def losses_of(model: AuraModel, batch: dict) -> dict[str, Tensor]:
    """Loss of every task that has rows in the batch."""
    mask = batch["attention_mask"].bool()
    hidden = model.encoder(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    outputs = {task: head_on_all_rows(model.heads[task], hidden, mask)[0] for task in TASK_NAMES}
    losses = {}
    for task in TASK_NAMES:
        rows = [place for place, name in enumerate(batch["task"]) if name == task]
        if rows:
            kind = torch.long if TASKS[task].kind == "multiclass" else torch.float32
            labels = torch.stack([torch.as_tensor(batch["label"][place], dtype=kind) for place in rows])
            losses[task] = task_loss(TASKS[task], outputs[task][rows], labels, 2.0, 0.1)
    return losses


def loader(items: Items, batches: Iterable[list[int]]) -> Iterator[dict]:
    """The given rows, batch by batch, through a `DataLoader`."""
    return iter(DataLoader(items, batch_sampler=list(batches), collate_fn=collate))


def run(model: AuraModel, batches: Iterator[dict], lr: float) -> list[dict[str, float]]:
    """Train on every batch; the losses of every step."""
    weighting = MaskedKendallLoss(TASK_NAMES)
    optimizer = torch.optim.AdamW([*model.parameters(), *weighting.parameters()], lr=lr)
    model.train()
    history = []
    for batch in batches:
        losses = losses_of(model, batch)
        total = weighting(losses)
        optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        history.append({task: loss.item() for task, loss in losses.items()})
    return history
