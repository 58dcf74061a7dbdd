"""Samples per second of our training loop against a straightforward one, and what a recorded step is made of.

AURA's real data (``AURA_STUDY_DATA`` or the cache; where they are missing, generated sentences), the tiny encoder
unless another is named, batches of 16. All ways see the same rows in the same order and take turns within one run; the
first turn warms up.
"""

import argparse
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import plain_loop
import torch
from timing import report
from torch import nn

from aura_study.data.batches import Batch, Batches
from aura_study.data.registry import BUILT, DATASETS, load_corpus
from aura_study.data.sources import MissingDataError
from aura_study.data.tasks import TASK_NAMES, TASKS
from aura_study.training.loop import TrainingSettings, build_optimizer, task_loss, train
from aura_study.training.model import AuraModel
from aura_study.training.recording import TrajectoryRecorder
from aura_study.training.runs import Prepared, TrainingJob, build_model, prepare
from aura_study.training.task_gradients import watch_gradients
from aura_study.training.unpadded import encode
from aura_study.training.weighting import build_weighting

LR = 5e-4
PLAIN, OURS, RECORDED = "the straightforward loop", "our loop", "our loop, every step recorded"


@dataclass
class Subject:
    """The job, its data, the first batches of its schedule, and the same rows for the plain loop."""

    job: TrainingJob
    prepared: Prepared
    batches: Batches
    steps: int

    def __post_init__(self) -> None:
        self.first = list(itertools.islice(self.batches, self.steps))
        starts = dict(zip(self.prepared.train, np.cumsum([0, *self.prepared.corpus.sizes.values()]), strict=False))
        drawn = self.batches.schedule.batches(0, self.steps)
        self.rows = [[int(starts[task] + row) for task, rows in batch.items() for row in rows] for batch in drawn]
        self.items = plain_loop.Items(self.prepared.corpus, self.prepared.tokenizer)

    def model(self) -> AuraModel:
        return build_model(self.job, self.prepared)


def data_here() -> str:
    """``aura`` where AURA's files are there, else ``embedded``."""
    try:
        load_corpus("aura", dev_rows=1)
    except MissingDataError:
        print("AURA's data files are not here: generated sentences take their place")
        return "embedded"
    return "aura"


def subject(data: str, steps: int, encoder: str = BUILT) -> Subject:
    settings = TrainingSettings(
        steps=steps, accumulation=1, lr_encoder=LR, lr_heads=LR, lr_sigma=LR, schedule="constant"
    )
    job = TrainingJob(name="speed", data=data, encoder=encoder, settings=settings)
    prepared = prepare(job)
    schedule = job.presence.build(prepared.corpus.sizes, job.batch_size, settings.seed, settings.accumulation)
    return Subject(job, prepared, Batches(prepared.train, schedule), steps)


def titled(job: TrainingJob) -> str:
    """What a table's title begins with: an encoder other than the default is named, so that its tables are its own."""
    return "" if job.encoder == BUILT else f"{job.encoder}: "


def check_same_losses(work: Subject) -> float:
    """Largest difference of the two loops' losses on the same rows without dropout; fails above 1e-5."""
    model, settings = work.model().eval(), work.job.settings
    batch = work.first[0]
    theirs = plain_loop.losses_of(model, next(plain_loop.loader(work.items, work.rows[:1])))
    largest = 0.0
    for task, logits in model(batch).items():
        ours = task_loss(TASKS[task], logits, batch.labels[task], settings.gamma, settings.label_smoothing)
        torch.testing.assert_close(ours, theirs[task], rtol=1e-5, atol=1e-5)
        largest = max(largest, abs(ours.item() - theirs[task].item()))
    return largest


def whole_runs(work: Subject, clock: Callable[[], float] = time.perf_counter) -> dict[str, Callable[[], float]]:
    """Ways to spend ``steps`` steps; each returns its seconds by ``clock`` without those that build the model."""

    def timed(run: Callable[[AuraModel], object]) -> float:
        model = work.model().train()
        start = clock()
        run(model)
        return clock() - start

    def recorded(model: AuraModel) -> None:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "run.parquet"
            with TrajectoryRecorder(path, TASK_NAMES, "masked", 0, torch.device("cpu")) as recorder:
                train(model, iter(work.batches), work.job.settings, recorder)

    def encoder(model: AuraModel) -> None:
        for batch in work.first:
            model.zero_grad()
            encode(model.encoder, batch)[0].sum().backward()

    def padded(model: AuraModel) -> None:
        for batch in work.first:
            model.zero_grad()
            inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
            model.encoder(**inputs).last_hidden_state.sum().backward()

    runs = {
        PLAIN: lambda model: plain_loop.run(model, plain_loop.loader(work.items, work.rows), LR),
        OURS: lambda model: train(model, iter(work.batches), work.job.settings),
        RECORDED: recorded,
        "the encoder alone, padded as transformers runs it": padded,
        "the encoder alone, without padding": encoder,
    }
    return {name: lambda run=run: timed(run) for name, run in runs.items()}


