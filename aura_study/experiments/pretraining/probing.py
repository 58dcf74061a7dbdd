"""What a pre-trained encoder without a language-model head knows: a task and texts that it is not fine-tuned on.

One corpus is held out. A linear *probe* of its labels is fitted on the encoder's states, pooled over the tokens, and
tested on other rows; and one half of a text has to find its other half among those of many. Both are asked of the
encoder as it was pre-trained and of one that never was; what lies between them is what can be ruined.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from sklearn.linear_model import RidgeCV
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel

from aura_study.data.batches import Batch, Batches, dev_batches
from aura_study.data.corpus import TaskSplit
from aura_study.data.encoders import encoder_files, encoder_folder
from aura_study.data.registry import load_corpus
from aura_study.data.tasks import TaskName
from aura_study.data.tokenization import TokenizedSplit, pretrained_tokenizer, tokenize
from aura_study.experiments.pretraining.cka import linear_cka
from aura_study.experiments.pretraining.fine_tuning import ReturnJob, WatchingProbe
from aura_study.runs.jobs import Job, keep_table
from aura_study.runs.parameters import Data
from aura_study.training.model import AuraModel, build_encoder
from aura_study.training.runs import Prepared
from aura_study.training.scores import truth
from aura_study.training.unpadded import encode

CODE = "import aura_study.experiments.pretraining.probing"
HELD_OUT: TaskName = "emotion"
"""Corpus that is not fine-tuned on: short comments on all sorts of things, whose halves can tell each other."""
COMMON = 0.05
"""Least share of a label that is probed: the area under the curve of a rarer one rests on a handful of rows."""
FEWEST_WORDS = 8
"""Of a text that is cut into halves."""
PENALTIES = np.logspace(1, 5, 9)
"""Ridge penalties of the probe, on standardised states; leave-one-out chooses."""
RANDOM_STARTS = 3


class Questions:
    """What encoders are asked, in one tokenizer's tokens.

    Args:
        data: the corpus.
        encoder: whose tokenizer reads it.
        rows: of the held-out corpus that fit the probe, and as many that test it; half as many texts in halves.
        max_length: of a row in tokens.
    """

    def __init__(self, data: Data, encoder: str, rows: int, max_length: int) -> None:
        corpus, tokenizer = load_corpus(data), pretrained_tokenizer(encoder_folder(encoder))
        fit, test = (splits[HELD_OUT] for splits in (corpus.train, corpus.dev))
        fit, test = (split.take(np.arange(min(rows, len(split)))) for split in (fit, test))
        words = [text.split() for text in corpus.dev[HELD_OUT].texts]
        pairs = [found for found in words if len(found) >= FEWEST_WORDS][: rows // 2]
        first = [" ".join(found[: len(found) // 2]) for found in pairs]
        second = [" ".join(found[len(found) // 2 :]) for found in pairs]
        texts = [*fit.texts, *test.texts, *first, *second]
        blank = np.zeros((len(texts), fit.labels.shape[1]), fit.labels.dtype)
        self._rows: TokenizedSplit = tokenize(TaskSplit(texts, blank), tokenizer, max_length)
        self._parts = (len(fit), len(test), len(pairs), len(pairs))
        self._fit, self._test = (truth(HELD_OUT, split.labels) for split in (fit, test))
        self._labels = np.flatnonzero(self._fit.mean(0) >= COMMON)

    def states(self, encoder: PreTrainedModel) -> Tensor:
        """Mean over the tokens of every text after every layer, ``(layers, texts, hidden)``; dropout is off."""
        seen: list[Tensor] = []
        layers = cast(nn.ModuleList, encoder.get_submodule("encoder.layer"))
        hooks = [layer.register_forward_hook(_into(seen)) for layer in layers]
        was_training, found = encoder.training, []
        encoder.eval()
        try:
            with torch.no_grad():
                for batch in dev_batches(HELD_OUT, self._rows):
                    seen.clear()
                    _, layout = encode(encoder, batch.to(encoder.device))
                    found.append(torch.stack([layout.mean(states.flatten(0, -2)) for states in seen]))
        finally:
            encoder.train(was_training)
            for hook in hooks:
                hook.remove()
        order = np.argsort(self._rows.lengths, kind="stable")
        return torch.cat(found, 1)[:, torch.from_numpy(np.argsort(order))].cpu()

    def answers(self, states: Tensor) -> dict[str, float]:
        """Scores of an encoder by the last of its `states`.

        ``probe``: mean area under the ROC curve of the labels, of a ridge regression on standardised states;
        ``retrieval``: mean reciprocal rank of a text's second half among all second halves, by the cosine to its first.
        """
        fit, test, first, second = states[-1].double().split(self._parts)
        middle, spread = fit.mean(0), fit.std(0) + 1e-6
        ridge = RidgeCV(PENALTIES).fit(((fit - middle) / spread).numpy(), self._fit[:, self._labels])
        told = ridge.predict(((test - middle) / spread).numpy())
        areas = [roc_auc_score(self._test[:, label], told[:, place]) for place, label in enumerate(self._labels)]
        first, second = (part / part.norm(dim=1, keepdim=True) for part in (first, second))
        alike = first @ second.T
        ranks = (alike > alike.diagonal().unsqueeze(1)).sum(1) + 1
        return {"probe": float(np.mean(areas)), "retrieval": float((1 / ranks).mean())}

    def likeness(self, states: Tensor, others: Tensor) -> dict[str, float]:
        """CKA of two encoders' states of the texts that test the probe, by layer."""
        start, count = self._parts[:2]
        return {
            f"cka_{layer}": linear_cka(*(part[start : start + count] for part in pair))
            for layer, pair in enumerate(zip(states, others, strict=True), 1)
        }


