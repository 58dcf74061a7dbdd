"""An encoder whose lower layers do not learn: what they make of a row is computed once and kept.

A step then costs the upper layers alone. The lower ones run without dropout, as they do when a model is used; so this
is not quite the training that only leaves their parameters where they are.
"""

from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from aura_study.training.unpadded import runs_unpadded


class FrozenLayers:
    """Embeddings and lowest layers of an encoder, with what they have made of every row so far.

    Rows are run one by one, so that what is kept depends on the row alone and not on the batch that it first stood in.
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
    def states(self, row: Tensor) -> Tensor:
        """Hidden states ``(tokens, hidden)`` of one row's token ids, ``(tokens,)``."""
        key = row.cpu().numpy().tobytes()
        if key not in self._kept:
            self._kept[key] = self._encoder.to(row.device)(input_ids=row[None]).last_hidden_state[0]
        return self._kept[key]


class _InPlaceOfEmbeddings(nn.Module):
    """Hands an encoder the states of frozen layers, none of whose parameters are its own, as if they were embeddings."""

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
