r"""How strongly each task pulls on the encoder: exact per-task gradient norms from one backward pass.

Every row of a batch belongs to one task, so the rows of :math:`\partial\,\text{total}/\partial\,\text{activation}`
split by task, and with them every parameter's gradient. For a linear layer :math:`y = Wx + b` the gradient of task k is
:math:`\sum_{r \in k} g_r x_r^\top`: its rows' share of the product that backpropagation forms anyway. One pass thus
gives the norms that one ``torch.autograd.grad`` call per task would give at as many times the cost.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm
from transformers import PreTrainedModel, RobertaModel, XLMRobertaModel

Rows = Mapping[str, slice]


class GradientNormsByAutograd:
    """Per-task gradient norms by one backward pass per task and micro-batch: slow, obvious, for any encoder.

    Has the interface of `TaskGradientNorms`.
    """

    def __init__(self, encoder: PreTrainedModel, tasks: tuple[str, ...]) -> None:
        self._encoder = encoder
        self._tasks = tasks
        self._gradients: dict[str, list[Tensor]] = {}

    def begin(self, rows: Rows) -> None:
        """Nothing to prepare: the tasks' terms say which rows they hold."""

    def observe(self, terms: Mapping[str, Tensor]) -> None:
        """Differentiate every task's weighted term, just before their sum is backpropagated; keeps the graph."""
        parameters = [parameter for parameter in self._encoder.parameters() if parameter.requires_grad]
        for task, term in terms.items() if parameters else ():
            found = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
            gradients = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
            known = self._gradients.get(task)
            self._gradients[task] = (
                gradients if known is None else [a + b for a, b in zip(known, gradients, strict=True)]
            )

    def finish(self) -> Tensor:
        """Norms since the last call, ``(tasks,)``; 0 for a task without rows, NaN while the encoder is frozen."""
        blank = torch.tensor(0.0 if self._gradients else torch.nan, device=self._encoder.device)
        norms = {task: torch.stack([g.norm() for g in found]).norm() for task, found in self._gradients.items()}
        self._gradients = {}
        return torch.stack([norms.get(task, blank) for task in self._tasks])


class TaskGradientNorms:
    """Norms of each task's gradient on a RoBERTa encoder's parameters, gathered while the total is backpropagated.

    Args:
        encoder: a ``RobertaModel`` or ``XLMRobertaModel`` (linear layers, layer norms and embeddings that see one row
            of the batch per leading index).
        tasks: names, in the order of the result.

    Use: ``begin(rows)`` before each forward pass, then forward and backward as usual, then ``finish()`` once per
    optimiser step. Micro-batches between two ``finish`` calls add up, as their gradients do.

    Raises:
        TypeError: another kind of encoder.
    """

    def __init__(self, encoder: PreTrainedModel, tasks: tuple[str, ...]) -> None:
        if not isinstance(encoder, RobertaModel | XLMRobertaModel):
            raise TypeError(f"task gradient norms need a RoBERTa encoder, got {type(encoder).__name__}")
        self._tasks = tasks
        self._device = encoder.device
        self._rows: Rows = {}
        self._dense: dict[Tensor, dict[str, Tensor]] = {}
        self._sparse: dict[nn.Module, dict[str, list[tuple[Tensor, Tensor]]]] = {}
        gather = {nn.Linear: self._linear, nn.LayerNorm: self._norm, nn.Embedding: self._embedding}
        for module in encoder.modules():
            if own := list(module.parameters(recurse=False)):
                if type(module) not in gather:
                    raise TypeError(f"no rule for {type(module).__name__} with {len(own)} parameters of its own")
                module.register_forward_hook(partial(self._watch, gather[type(module)]))

    def begin(self, rows: Rows) -> None:
        """Announce which rows of the coming batch belong to which task."""
        self._rows = rows

    def observe(self, terms: Mapping[str, Tensor]) -> None:
        """Nothing to do: the backward pass itself is watched."""

    def finish(self) -> Tensor:
        """Norms since the last call, ``(tasks,)``; 0 for a task without rows, NaN while the encoder is frozen."""
        squares: dict[str, list[Tensor]] = {task: [] for task in self._tasks}
        for by_task in self._dense.values():
            for task, gradient in by_task.items():
                squares[task].append(gradient.square().sum())
        for per_task in self._sparse.values():
            for task, pieces in per_task.items():
                squares[task].append(_sparse_square(pieces))
        measured = bool(self._dense or self._sparse)
        self._dense, self._sparse, self._rows = {}, {}, {}
        blank = torch.tensor(0.0 if measured else torch.nan, device=self._device)
        return torch.stack([torch.stack(parts).sum().sqrt().float() if parts else blank for parts in squares.values()])

    def _watch(self, gather: Any, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if self._rows and output.requires_grad and any(p.requires_grad for p in module.parameters(recurse=False)):
            output.register_hook(partial(gather, module, inputs[0].detach(), self._rows))

    def _linear(self, module: nn.Linear, inputs: Tensor, rows: Rows, gradient: Tensor) -> None:
        for task, part in rows.items():
            pull, seen = gradient[part].flatten(0, -2), inputs[part].flatten(0, -2)
            self._add(module.weight, task, pull.T @ seen.to(pull.dtype))
            self._add(module.bias, task, pull.sum(0))

    def _norm(self, module: nn.LayerNorm, inputs: Tensor, rows: Rows, gradient: Tensor) -> None:
        scaled = gradient * layer_norm(inputs, module.normalized_shape, eps=module.eps)
        for task, part in rows.items():
            self._add(module.weight, task, scaled[part].flatten(0, -2).sum(0))
            self._add(module.bias, task, gradient[part].flatten(0, -2).sum(0))

    def _embedding(self, module: nn.Embedding, ids: Tensor, rows: Rows, gradient: Tensor) -> None:
        ids = ids.expand(gradient.shape[:-1])
        for task, part in rows.items():
            index, pull = ids[part].flatten(), gradient[part].flatten(0, -2)
            if module.padding_idx is not None:
                pull = pull * (index != module.padding_idx).unsqueeze(-1)
            self._sparse.setdefault(module, {}).setdefault(task, []).append((index, pull))

    def _add(self, parameter: Tensor | None, task: str, gradient: Tensor) -> None:
        if parameter is None or not parameter.requires_grad:
            return
        by_task = self._dense.setdefault(parameter, {})
        by_task[task] = by_task[task] + gradient if task in by_task else gradient


def _sparse_square(pieces: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Squared norm of an embedding's gradient, from token ids and their pulls, without forming the whole table."""
    index = torch.cat([ids for ids, _ in pieces])
    pull = torch.cat([gradient for _, gradient in pieces])
    distinct, place = index.unique(return_inverse=True)
    return pull.new_zeros(len(distinct), pull.shape[-1]).index_add_(0, place, pull).square().sum()


def watch_gradients(encoder: PreTrainedModel, tasks: tuple[str, ...]) -> TaskGradientNorms | GradientNormsByAutograd:
    """The fastest way to exact per-task gradient norms that ``encoder`` allows."""
    fast = isinstance(encoder, RobertaModel | XLMRobertaModel)
    return TaskGradientNorms(encoder, tasks) if fast else GradientNormsByAutograd(encoder, tasks)
