"""What was tried to make training faster, beside what the study does: ways of the encoder, ways of two seeds at once.

The batches of `training.py`, without dropout. The ways of one table take turns within one run. A way that this torch or
this transformers cannot run says so.
"""

import argparse
import threading
from collections.abc import Callable
from functools import partial

import torch
from joblib import Parallel, delayed
from timing import interleaved, report
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn.functional import scaled_dot_product_attention
from training import Subject, data_here, subject

from aura_study.data.batches import Batch
from aura_study.data.registry import DATASETS
from aura_study.training.loop import train
from aura_study.training.unpadded import TokenLayout, encode


def timed(title: str, ways: dict[str, Callable[[], object]], turns: int) -> None:
    """Report each way's time over that of the first; ways that fail are told apart."""
    rows: dict[str, str] = {}
    for name in list(ways):
        try:
            ways[name]()
        except Exception as error:  # whatever a library raises is the finding
            ways.pop(name)
            rows[name] = f"does not run: {type(error).__name__}: {str(error).splitlines()[0][:90]}"
    times = {name: values.min() for name, values in interleaved(ways, turns).items()}
    first = next(iter(times.values()))
    report(title, {**{name: f"{value / first:.2f} ×" for name, value in times.items()}, **rows})


def each(batches: list[Batch], step: Callable[[Batch], Tensor], model: nn.Module) -> None:
    """Forward and backward on every batch."""
    for batch in batches:
        model.zero_grad()
        step(batch).backward()


def encoders(work: Subject, batches: list[Batch]) -> dict[str, Callable[[], object]]:
    """Ways to run the encoder forward and backward on the same tokens, one thread."""
    own, plain, eager, mixed, compiled = (work.model().eval() for _ in range(5))
    plain.encoder.set_attn_implementation("sdpa")
    eager.encoder.set_attn_implementation("eager")
    fast = torch.compile(compiled.encoder, dynamic=True)

    def padded(model: nn.Module, encoder: Callable[..., object], batch: Batch) -> Tensor:
        return encoder(input_ids=batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state.sum()

    def bfloat(batch: Batch) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return encode(mixed.encoder, batch)[0].sum()

    return {
        "without padding, attention row by row (the study)": lambda: each(
            batches, lambda b: encode(own.encoder, b)[0].sum(), own
        ),
        "padded, transformers' SDPA": lambda: each(batches, partial(padded, plain, plain.encoder), plain),
        "padded, transformers' eager attention": lambda: each(batches, partial(padded, eager, eager.encoder), eager),
        "without padding, bfloat16 by autocast": lambda: each(batches, bfloat, mixed),
        "padded, torch.compile with dynamic shapes": lambda: each(batches, partial(padded, compiled, fast), compiled),
    }


def attentions(batches: list[Batch], heads: int = 4, size: int = 32) -> dict[str, Callable[[], object]]:
    """Ways to attend within rows of unequal length, forward and backward, on queries of the batches' lengths."""
    layouts = [TokenLayout(batch.attention_mask.sum(1).tolist(), torch.device("cpu")) for batch in batches]
    states = [torch.randn(heads, sum(layout.lengths), size, requires_grad=True) for layout in layouts]

    def nested(state: Tensor, layout: TokenLayout) -> Tensor:
        parts = [part.transpose(0, 1) for part in state.split(layout.lengths, 1)]
        rows = torch.nested.as_nested_tensor(parts, layout=torch.jagged).transpose(1, 2)
        return scaled_dot_product_attention(rows, rows, rows).transpose(1, 2).values()

    def run(attend: Callable[[Tensor, TokenLayout], Tensor]) -> None:
        for state, layout in zip(states, layouts, strict=True):
            attend(state, layout).sum().backward()

    return {
        "one call per row (the study)": lambda: run(lambda s, layout: layout.attend_by_row(s, s, s)),
        "one call, padded to the longest row": lambda: run(lambda s, layout: layout.attend_padded(s, s, s)),
        "one call on a jagged nested tensor": lambda: run(nested),
    }


def one_seed(work: Subject, threads: int) -> None:
    """A whole training."""
    torch.set_num_threads(threads)
    train(work.model().train(), iter(work.batches), work.job.settings)


def ensembles(work: Subject, batches: list[Batch]) -> dict[str, Callable[[], object]]:
    """Two encoders on the same padded batches, forward and backward: one after another, or as one by torch.func."""
    models = [work.model().eval().encoder for _ in range(2)]
    for model in models:
        model.set_attn_implementation("eager")
    parameters, buffers = stack_module_state(models)

    def loss(held: dict[str, Tensor], fixed: dict[str, Tensor], batch: Batch) -> Tensor:
        inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        return functional_call(models[0], (held, fixed), kwargs=inputs).last_hidden_state.sum()

    def together() -> None:
        for batch in batches:
            vmap(grad(loss), in_dims=(0, 0, None))(parameters, buffers, batch)

    def apart() -> None:
        for batch in batches:
            for model in models:
                model.zero_grad()
                model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state.sum().backward()

    return {"one after another": apart, "as one, torch.func": together}


def seeds(work: Subject) -> dict[str, Callable[[], object]]:
    """Ways to train two seeds on two cores."""

    def processes() -> None:
        Parallel(n_jobs=2)(delayed(one_seed)(work, 1) for _ in range(2))

    def after() -> None:
        one_seed(work, 2)
        one_seed(work, 2)

    def threads() -> None:
        started = [threading.Thread(target=one_seed, args=(work, 1)) for _ in range(2)]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()

    return {
        "two processes, one thread each (the study)": processes,
        "one after another, two threads each": after,
        "two Python threads, one thread each": threads,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=data_here(), choices=list(DATASETS))
    parser.add_argument("--steps", type=int, default=40, help="of a training")
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    work = subject(given.data, given.steps)
    batches = work.first[:10]
    torch.set_num_threads(1)
    timed("alternatives: the encoder, time over the study's", encoders(work, batches), given.turns)
    timed("alternatives: attention alone, time over the study's", attentions(batches), given.turns)
    timed("alternatives: two encoders, time over one after another", ensembles(work, batches), given.turns)
    timed("alternatives: two seeds on two cores, time over the study's", seeds(work), given.turns)


if __name__ == "__main__":
    main()
