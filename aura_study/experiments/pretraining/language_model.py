"""The pre-training that fine-tuning can ruin: a RoBERTa trained by masked language modelling on the corpus.

The texts are the training texts of all four tasks, without their labels. More of their tokens are hidden than BERT's
15 %, so that a short training sees more of them (Wettig et al. 2023, arXiv:2202.08005, find 40 % to serve as well).
Two more things are not RoBERTa's, for a small model that sees few tokens: its weights start larger, and nothing is
dropped. The checkpoint is kept in the user's cache, so that the same pre-training is done once. Any other checkpoint
with a language-model head can take its place.
"""

import copy
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pooch
import torch
from pydantic import Field
from torch import nn
from tqdm import tqdm
from transformers import (
    AutoModelForMaskedLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    RobertaConfig,
    RobertaForMaskedLM,
    get_linear_schedule_with_warmup,
)

from aura_study.data import schedules
from aura_study.data.batches import Batches
from aura_study.data.corpus import Corpus
from aura_study.data.encoders import encoder_folder
from aura_study.data.quiet import first_line, quietly
from aura_study.data.registry import DEFAULT_DATASET, load_corpus
from aura_study.data.scratch import scratch
from aura_study.data.tokenization import corpus_tokenizer, pretrained_tokenizer, tokenize_splits
from aura_study.runs.fingerprint import digest
from aura_study.runs.jobs import Job, is_finished, job_path, keep_table
from aura_study.runs.parameters import Data
from aura_study.training.masked_lm import Masking, counting_losses, masked_texts, mlm_losses, mlm_test
from aura_study.training.model import build_encoder, training_device
from aura_study.training.unpadded import longest_row

CURVE_POINTS = 20
SPREAD = 0.06
"""Standard deviation of the weights at the start. RoBERTa's 0.02 is for 768 units; from it a model of these 128 takes
much longer to look at more than one token."""


class PretrainingJob(Job):
    """One pre-training by masked language modelling; equal jobs give equal checkpoints on equal texts."""

    code = ("import aura_study.experiments.pretraining.language_model",)

    name: str = "mlm_curve"
    data: Data = DEFAULT_DATASET
    rows: int | None = Field(None, ge=1, description="most training rows per task")
    dev_rows: int | None = Field(None, ge=1, description="most development rows per task, for the learning curve")
    max_length: int = Field(64, ge=4, le=512)
    steps: int = Field(1000, ge=1)
    batch_size: int = Field(64, ge=4)
    lr: float = Field(1e-3, gt=0, description="AdamW's peak rate: up over a tenth of the steps, then down")
    beta2: float = Field(0.98, ge=0, lt=1, description="AdamW's b2, RoBERTa's")
    hidden: float = Field(0.4, gt=0, lt=1, description="share of the tokens that are to be predicted")
    seed: int = Field(0, ge=0)

    def corpus(self) -> Corpus:
        """The texts."""
        return load_corpus(self.data, rows=self.rows, dev_rows=self.dev_rows)


@dataclass(frozen=True)
class Checkpoint:
    """A pre-trained encoder, a copy of its language-model head that shares no weight with it, and their tokenizer."""

    encoder: PreTrainedModel
    head: nn.Module
    tokenizer: PreTrainedTokenizerBase


