"""An encoder whose lower layers do not learn: what they make of a row is computed once and kept.

A step then costs the upper layers alone. The lower ones run without dropout, as they do when a model is used; so this
is not quite the training that only leaves their parameters where they are.
"""

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from aura_study.data.batches import dev_batches
from aura_study.data.tokenization import TokenizedSplit
from aura_study.training.unpadded import encode, runs_unpadded


class FrozenLayers:
    """Embeddings and lowest layers of an encoder, with what they have made of every row so far.

    Copies of a model share it.

    Args:
        encoder: one that `runs_unpadded`; it is taken over.
        count: of layers, from below.

    Raises:
        ValueError: another kind of encoder, or a count that leaves no layer to train.
    """

    def __init__(self, encoder: PreTrainedModel, count: int) -> None:
        del _layers(encoder, count)[count:]
        self._encoder = encoder.eval().requires_grad_(False)
        self._kept: dict[bytes, Tensor] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # it never changes

    @property
    def position_embeddings(self) -> nn.Module:
        """The table of positions."""
        return self._encoder.get_submodule("embeddings.position_embeddings")

    @torch.no_grad()
    def read(self, splits: Mapping[str, TokenizedSplit], device: torch.device) -> None:
        """Run all rows of some texts, in batches whose make-up depends on these texts alone.

        So later numbers do not depend, not even in their last bits, on which rows a training happens to meet first.
        """
        self._encoder.to(device)
        for task, split in splits.items():
            for batch in dev_batches(task, split):
                states, layout = encode(self._encoder, batch.to(device))
                rows = batch.input_ids[batch.attention_mask.bool()].split(layout.lengths)
                for row, made in zip(rows, states.split(layout.lengths), strict=True):
                    self._kept.setdefault(_key(row), made)

    @torch.no_grad()
    def states(self, row: Tensor) -> Tensor:
        """Hidden states ``(tokens, hidden)`` of one row's token ids, ``(tokens,)``."""
        if (key := _key(row)) not in self._kept:
            self._kept[key] = self._encoder.to(row.device)(input_ids=row[None]).last_hidden_state[0]
        return self._kept[key]


def _key(row: Tensor) -> bytes:
    return row.cpu().numpy().tobytes()


class _InPlaceOfEmbeddings(nn.Module):
    """Hands an encoder the states of frozen layers as if they were embeddings; it has none of their parameters."""

    def __init__(self, frozen: FrozenLayers) -> None:
        super().__init__()
        self._frozen = frozen

    @property
    def position_embeddings(self) -> nn.Module:
        """That of the frozen layers."""
        return self._frozen.position_embeddings

    def forward(self, input_ids: Tensor, position_ids: Tensor, **others: Any) -> Tensor:
        """``(1, tokens, hidden)`` of rows end to end, each of which begins at the first position."""
        starts = (position_ids[0] == position_ids[0, 0]).nonzero().flatten().tolist()
        return torch.cat([self._frozen.states(row) for row in input_ids[0].tensor_split(starts[1:])])[None]


def train_above(encoder: PreTrainedModel, frozen: FrozenLayers, count: int) -> PreTrainedModel:
    """``encoder``, changed in place: its embeddings and lowest ``count`` layers make way for ``frozen``."""
    del _layers(encoder, count)[:count]
    encoder.set_submodule("embeddings", _InPlaceOfEmbeddings(frozen))
    return encoder


def _layers(encoder: PreTrainedModel, count: int) -> Any:
    """The encoder's layers, of which ``count`` may be frozen."""
    if not runs_unpadded(encoder):
        raise ValueError(f"frozen_layers needs a BERT or RoBERTa encoder, got {type(encoder).__name__}")
    layers: Any = encoder.get_submodule("encoder.layer")
    if not 1 <= count < len(layers):
        raise ValueError(f"frozen_layers must lie between 1 and {len(layers) - 1} for this encoder, got {count}")
    return layers
