r"""How strongly each task pulls on the encoder: exact per-task gradient norms from one backward pass.

Every row of a batch belongs to one task, so the rows of :math:`\partial\,\text{total}/\partial\,\text{activation}`
split by task, and with them every parameter's gradient. For a linear layer :math:`y = Wx + b` the gradient of task k is
:math:`\sum_{r \in k} g_r x_r^\top`: its rows' share of the product that backpropagation forms anyway. One pass thus
gives the norms that one ``torch.autograd.grad`` call per task would give at as many times the cost.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.linalg import vector_norm
from torch.nn.functional import layer_norm, linear
from transformers import PreTrainedModel

from aura_study.data.batches import Batch
from aura_study.training.unpadded import runs_unpadded, task_tokens

Parts = Mapping[str, slice]


class GradientNormsByAutograd:
    """Per-task gradient norms by one backward pass per task and micro-batch: slow, obvious, for any encoder.

    Has the interface of `TaskGradientNorms`.
    """

    def __init__(self, encoder: PreTrainedModel, tasks: tuple[str, ...]) -> None:
        self._encoder = encoder
        self._tasks = tasks
        self._gradients: dict[str, list[Tensor]] = {}

    def begin(self, batch: Batch) -> None:
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
    """Norms of each task's gradient on a BERT's or RoBERTa's parameters, gathered while the total is backpropagated.

    A watched linear layer forms its weight's gradient task by task and hands autograd their sum, so that no product is
    computed twice; the sum may differ in its last bits from an unwatched layer's gradient.

    Args:
        encoder: one that `runs_unpadded` (linear layers, layer norms and embeddings that treat every token by itself).
        tasks: names, in the order of the result.
        read: whether anybody will read the norms. If not, gradients are formed the same way, to the last bit, but
            nothing is kept of them, and every norm is NaN.

    Use: ``begin(batch)`` before each forward pass, then forward and backward as usual, then ``finish()`` once per
    optimiser step. Micro-batches between two ``finish`` calls add up, as their gradients do.

    Raises:
        TypeError: another kind of encoder.
    """

    def __init__(self, encoder: PreTrainedModel, tasks: tuple[str, ...], read: bool = True) -> None:
        if not runs_unpadded(encoder):
            raise TypeError(f"task gradient norms need a BERT or RoBERTa encoder, got {type(encoder).__name__}")
        self._tasks = tasks
        self._device = encoder.device
        self._read = read
        self._parts: Parts = {}
        self._members = self._owner = torch.empty(0)
        self._dense: dict[Tensor, tuple[tuple[str, ...], Tensor]] = {}
        self._sparse: dict[nn.Embedding, list[tuple[Tensor, Tensor, Tensor]]] = {}
        hooked = {nn.LayerNorm: self._norm, nn.Embedding: self._embedding}
        for module in encoder.modules():
            if not (own := list(module.parameters(recurse=False))):
                continue
            if isinstance(module, nn.Linear):
                module.forward = partial(self._linear, module)  # type: ignore[method-assign]
            elif type(module) not in hooked:
                raise TypeError(f"no rule for {type(module).__name__} with {len(own)} parameters of its own")
            elif read:
                module.register_forward_hook(partial(self._watch, hooked[type(module)]))

    def begin(self, batch: Batch) -> None:
        """Announce the coming batch, which must go through `aura_study.training.unpadded.encode`."""
        self._parts = task_tokens(batch)
        if not self._read:
            return
        tokens = max(part.stop for part in self._parts.values())
        self._members = torch.zeros(len(self._parts), tokens, device=self._device)
        self._owner = torch.empty(tokens, dtype=torch.long, device=self._device)
        for row, (task, part) in zip(self._members, self._parts.items(), strict=True):
            row[part] = 1.0
            self._owner[part] = self._tasks.index(task)

    def observe(self, terms: Mapping[str, Tensor]) -> None:
        """Nothing to do: the backward pass itself is watched."""

    def finish(self) -> Tensor:
        """Norms since the last call, ``(tasks,)``; 0 for a task without rows, NaN while the encoder is frozen."""
        norms = self.norms()
        self._dense, self._sparse, self._parts = {}, {}, {}
        return norms

    def norms(self, scale: Callable[[Tensor], Tensor | float] = lambda parameter: 1.0) -> Tensor:
        """Norms since the last `finish`, which has still to come, of gradients times ``scale`` of their parameter."""
        found: dict[tuple[str, ...], list[Tensor]] = {}
        for parameter, (tasks, gradients) in self._dense.items():
            scaled = gradients * scale(parameter)
            found.setdefault(tasks, []).append(vector_norm(scaled.flatten(1), dim=1).float())
        for module, pieces in self._sparse.items():
            scales = torch.as_tensor(scale(module.weight), device=self._device).expand_as(module.weight)
            for owner, (places, rows) in _distinct_rows(module, pieces).items():
                norm = (rows * scales[places]).norm()
                found.setdefault((self._tasks[owner],), []).append(norm.float()[None])
        blank = torch.tensor(0.0 if found else torch.nan, device=self._device)
        norms: dict[str, list[Tensor]] = {task: [] for task in self._tasks}
        for tasks, parts in found.items():
            for task, norm in zip(tasks, vector_norm(torch.stack(parts), dim=0), strict=True):
                norms[task].append(norm)
        return torch.stack([torch.stack(parts).norm() if parts else blank for parts in norms.values()])

    def _watch(self, gather: Any, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if self._parts and output.requires_grad and any(p.requires_grad for p in module.parameters(recurse=False)):
            output.register_hook(partial(gather, module, inputs[0].detach()))

    def _linear(self, module: nn.Linear, inputs: Tensor) -> Tensor:
        if self._parts and module.weight.requires_grad and torch.is_grad_enabled():
            return _SplitLinear.apply(inputs, module.weight, module.bias, self._parts, partial(self._pulled, module))
        return linear(inputs, module.weight, module.bias)

    def _pulled(self, module: nn.Linear, weights: Tensor, pull: Tensor) -> None:
        if self._read:
            self._add(module.weight, weights)
            self._add_sums(module.bias, pull)

    def _norm(self, module: nn.LayerNorm, inputs: Tensor, gradient: Tensor) -> None:
        gradient = gradient.flatten(0, -2)
        scaled = layer_norm(inputs.flatten(0, -2), module.normalized_shape, eps=module.eps)
        self._add_sums(module.weight, gradient * scaled)
        self._add_sums(module.bias, gradient)

    def _embedding(self, module: nn.Embedding, ids: Tensor, gradient: Tensor) -> None:
        ids, pull = ids.expand(gradient.shape[:-1]).flatten(), gradient.flatten(0, -2)
        if module.padding_idx is not None:
            pull = pull * (ids != module.padding_idx).unsqueeze(-1)
        self._sparse.setdefault(module, []).append((self._owner, ids, pull))

    def _add_sums(self, parameter: Tensor | None, pull: Tensor) -> None:
        """Add each task's sum over its tokens, ``(tokens, size)`` to ``(size,)``."""
        if parameter is not None:
            self._add(parameter, self._members @ pull.float())

    def _add(self, parameter: Tensor, gradients: Tensor) -> None:
        """Keep a parameter's gradient task by task, ``(present tasks, *its shape)``."""
        if not parameter.requires_grad:
            return
        here = tuple(self._parts)
        if parameter not in self._dense:
            self._dense[parameter] = here, gradients
            return
        known, before = self._dense[parameter]
        both = dict(zip(known, before, strict=True))
        for task, gradient in zip(here, gradients, strict=True):
            both[task] = both[task] + gradient if task in both else gradient
        self._dense[parameter] = tuple(both), torch.stack(list(both.values()))


