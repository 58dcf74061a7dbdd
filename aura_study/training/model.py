"""AURA's model: one transformer encoder under task-specific attention heads.

Above the encoder stands, for each task, a block of multi-head self-attention (8 heads, dropout, residual, layer norm),
masked mean pooling and a linear layer. A block runs on the rows of its own task only: the other rows of the batch
cannot contribute to its loss.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear
from transformers import AutoModel, PreTrainedModel, RobertaConfig, RobertaModel

from aura_study.data.batches import Batch
from aura_study.data.encoders import encoder_folder
from aura_study.data.quiet import first_line, quietly
from aura_study.data.registry import BUILT
from aura_study.data.tasks import Task
from aura_study.training.unpadded import TokenLayout, encode, longest_row

# Dropout on attention weights keeps torch's fused attention kernel from running on CPUs, at about twice the cost of a
# step; the tiny model drops hidden states only.
TINY: dict[str, Any] = {
    "num_hidden_layers": 2,
    "hidden_size": 128,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "attention_probs_dropout_prob": 0.0,
}


def training_device() -> torch.device:
    """Where models are trained: the GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def build_encoder(encoder: str, vocabulary: int, max_length: int, seed: int, pad_token_id: int = 1) -> PreTrainedModel:
    """A transformers encoder without pooler, ready to train on the rows that are announced.

    Args:
        encoder: a name of `aura_study.data.registry.ENCODERS`, a local folder, or a hub id.
        vocabulary: number of token ids in the rows.
        max_length: longest row in tokens.
        seed: of the random initialisation of the encoder that is built here.
        pad_token_id: id of the padding token, for that one.

    Raises:
        MissingDataError: the encoder is not on this machine.
        DataError: its files are not what they should be.
        ValueError: weights that do not load or are not all there, a model that is no encoder of texts, or one with
            fewer positions or tokens than the rows need. All name the encoder.
    """
    if encoder == BUILT:
        config = RobertaConfig(
            vocab_size=vocabulary,
            max_position_embeddings=max_length + pad_token_id + 1,
            type_vocab_size=1,
            pad_token_id=pad_token_id,
            **TINY,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return RobertaModel(config, add_pooling_layer=False)
    model = _load(encoder)
    _refuse_what_reads_no_text(encoder, model)
    if (room := longest_row(model)) is not None and max_length > room:
        raise ValueError(f"encoder {encoder!r} takes rows of at most {room} tokens, not max_length={max_length}")
    if vocabulary > (known := model.config.vocab_size):
        raise ValueError(f"encoder {encoder!r} knows {known} tokens, and its tokenizer makes {vocabulary}")
    return model.train()  # as one that is built


def _load(encoder: str) -> PreTrainedModel:
    """The encoder from its files, every weight of it."""
    folder = encoder_folder(encoder)
    try:
        with quietly(), torch.random.fork_rng(devices=[]):  # a pooler that the files lack is drawn
            model, report = AutoModel.from_pretrained(
                folder, use_safetensors=True, trust_remote_code=False, local_files_only=True, output_loading_info=True
            )
    except Exception as error:  # whatever transformers makes of files that are not what it expects
        raise ValueError(f"encoder {encoder!r} could not be loaded from {folder}: {first_line(error)}") from error
    if missing := sorted(key for key in report["missing_keys"] if not key.startswith("pooler.")):
        raise ValueError(f"encoder {encoder!r} in {folder} is no whole {type(model).__name__}; it lacks {missing[:3]}")
    if hasattr(model, "pooler"):
        model.pooler = None  # of the first token alone; the heads pool for themselves
    return model


@torch.no_grad()
def _refuse_what_reads_no_text(encoder: str, model: PreTrainedModel) -> None:
    """Nothing, if the model gives a hidden state for each of two tokens."""
    tokens = torch.ones(1, 2, dtype=torch.long)
    try:
        states = model(input_ids=tokens, attention_mask=tokens).last_hidden_state
        if states.shape != (1, 2, model.config.hidden_size):
            raise ValueError(f"it gives states of shape {tuple(states.shape)} for two tokens")
    except Exception as error:  # whatever a model for something else says to two tokens
        raise ValueError(
            f"encoder {encoder!r} is a {type(model).__name__}, no encoder of texts: {first_line(error)}. BERT, RoBERTa "
            "and XLM-RoBERTa run without padding, other encoders of texts padded"
        ) from error


class TaskHead(nn.Module):
    """The parameters of one task: self-attention, layer norm, a linear layer. `TaskHeads` runs all tasks' at once."""

    def __init__(self, hidden: int, outputs: int, heads: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(hidden, heads, dropout=attention_dropout, batch_first=True)
        self.norm = nn.LayerNorm(hidden)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(hidden, outputs)

    def project(self, states: Tensor) -> Tensor:
        """Queries, keys and values side by side: ``(tokens, hidden)`` to ``(tokens, 3 hidden)``."""
        return linear(states, self.attention.in_proj_weight, self.attention.in_proj_bias)

    def classify(self, pooled: Tensor) -> Tensor:
        """Logits ``(rows, outputs)`` of normalised and pooled states, ``(rows, hidden)``.

        The layer norm's scale and shift come after the mean over tokens, with which they commute.
        """
        return self.classifier(self.dropout(torch.addcmul(self.norm.bias, pooled, self.norm.weight)))


class TaskHeads(nn.ModuleDict):
    """`TaskHead` by task, run on their own rows all at once.

    What has no parameters (attention itself, dropout, normalisation, pooling) runs once for the rows of all tasks; a
    matrix product per task is what is left.
    """

    def forward(self, states: Tensor, layout: TokenLayout, rows: Mapping[str, slice]) -> dict[str, Tensor]:
        """Logits by task, each ``(its rows, outputs)``.

        Args:
            states: ``(tokens, hidden)``, rows end to end as ``layout`` says.
            layout: of all rows.
            rows: those of each task; consecutive, in order, all rows together.
        """
        heads: list[Any] = [self[task] for task in rows]
        tokens = [sum(layout.lengths[part]) for part in rows.values()]
        lengths = [part.stop - part.start for part in rows.values()]
        any_head = heads[0]
        projected = torch.cat([head.project(part) for head, part in zip(heads, states.split(tokens), strict=True)])
        query, key, value = projected.unflatten(1, (3, any_head.attention.num_heads, -1)).permute(1, 2, 0, 3)
        attended = layout.attend(query, key, value, any_head.attention.dropout if self.training else 0.0)
        parts = attended.transpose(0, 1).flatten(1).split(tokens)
        mixed = torch.cat([head.attention.out_proj(part) for head, part in zip(heads, parts, strict=True)])
        normed = layer_norm(states + any_head.dropout(mixed), any_head.norm.normalized_shape, eps=any_head.norm.eps)
        pooled = layout.mean(normed).split(lengths)
        return {task: head.classify(part) for task, head, part in zip(rows, heads, pooled, strict=True)}


class AuraModel(nn.Module):
    """Encoder with one `TaskHead` per task.

    Args:
        encoder: any transformers encoder whose output has ``last_hidden_state``.
        tasks: the tasks, in order.
        heads: attention heads per task head.
        dropout: on hidden states in the task heads; the encoder has its own.
        attention_dropout: on attention weights in the task heads; ``dropout`` if not given, as in AURA.
        seed: of the heads' random initialisation.
    """

    def __init__(
        self,
        encoder: PreTrainedModel,
        tasks: tuple[Task, ...],
        heads: int = 8,
        dropout: float = 0.3,
        attention_dropout: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        hidden = encoder.config.hidden_size
        if hidden % heads:
            raise ValueError(f"the encoder's hidden size {hidden} is not a multiple of heads={heads}")
        self.encoder = encoder
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.heads = TaskHeads(
                {
                    task.name: TaskHead(
                        hidden,
                        task.outputs,
                        heads,
                        dropout,
                        dropout if attention_dropout is None else attention_dropout,
                    )
                    for task in tasks
                }
            )

    @property
    def device(self) -> torch.device:
        """Where the model stands."""
        return next(self.parameters()).device

    def set_dropout(self, dropout: float) -> None:
        """Give every dropout layer, the encoder's too, this probability."""
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout
            elif isinstance(module, nn.MultiheadAttention):
                module.dropout = dropout

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Logits of the tasks present in ``batch``, each of shape ``(its rows, outputs)``."""
        states, layout = encode(self.encoder, batch)
        return self.heads(states, layout, batch.rows)