def parts_of_a_step(work: Subject) -> dict[str, float]:
    """Median seconds of each part of a step, one after another as `train` runs them."""
    model = work.model().train()
    settings = work.job.settings
    weighting = build_weighting(settings.policy, settings.parameterization, TASK_NAMES)
    optimizer = build_optimizer(model, weighting, settings)
    watch = watch_gradients(model.encoder, TASK_NAMES)
    others = [*model.heads.parameters(), *weighting.parameters()]
    times: dict[str, list[float]] = {}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "run.parquet"
        with TrajectoryRecorder(path, TASK_NAMES, "masked", 0, torch.device("cpu")) as recorder:
            for step in range(work.steps):
                clock = _Clock(times)
                batch = work.batches.batch(step)
                clock("drawing and collating the batch")
                watch.begin(batch)
                states, layout = encode(model.encoder, batch)
                clock("encoder, forward")
                losses = _losses(model, batch, states, layout, settings)
                clock("heads and task losses, forward")
                total = weighting(losses)
                clock("weighting, forward")
                pulls = torch.autograd.grad(total, [states, *others], allow_unused=True)
                clock("weighting, losses and heads, backward")
                optimizer.zero_grad()
                for parameter, pull in zip(others, pulls[1:], strict=True):
                    parameter.grad = pull
                states.backward(pulls[0])
                clock("encoder, backward, each task's gradient apart")
                norms = watch.finish()
                clock("norms of the tasks' gradients")
                nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
                clock("clipping")
                stacked = torch.stack([losses.get(task, torch.tensor(0.0)).detach() for task in TASK_NAMES])
                here = [task in losses for task in TASK_NAMES]
                recorder.record(weighting.sigma(), weighting.weights(), stacked, norms, here, LR)
                clock("recording")
                optimizer.step()
                clock("optimiser")
    return {name: float(np.median(values)) for name, values in times.items()}


def _losses(model: AuraModel, batch: Batch, states, layout, settings: TrainingSettings) -> dict[str, torch.Tensor]:
    gamma, smoothing = settings.gamma, settings.label_smoothing
    return {
        task: task_loss(TASKS[task], logits, batch.labels[task], gamma, smoothing)
        for task, logits in model.heads(states, layout, batch.rows).items()
    }


class _Clock:
    """Adds the time since its last call to a named list."""

    def __init__(self, times: dict[str, list[float]]) -> None:
        self.times, self.last = times, time.perf_counter()

    def __call__(self, name: str) -> None:
        now = time.perf_counter()
        self.times.setdefault(name, []).append(now - self.last)
        self.last = now


@lru_cache(maxsize=1)
def _ways_of_a_worker(data: str, steps: int) -> dict[str, Callable[[], float]]:
    torch.set_num_threads(1)
    return whole_runs(subject(data, steps))


def span(way: str, data: str, steps: int) -> tuple[float, float]:
    """When a worker process began and ended one way's run, model built, on the clock that all share."""
    seconds = _ways_of_a_worker(data, steps)[way]()
    end = time.time()
    return end - seconds, end


def compare(work: Subject, turns: int) -> None:
    """Run every way in turns and print throughput and ratios."""
    ways = whole_runs(work)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns + 1):
        for name, way in ways.items():
            seconds = way()
            if turn:
                times[name].append(seconds)
    median = {name: float(np.median(values)) for name, values in times.items()}
    samples = sum(len(batch) for batch in work.first)
    slow, own, bare = (median[name] for name in np.array(list(ways))[[0, 3, 4]])
    rows = {
        name: f"{samples / value:6.0f} samples/s {slow / value:6.2f} x the straightforward loop "
        f"{value / own:5.2f} x the padded encoder {value / bare:5.2f} x the unpadded one"
        for name, value in median.items()
    }
    work_done = f"{titled(work.job)}{work.steps} steps of 16 rows"
    report(f"{work_done}, {torch.get_num_threads()} thread(s), median of {turns} turns", rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=data_here(), choices=list(DATASETS))
    parser.add_argument("--encoder", default=BUILT, help="a name, a folder or a hub id")
    parser.add_argument("--steps", type=int, default=60, help="of one turn")
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    work = subject(given.data, given.steps, given.encoder)
    real = sum(int(batch.attention_mask.sum()) for batch in work.first)
    padded = sum(batch.input_ids.numel() for batch in work.first)
    report(
        f"{titled(work.job)}the work",
        {
            "largest difference of the losses, same rows, no dropout": f"{check_same_losses(work):.1e}",
            "tokens a step: real, padded to the longest row, padded to 128": f"{real / given.steps:.0f}, "
            f"{padded / given.steps:.0f}, {16 * plain_loop.PADDED}",
        },
    )
    for threads in (1, 2):
        torch.set_num_threads(threads)
        compare(work, given.turns)
    torch.set_num_threads(1)
    parts = parts_of_a_step(work)
    whole = sum(parts.values())
    shares = {name: f"{value / whole:6.1%}" for name, value in parts.items()}
    heads, encoder = (sum(value for name, value in parts.items() if word in name) for word in ("heads", "encoder,"))
    shares["heads, losses and their weighting, over the encoder"] = f"{heads / encoder:6.1%}"
    report(f"{titled(work.job)}shares of a recorded step, 1 thread", shares)


if __name__ == "__main__":
    main()