def _into(seen: list[Tensor]) -> Any:
    def hook(layer: nn.Module, arguments: Any, output: Any) -> None:
        seen.append(output[0] if isinstance(output, tuple) else output)

    return hook


questions = lru_cache(maxsize=1)(Questions)
"""Those of the last corpus and encoder that were asked for are kept in memory."""


@lru_cache(maxsize=1)
def pretrained_states(data: Data, encoder: str, rows: int, max_length: int) -> Tensor:
    """`Questions.states` of the encoder as it was pre-trained, kept in memory as well."""
    blank = build_encoder(encoder, 1, max_length, 0)
    return questions(data, encoder, rows, max_length).states(blank)


class StartJob(Job):
    """What an encoder knows as it was pre-trained, and what encoders of its kind know that never were."""

    code = (CODE,)

    data: Data
    encoder: str
    rows: int = Field(ge=1)
    max_length: int = Field(ge=4)

    def inputs(self) -> Mapping[str, str]:
        """Digests of the encoder's files."""
        return encoder_files(self.encoder)


def run_start(job: StartJob, folder: Path) -> Path:
    """Leaves a row each: start (pre-trained, or random and its seed), probe, retrieval."""
    what = (job.data, job.encoder, job.rows, job.max_length)
    asked, config = questions(*what), build_encoder(job.encoder, 1, job.max_length, 0).config
    rows = [{"start": "pre-trained", **asked.answers(pretrained_states(*what))}]
    for seed in range(RANDOM_STARTS):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            blank = AutoModel.from_config(config, add_pooling_layer=False)
        rows.append({"start": f"random {seed}", **asked.answers(asked.states(blank))})
    return keep_table(job, pd.DataFrame(rows), folder)


class ProbingJob(ReturnJob):
    """One fine-tuning of a pre-trained encoder on all corpora but the one that is held out."""

    code = (CODE,)

    probe_rows: int = Field(ge=1)

    def batches(self, prepared: Prepared) -> Iterator[Batch]:
        """Micro-batches of all corpora but the one that is held out."""
        rows = {task: split for task, split in prepared.train.items() if task != HELD_OUT}
        sizes = {task: len(split) for task, split in rows.items()}
        settings = self.settings
        return Batches(
            rows, self.presence.build(sizes, self.batch_size, settings.seed, settings.accumulation)
        ).iterate()

    def probe(self, prepared: Prepared, model: AuraModel) -> "KnowledgeProbe":
        """Asks the encoder."""
        return KnowledgeProbe(self, model)


class KnowledgeProbe(WatchingProbe):
    """Asks the encoder `Questions`, and how alike its layers still are to the pre-trained ones."""

    def __init__(self, job: ProbingJob, model: AuraModel) -> None:
        what = (job.data, job.encoder, job.probe_rows, job.max_length)
        self._questions, self._states = questions(*what), pretrained_states(*what)
        super().__init__(job, model)

    def look(self, model: AuraModel) -> dict[str, float]:
        """probe, retrieval, and cka_1, cka_2 ... by layer."""
        states = self._questions.states(model.encoder)
        return {**self._questions.answers(states), **self._questions.likeness(states, self._states)}