class _SplitLinear(torch.autograd.Function):
    """A linear layer whose backward pass forms the weight's gradient one task after another and shows each."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None, parts: Parts, show: Any) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        ctx.parts, ctx.show, ctx.has_bias = parts, show, bias is not None
        return linear(inputs, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None, None]:
        inputs, weight = ctx.saved_tensors
        pull, seen = gradient.flatten(0, -2), inputs.flatten(0, -2).to(gradient.dtype)
        weights = torch.stack([pull[part].T @ seen[part] for part in ctx.parts.values()]).to(weight.dtype)
        ctx.show(weights, pull)
        total = weights.sum(0)
        bias = pull.sum(0).to(weight.dtype) if ctx.has_bias else None
        return gradient @ weight.to(gradient.dtype), total, bias, None, None


def _distinct_rows(
    module: nn.Embedding, pieces: list[tuple[Tensor, Tensor, Tensor]]
) -> dict[int, tuple[Tensor, Tensor]]:
    """The rows of an embedding's gradient that are not 0, and their places in it, by owner.

    ``pieces`` are owners, token ids and their pulls.
    """
    owner, ids, pull = (torch.cat(parts) for parts in zip(*pieces, strict=True))
    distinct, row = (owner * module.num_embeddings + ids).unique(return_inverse=True)
    sums = pull.new_zeros(len(distinct), pull.shape[-1]).index_add_(0, row, pull)
    counts = (distinct // module.num_embeddings).bincount().tolist()
    places = (distinct % module.num_embeddings).split(counts)
    parts = zip(places, sums.split(counts), strict=True)
    return {owner: (where, rows) for owner, (where, rows) in enumerate(parts) if len(rows)}


def adams_scale(optimizer: torch.optim.Optimizer) -> Callable[[Tensor], Tensor]:
    r"""What Adam multiplies a parameter's gradient with, element by element, but for the learning rate.

    That is :math:`1/(\sqrt{\hat v} + \epsilon)`, with the second moment as it stands after the last step.
    """
    groups = {parameter: group for group in optimizer.param_groups for parameter in group["params"]}

    def scale(parameter: Tensor) -> Tensor:
        state, group = optimizer.state[parameter], groups[parameter]
        corrected = state["exp_avg_sq"] / (1 - group["betas"][1] ** float(state["step"]))
        return 1 / (corrected.sqrt() + group["eps"])

    return scale


GradientWatch: TypeAlias = TaskGradientNorms | GradientNormsByAutograd


def watch_gradients(encoder: PreTrainedModel, tasks: tuple[str, ...]) -> GradientWatch:
    """The fastest way to exact per-task gradient norms that ``encoder`` allows."""
    return TaskGradientNorms(encoder, tasks) if runs_unpadded(encoder) else GradientNormsByAutograd(encoder, tasks)


def unread_gradients(encoder: PreTrainedModel, tasks: tuple[str, ...]) -> TaskGradientNorms | None:
    """What a training that nobody records needs in order to equal a recorded one bit for bit; None if nothing."""
    return TaskGradientNorms(encoder, tasks, read=False) if runs_unpadded(encoder) else None
