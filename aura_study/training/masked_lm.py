"""Masked language modelling: hiding tokens of a batch, the loss on them, and what counting alone would reach."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from aura_study.data.batches import Batch, dev_batches
from aura_study.data.tokenization import TokenizedSplit
from aura_study.training.unpadded import encode

CHOSEN = 0.15
"""Share of the tokens that are chosen to be predicted in a test (Devlin et al. 2019)."""
MASKED, REPLACED = 0.8, 0.1
"""Of the chosen tokens: shares turned into the mask and into a random token; the rest stays as it is."""

Head = Callable[[Tensor], Tensor]
"""From hidden states ``(tokens, hidden)`` to logits ``(tokens, vocabulary)``."""


@dataclass(frozen=True)
class MaskedBatch:
    """A batch with some tokens hidden.

    Attributes:
        batch: the texts as the model sees them.
        chosen: bool ``(tokens,)``, over the real tokens laid end to end: those to predict.
        targets: int64 ``(chosen tokens,)``, what stood there.
    """

    batch: Batch
    chosen: Tensor
    targets: Tensor

    def to(self, device: torch.device | str) -> "MaskedBatch":
        """The same batch on ``device``."""
        return MaskedBatch(self.batch.to(device), self.chosen.to(device), self.targets.to(device))


class Masking:
    """Hides tokens of a batch: each real token that is not special is chosen with the same probability.

    Args:
        tokenizer: knows the special tokens and the vocabulary.
        only_mask: turn every chosen token into the mask; otherwise 80 % of them, 10 % into a random token, and 10 %
            stay. Training takes the mixture. A test takes the mask alone: on tokens that stay, copying beats counting
            without any knowledge of the language.
        share: of the tokens that are chosen.

    Raises:
        ValueError: a tokenizer without a mask token.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, only_mask: bool = False, share: float = CHOSEN) -> None:
        if tokenizer.mask_token_id is None:
            raise ValueError("masked language modelling needs a tokenizer with a mask token")
        self._special = np.array(sorted(tokenizer.all_special_ids))
        self._ordinary = np.setdiff1d(np.arange(len(tokenizer)), self._special)
        self._mask = tokenizer.mask_token_id
        self._share, self._only_mask = share, only_mask

    def __call__(self, batch: Batch, generator: np.random.Generator) -> MaskedBatch:
        """``batch`` with tokens hidden, perhaps none of a small one."""
        real = batch.attention_mask.numpy().astype(bool)
        ids = batch.input_ids.numpy()[real]
        chosen = ~np.isin(ids, self._special) & (generator.random(ids.size) < self._share)
        fate = np.zeros(ids.size) if self._only_mask else generator.random(ids.size)
        seen = np.where(chosen & (fate < MASKED), self._mask, ids)
        replaced = chosen & (fate >= MASKED) & (fate < MASKED + REPLACED)
        seen[replaced] = generator.choice(self._ordinary, replaced.sum())
        shown = batch.input_ids.numpy().copy()
        shown[real] = seen
        hidden = replace(batch, input_ids=torch.from_numpy(shown))
        return MaskedBatch(hidden, torch.from_numpy(chosen), torch.from_numpy(ids[chosen]))


def masked_texts(splits: Mapping[str, TokenizedSplit], masking: Masking, seed: int = 0) -> list[MaskedBatch]:
    """Every row once, the same tokens hidden whoever asks: what all models are tested on."""
    generator = np.random.default_rng(seed)
    return [masking(batch, generator) for task, split in splits.items() for batch in dev_batches(task, split)]


def mlm_losses(encoder: PreTrainedModel, head: Head, masked: MaskedBatch) -> tuple[Tensor, Tensor]:
    """Cross-entropy of each chosen token, ``(chosen tokens,)``, and the last hidden states of all real tokens.

    The head sees the chosen tokens alone: the others have no loss.
    """
    states, _ = encode(encoder, masked.batch)
    return cross_entropy(head(states[masked.chosen]), masked.targets, reduction="none"), states


@torch.no_grad()
def mlm_test(encoder: PreTrainedModel, head: Head, masked: Sequence[MaskedBatch]) -> tuple[float, Tensor]:
    """Mean cross-entropy over all chosen tokens, in nats, and the hidden states of all tokens that were not chosen.

    Dropout is off, gradients are not taken, and the encoder's mode is left as it was.
    """
    training = encoder.training
    encoder.eval()
    found = [mlm_losses(encoder, head, part) for part in masked]
    encoder.train(training)
    kept = [states[~part.chosen] for part, (_, states) in zip(masked, found, strict=True)]
    return float(torch.cat([losses for losses, _ in found]).mean()), torch.cat(kept)


def counting_losses(
    train: Mapping[str, TokenizedSplit], masked: Sequence[MaskedBatch], vocabulary: int, prior: float = 1.0
) -> dict[str, float]:
    """What counting reaches on the same hidden tokens, in nats: keys ``unigram`` and ``bigram``.

    The unigram gives each token its share of the training tokens (one added to every count). The bigram gives it its
    share after the left neighbour that the model sees, with ``prior`` counts spread as the unigram; after a mask, which
    training texts do not hold, it is the unigram.
    """
    rows = [part for split in train.values() for part in np.split(split.ids, split.offsets[1:-1])]
    counts = np.bincount(np.concatenate([row[1:-1] for row in rows]), minlength=vocabulary) + 1.0
    unigram = counts / counts.sum()
    left = np.concatenate([row[:-2] for row in rows]).astype(np.int64)
    right = np.concatenate([row[1:-1] for row in rows])
    pairs, seen = np.unique(left * vocabulary + right, return_counts=True)
    of_pair = dict(zip(pairs.tolist(), seen.tolist(), strict=True))
    of_left = np.bincount(left, minlength=vocabulary)
    targets, neighbours = [], []
    for part in masked:
        shown = part.batch.input_ids.numpy()[part.batch.attention_mask.numpy().astype(bool)]
        targets.append(part.targets.numpy())
        neighbours.append(shown[np.flatnonzero(part.chosen.numpy()) - 1])  # row's first token is special: never chosen
    target, neighbour = np.concatenate(targets), np.concatenate(neighbours)
    together = np.array([of_pair.get(pair, 0) for pair in (neighbour * vocabulary + target).tolist()])
    bigram = (together + prior * unigram[target]) / (of_left[neighbour] + prior)
    return {"unigram": float(-np.log(unigram[target]).mean()), "bigram": float(-np.log(bigram).mean())}