def pretrain(job: PretrainingJob, cache: Path | None = None, progress: str | None = "pre-training") -> Path:
    """Folder of the job's checkpoint, trained first if it is not kept yet: model, tokenizer and learning curve.

    Args:
        job: what to train.
        cache: folder of kept checkpoints, the user's cache if not given.
        progress: label of the progress bar; none if not given.
    """
    folder = checkpoint_folder(job, cache)
    if not is_finished(job, folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with scratch(".pre-training-", folder.parent) as place:
            fresh = place / folder.name
            _train(job, fresh, progress)
            shutil.rmtree(folder, ignore_errors=True)  # of a record that was damaged
            try:
                fresh.rename(folder)
            except OSError:
                if not is_finished(job, folder):  # unless another process has just finished the same
                    raise
    return folder


def checkpoint_folder(job: PretrainingJob, cache: Path | None = None) -> Path:
    """Where the checkpoint of ``job`` is kept, named by a digest of the job, the package's code and the texts."""
    content = f"{job.key()} {_texts_digest(job)}"
    cache = cache or Path(pooch.os_cache("aura_study")) / "checkpoints"
    return cache / f"mlm-{digest(content.encode())[:20]}"


@lru_cache(maxsize=4)
def _texts_digest(job: PretrainingJob) -> str:
    return job.corpus().digest


def learning_curve(folder: Path, job: PretrainingJob) -> pd.DataFrame:
    """Test loss of the masked language model over the steps of its pre-training, with what counting reaches.

    Columns: step, tokens (predicted so far), mlm_loss, unigram, bigram; losses in nats on the same hidden tokens.
    """
    return pd.read_parquet(job_path(job, folder))


def checkpoint_test(name: str, job: PretrainingJob) -> pd.DataFrame:
    """The one row of a `learning_curve` that a checkpoint from elsewhere has: its loss on the job's texts.

    Raises:
        ValueError: see `load_checkpoint`.
    """
    checkpoint = load_checkpoint(name, job.max_length)
    corpus, tokenizer = job.corpus(), checkpoint.tokenizer
    dev = masked_texts(tokenize_splits(corpus.dev, tokenizer, job.max_length), Masking(tokenizer, only_mask=True))
    train = tokenize_splits(corpus.train, tokenizer, job.max_length)
    loss, _ = mlm_test(checkpoint.encoder, checkpoint.head, dev)
    return pd.DataFrame([{"step": 0, "tokens": 0, "mlm_loss": loss, **counting_losses(train, dev, len(tokenizer))}])


def _train(job: PretrainingJob, folder: Path, progress: str | None) -> None:
    corpus = job.corpus()
    tokenizer = corpus_tokenizer(corpus)
    train = tokenize_splits(corpus.train, tokenizer, job.max_length)
    test = masked_texts(tokenize_splits(corpus.dev, tokenizer, job.max_length), Masking(tokenizer, only_mask=True))
    counted = counting_losses(train, test, len(tokenizer))
    batches = Batches(train, schedules.mixed(corpus.sizes, job.batch_size, job.seed)).iterate()
    masking, generator = Masking(tokenizer, share=job.hidden), np.random.default_rng(job.seed)
    device = training_device()
    test = [part.to(device) for part in test]
    rows, tokens = [], 0
    with _one_thread(), torch.random.fork_rng():
        torch.manual_seed(job.seed)
        blank = build_encoder("tiny", len(tokenizer), job.max_length, job.seed, tokenizer.pad_token_id)
        config = cast(RobertaConfig, blank.config)
        dropout, config.hidden_dropout_prob, config.initializer_range = config.hidden_dropout_prob, 0.0, SPREAD
        model = RobertaForMaskedLM(config)
        nn.Module.to(model, device)
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=job.lr, betas=(0.9, job.beta2), weight_decay=0.01, fused=True
        )
        schedule = get_linear_schedule_with_warmup(optimizer, job.steps // 10, job.steps)
        measured = set(np.linspace(0, job.steps, CURVE_POINTS + 1).astype(int).tolist())
        for step in tqdm(range(job.steps + 1), desc=progress, disable=progress is None, unit="step", mininterval=1.0):
            if step in measured:
                loss, _ = mlm_test(model.roberta, model.lm_head, test)
                rows.append({"step": step, "tokens": tokens, "mlm_loss": loss, **counted})
            if step == job.steps:
                break
            model.train()
            part = masking(next(batches), generator).to(device)
            tokens += len(part.targets)
            optimizer.zero_grad()
            mlm_losses(model.roberta, model.lm_head, part)[0].mean().backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    config.hidden_dropout_prob = dropout  # for whoever fine-tunes it
    with quietly():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    keep_table(job, pd.DataFrame(rows), folder)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums in the same order on every machine, whatever its number of cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def load_checkpoint(name: str, max_length: int) -> Checkpoint:
    """A checkpoint trained by masked language modelling, from a local folder or the hub's cache.

    Args:
        name: folder or hub id, as `aura_study.data.encoders.encoder_folder` takes it.
        max_length: longest row in tokens that it must take.

    Raises:
        ValueError: nothing that loads, no language-model head or no tokenizer with a mask in it, or one whose rows are
            too short; the message names the checkpoint.
    """
    try:
        folder = encoder_folder(name)
        with quietly():
            model, report = AutoModelForMaskedLM.from_pretrained(
                folder, use_safetensors=True, trust_remote_code=False, local_files_only=True, output_loading_info=True
            )
        tokenizer = pretrained_tokenizer(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"checkpoint {name!r} is no local folder or hub id of a masked language model: {first_line(error)}"
        ) from error
    if missing := sorted(report["missing_keys"]):
        raise ValueError(f"checkpoint {name!r} is no whole masked language model; it lacks {missing[:3]}")
    head = getattr(model, "lm_head", None) or getattr(model, "cls", None)
    if head is None:
        raise ValueError(f"checkpoint {name!r} is a {type(model).__name__}: no lm_head (RoBERTa) or cls (BERT) in it")
    if tokenizer.mask_token_id is None:
        raise ValueError(f"the tokenizer of checkpoint {name!r} has no mask token")
    encoder = model.base_model
    if (room := longest_row(encoder)) is not None and max_length > room:
        raise ValueError(f"checkpoint {name!r} takes rows of at most {room} tokens, not max_length={max_length}")
    return Checkpoint(encoder, copy.deepcopy(head).requires_grad_(False), tokenizer)
