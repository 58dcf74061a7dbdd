"""Running a BERT or RoBERTa on the real tokens of a batch alone: rows laid end to end, no padding computed.

Linear layers, norms and dropouts treat every token by itself, so they need no rows; attention alone must know where
each row ends. transformers lets a model's attention be replaced by name: the function registered here splits the flat
tokens into rows, attends within each, and lays the results end to end again. On real texts, where a batch is padded to
its longest row, more than half of a padded batch is padding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    BertModel,
    PreTrainedModel,
    RobertaModel,
    XLMRobertaModel,
)
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from aura_study.data.batches import Batch

NAME = "aura_unpadded"


@dataclass(frozen=True)
class TokenLayout:
    """Where the rows of a flat sequence of tokens begin and end.

    Attributes:
        lengths: tokens of each row, in order.
        device: where the tokens live.
    """

    lengths: Sequence[int]
    device: torch.device

    @cached_property
    def _places(self) -> tuple[Tensor, Tensor]:
        """Place of each token in a padded batch, ``(tokens,)``, and which places are real, ``(rows, longest)``."""
        lengths = torch.tensor(self.lengths, device=self.device)
        real = torch.arange(max(self.lengths), device=self.device) < lengths.unsqueeze(1)
        return real.flatten().nonzero().squeeze(1), real

    def part(self, rows: slice) -> tuple[slice, "TokenLayout"]:
        """The tokens of consecutive rows, and their own layout."""
        start = sum(self.lengths[: rows.start])
        chosen = self.lengths[rows]
        return slice(start, start + sum(chosen)), TokenLayout(chosen, self.device)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, dropout: float = 0.0) -> Tensor:
        """Scaled dot-product attention within each row; all of shape ``(heads, tokens, size)``.

        Row by row on a CPU, where a call is cheap and needs no mask; in one padded call on other devices.
        """
        if self.device.type == "cpu":
            return self.attend_by_row(query, key, value, dropout)
        return self.attend_padded(query, key, value, dropout)

    def attend_by_row(self, query: Tensor, key: Tensor, value: Tensor, dropout: float = 0.0) -> Tensor:
        """`attend`, one call per row."""
        rows = zip(*(tensor.unsqueeze(0).split(self.lengths, 2) for tensor in (query, key, value)), strict=True)
        return torch.cat([scaled_dot_product_attention(q, k, v, dropout_p=dropout) for q, k, v in rows], 2).squeeze(0)

    def attend_padded(self, query: Tensor, key: Tensor, value: Tensor, dropout: float = 0.0) -> Tensor:
        """`attend`, one call for all rows, padded to the longest."""
        places, real = self._places

        def pad(tensor: Tensor) -> Tensor:
            heads, _, size = tensor.shape
            blank = tensor.new_zeros(heads, real.numel(), size)
            return blank.index_copy(1, places, tensor).unflatten(1, real.shape).transpose(0, 1)

        mask = real[:, None, None, :]
        padded = scaled_dot_product_attention(pad(query), pad(key), pad(value), mask, dropout_p=dropout)
        return padded.transpose(0, 1).flatten(1, 2).index_select(1, places)

    def mean(self, states: Tensor) -> Tensor:
        """Mean over each row's tokens: ``(tokens, hidden)`` to ``(rows, hidden)``."""
        return torch.segment_reduce(states, "mean", lengths=torch.tensor(self.lengths, device=self.device), axis=0)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    layout: TokenLayout | None = None,
    dropout: float = 0.0,
    **others: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attention in the form that transformers asks for: ``(1, heads, tokens, size)`` to ``(1, tokens, heads, size)``.

    Without a layout, that of a padded batch.
    """
    if layout is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout=dropout, **others)
    return layout.attend(query[0], key[0], value[0], dropout).transpose(0, 1).unsqueeze(0), None


AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, sdpa_mask)


def runs_unpadded(encoder: PreTrainedModel) -> bool:
    """Whether `encode` can leave out the padding of this encoder: BERT, RoBERTa and XLM-RoBERTa, reading both ways."""
    return isinstance(encoder, BertModel | RobertaModel | XLMRobertaModel) and not encoder.config.is_decoder


def first_position(encoder: PreTrainedModel) -> int:
    """Position of a row's first token: 0 in BERT; RoBERTa keeps one for padding and counts from the one after it."""
    table: Any = encoder.get_submodule("embeddings.position_embeddings")
    return 0 if table.padding_idx is None else table.padding_idx + 1


def longest_row(encoder: PreTrainedModel) -> int | None:
    """Most tokens of a row that the encoder has positions for; none: it does not say."""
    if not runs_unpadded(encoder):
        return getattr(encoder.config, "max_position_embeddings", None)
    return encoder.config.max_position_embeddings - first_position(encoder)


def encode(encoder: PreTrainedModel, batch: Batch) -> tuple[Tensor, TokenLayout]:
    """Hidden states of the batch's real tokens, ``(tokens, hidden)``, rows end to end, and where the rows lie."""
    real = batch.attention_mask.bool()
    layout = TokenLayout(batch.attention_mask.sum(1).tolist(), batch.input_ids.device)
    if not runs_unpadded(encoder):
        states = encoder(input_ids=batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state
        return states[real], layout
    if encoder.config._attn_implementation != NAME:
        encoder.set_attn_implementation(NAME)
    position = batch.attention_mask.cumsum(1)[real] - 1 + first_position(encoder)
    ids = batch.input_ids[real]
    states = encoder(input_ids=ids[None], position_ids=position[None], layout=layout).last_hidden_state
    return states[0], layout


def task_tokens(batch: Batch) -> dict[str, slice]:
    """Where each task's tokens lie among the states that `encode` gives."""
    layout = TokenLayout(batch.attention_mask.sum(1).tolist(), batch.input_ids.device)
    return {task: layout.part(rows)[0] for task, rows in batch.rows.items()}
