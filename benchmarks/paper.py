"""On paper: what roberta-base costs at AURA's full schedule, and a mixture of 1,000 tasks, from counted work.

A closed formula gives the multiplications of a step; PyTorch's own counter must agree exactly, and the time that
follows from this machine's matrix product is held against the measured step, for the tiny preset and for roberta-base.
The figures for accelerators are then the formula's, at their published peaks and an assumed utilisation.
"""

import time
from dataclasses import dataclass

import torch
from growth import Watch
from timing import least, report
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import RobertaConfig, RobertaModel

from aura_study.data.batches import Batch
from aura_study.data.tasks import TASKS
from aura_study.training.model import TINY, AuraModel

STEPS, MICRO_BATCHES, ROWS, TOKENS = 12_390, 4, 16, 128
UTILISATION = 0.4  # of the peak: what well-kept training loops of this size reach; the one figure here not counted
PEAKS = {"A100": 312e12, "H200": 989e12}  # dense bfloat16 FLOP/s, NVIDIA's data sheets
LINK = 200e9  # bytes/s between the GPUs of one machine, a third of NVLink's published rate on an A100
GIB = 2**30


@dataclass(frozen=True)
class Encoder:
    """A RoBERTa's sizes."""

    layers: int
    hidden: int
    inner: int
    heads: int
    vocabulary: int = 50_265
    positions: int = 514

    def parameters(self) -> int:
        """Without the pooler."""
        hidden, inner = self.hidden, self.inner
        layer = 4 * (hidden**2 + hidden) + 2 * hidden * inner + inner + hidden + 4 * hidden
        return (self.vocabulary + self.positions + 1) * hidden + 2 * hidden + self.layers * layer

    def flops(self, rows: int, tokens: int, outputs: int) -> int:
        """Forward and backward of encoder and task heads: products of activations and weights, and attention's two.

        A product of (a, b) by (b, c) is 2abc forward and twice that backward, once for each factor's gradient.
        ``outputs`` are the logits of all rows together.
        """
        hidden = self.hidden
        weights = (
            self.layers * (4 * hidden**2 + 2 * hidden * self.inner) + 4 * hidden**2
        )  # the last: the row's task head
        attention = (self.layers + 1) * 2 * tokens**2 * hidden
        return 3 * 2 * (rows * (tokens * weights + attention) + outputs * hidden)

    def model(self) -> AuraModel:
        """Randomly initialised: the weights' values cost nothing."""
        sizes = {"vocab_size": self.vocabulary, "max_position_embeddings": self.positions, "type_vocab_size": 1}
        shape = {"num_hidden_layers": self.layers, "hidden_size": self.hidden, "intermediate_size": self.inner}
        config = RobertaConfig(num_attention_heads=self.heads, pad_token_id=1, **sizes, **shape)
        return AuraModel(RobertaModel(config, add_pooling_layer=False), tuple(TASKS.values()))


BASE = Encoder(layers=12, hidden=768, inner=3072, heads=12)
SMALL = Encoder(
    TINY["num_hidden_layers"], TINY["hidden_size"], TINY["intermediate_size"], TINY["num_attention_heads"], 4096, 130
)


def head_parameters(hidden: int, outputs: int) -> int:
    """Attention block, layer norm and linear layer of one task."""
    return 4 * (hidden**2 + hidden) + 2 * hidden + outputs * (hidden + 1)


def batch(rows: int, tokens: int) -> Batch:
    """Rows of full length, in equal parts of the four tasks."""
    ids = torch.randint(5, 1000, (rows, tokens), generator=torch.Generator().manual_seed(0))
    part = rows // len(TASKS)
    where = {task: slice(part * place, part * (place + 1)) for place, task in enumerate(TASKS)}
    return Batch(ids, torch.ones_like(ids), where, {})


def total(model: AuraModel, given: Batch) -> Tensor:
    return torch.stack([logits.square().mean() for logits in model(given).values()]).sum()


def counted(model: AuraModel, given: Batch) -> int:
    """PyTorch's own count; attention as plain products, since the fused kernel on a CPU has no entry there."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        total(model, given).backward()
    model.zero_grad()
    return counter.get_total_flops()


def saved_bytes(model: AuraModel, given: Batch) -> int:
    """Bytes that forward keeps for backward, parameters aside; every storage once."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}
    alive = []

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)  # a freed address could come again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        total(model, given)
    return sum(kept.values())


def product_rate(encoder: Encoder, tokens: int) -> float:
    """FLOP/s of this machine's matrix product at the shape of the encoder's widest layer, one thread."""
    left, right = torch.rand(tokens, encoder.hidden), torch.rand(encoder.hidden, encoder.inner)
    flops = 2 * tokens * encoder.hidden * encoder.inner
    return flops / least({"product": lambda: left @ right}, rounds=30, clock=time.process_time)["product"]


def held(name: str, encoder: Encoder, rows: int) -> dict[str, str | tuple[str, str]]:
    """The formula against PyTorch's counter, the machine's clock and its memory."""
    watch = Watch()
    model = watch("build", encoder.model)
    given = batch(rows, TOKENS)
    outputs = sum(len(range(*where.indices(rows))) * TASKS[task].outputs for task, where in given.rows.items())
    formula, found = encoder.flops(rows, TOKENS, outputs), counted(model, given)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    expected = encoder.parameters() + sum(head_parameters(encoder.hidden, task.outputs) for task in TASKS.values())
    activations = saved_bytes(model, given)
    optimizer = torch.optim.AdamW(model.parameters())

    def step() -> None:
        total(model, given).backward()
        optimizer.step()
        optimizer.zero_grad()

    watch("step", step)
    seconds = least({"pass": lambda: total(model, given).backward()}, rounds=8, clock=time.process_time)["pass"]
    rate = product_rate(encoder, rows * TOKENS)
    memory = 16 * expected + activations
    resident = watch.points["build"][1] + watch.points["step"][1]
    return {
        f"{name}: FLOP of {rows} rows x {TOKENS} tokens, formula / PyTorch's counter": (
            f"{formula:.4g} / {found:.4g}: {formula / found:.4f}",
            "1",
        ),
        f"{name}: parameters, formula / model": (f"{expected:,} / {parameters:,}", "equal"),
        f"{name}: processor seconds of forward + backward, measured / FLOP at {rate / 1e9:.0f} GFLOP/s": (
            f"{seconds:.3f} / {formula / rate:.3f}: {seconds * rate / formula:.2f}"
        ),
        f"{name}: bytes of a step, resident / 16 a parameter + activations kept": (
            f"{resident / GIB:.2f} / {memory / GIB:.2f} GiB: {resident / memory:.2f}"
        ),
        f"{name}: activations kept for backward, a row": f"{activations / rows / 2**20:.1f} MiB",
    }


def roberta_base(row_bytes: float) -> dict[str, str]:
    """AURA's whole schedule on one GPU."""
    rows = STEPS * MICRO_BATCHES * ROWS
    flops = BASE.flops(rows, TOKENS, 3 * rows)
    parameters = BASE.parameters() + sum(head_parameters(BASE.hidden, task.outputs) for task in TASKS.values())
    state = 16 * parameters
    hours = ", ".join(f"{name} {flops / peak / UTILISATION / 60:.0f} min" for name, peak in PEAKS.items())
    return {
        "rows, tokens": f"{rows:,}, {rows * TOKENS / 1e6:.0f} M",
        "FLOP, forward + backward": f"{flops:.3g}",
        f"time at {UTILISATION:.0%} of the bfloat16 peak": hours,
        "parameters": f"{parameters / 1e6:.1f} M",
        "weights + gradients + Adam's two moments, float32": f"{state / GIB:.2f} GiB",
        "activations of 16 rows, float32": f"{row_bytes * ROWS / GIB:.2f} GiB",
        "together, before the allocator's own": f"{(state + row_bytes * ROWS) / GIB:.2f} GiB",
    }


def thousand_tasks(gpus: int = 8, tasks: int = 1000, task_rows: int = 10_000, epochs: int = 15) -> dict[str, str]:
    """The same encoder under 1,000 task heads, data-parallel on one machine of eight GPUs."""
    rows = tasks * task_rows * epochs
    flops = BASE.flops(rows, TOKENS, 3 * rows)
    compute = flops / (gpus * PEAKS["A100"] * UTILISATION)
    heads = tasks * head_parameters(BASE.hidden, 3)
    state = 16 * (BASE.parameters() + heads)
    step_rows = gpus * MICRO_BATCHES * ROWS
    steps = rows / step_rows
    ring = 2 * (gpus - 1) / gpus * 4 / LINK  # seconds a float32 parameter, summed round the ring
    present = 1 - (1 - 1 / tasks) ** step_rows
    return {
        f"rows: {tasks:,} tasks x {task_rows:,} x {epochs} epochs": f"{rows:.3g}",
        "FLOP, forward + backward": f"{flops:.3g}",
        f"compute on {gpus} A100 at {UTILISATION:.0%} of the peak": f"{compute / 3600:.1f} h",
        "parameters: encoder, task heads": f"{BASE.parameters() / 1e6:.0f} M, {heads / 1e6:,.0f} M",
        "weights + gradients + Adam, a copy a GPU / shared out over all": (
            f"{state / GIB:.0f} GiB / {state / gpus / GIB:.1f} GiB"
        ),
        f"gradient sums of {steps:,.0f} steps: every head / the encoder and the heads present": (
            f"{steps * ring * (BASE.parameters() + heads) / 3600:.1f} h / "
            f"{steps * ring * (BASE.parameters() + present * heads) / 3600:.1f} h"
        ),
        f"chance that a task is in a step of {step_rows} rows; unmasked weight over masked, 1/p": (
            f"{present:.1%}; {1 / present:.1f}"
        ),
    }


def main() -> None:
    torch.set_num_threads(1)
    small, base = held("tiny preset", SMALL, ROWS), held("roberta-base", BASE, 4)
    report("on paper: the formula held against what was counted and measured here, one thread", small | base)
    kept = next(str(value) for name, value in base.items() if "activations kept for backward" in name)
    report("on paper: roberta-base at AURA's full schedule, one GPU", roberta_base(float(kept.split()[0]) * 2**20))
    report("on paper: 1,000 tasks on one machine of 8 GPUs", thousand_tasks())


if __name__ == "__main__":
    main()
