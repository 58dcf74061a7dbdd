"""The phantom gradient on the real model (claims P3 and P4): V10.1's graph isolation, and V10.2's mask, bit for bit."""

from collections.abc import Mapping

import pandas as pd
import torch
from torch import Tensor

from aura_study.claims import Measurement
from aura_study.data.batches import Batches
from aura_study.data.tasks import TASK_NAMES, TASKS
from aura_study.losses import PARAMETERIZATIONS, KendallLoss, MaskedKendallLoss, UnmaskedKendallLoss
from aura_study.training.loop import TrainingSettings, task_loss
from aura_study.training.model import AuraModel
from aura_study.training.runs import Presence, TrainingJob, build_model, prepare

ABSENT = "reporting"


def batch_losses(seed: int) -> tuple[AuraModel, dict[str, Tensor]]:
    """The tiny AURA model and its losses on one batch that holds every task but one; dropout off."""
    settings = TrainingSettings(steps=1, accumulation=1, seed=seed)
    presence = Presence(schedule="stretch", absent=ABSENT, start=0, stop=1)
    job = TrainingJob(name="one batch", rows=200, dev_rows=50, max_length=64, presence=presence, settings=settings)
    prepared = prepare(job)
    model = build_model(job, prepared).eval()
    schedule = presence.build(prepared.corpus.sizes, job.batch_size, seed, 1)
    batch = Batches(prepared.train, schedule).batch(0).to(model.device)
    losses = {task: task_loss(TASKS[task], logits, batch.labels[task]) for task, logits in model(batch).items()}
    return model, losses


def gradients(model: AuraModel, weigh: KendallLoss, total: Tensor) -> dict[str, Tensor]:
    """Gradient of ``total`` on every parameter that it reaches, by name; theta's is split by task."""
    named = {**dict(model.named_parameters()), "theta": weigh.theta}
    found = torch.autograd.grad(total, list(named.values()), retain_graph=True, allow_unused=True)
    reached = {name: gradient for name, gradient in zip(named, found, strict=True) if gradient is not None}
    theta = reached.pop("theta")
    return {**reached, **{f"theta[{task}]": theta[place] for place, task in enumerate(weigh.tasks)}}


def isolation(seed: int) -> pd.DataFrame:
    """V10.1 with its dummy zero isolated (``requires_grad=False``) and not: every gradient compared, per form."""
    model, losses = batch_losses(seed)
    rows = []
    for form in PARAMETERIZATIONS.values():
        found = {}
        for isolated in (True, False):
            weigh = UnmaskedKendallLoss(TASK_NAMES, form, device=model.device)
            dummy = torch.zeros((), device=model.device, requires_grad=not isolated)
            vector = torch.stack([losses.get(task, dummy) for task in TASK_NAMES])
            found[isolated] = gradients(model, weigh, weigh(vector))
        rows.append({"parameterization": form.name, **_compared(found[True], found[False], skip=())})
    return pd.DataFrame(rows)


def mask(seed: int) -> pd.DataFrame:
    """V10.1 against V10.2 on the same losses: the absent gradient, and every other gradient compared, per form."""
    model, losses = batch_losses(seed)
    absent = f"theta[{ABSENT}]"
    rows = []
    for form in PARAMETERIZATIONS.values():
        unmasked = UnmaskedKendallLoss(TASK_NAMES, form, device=model.device)
        masked = MaskedKendallLoss(TASK_NAMES, form, device=model.device)
        before, after = gradients(model, unmasked, unmasked(losses)), gradients(model, masked, masked(losses))
        row = {"absent gradient unmasked": before[absent].item(), "absent gradient masked": after[absent].item()}
        rows.append({"parameterization": form.name, **row, **_compared(before, after, skip=(absent,))})
    return pd.DataFrame(rows)


def _compared(first: Mapping[str, Tensor], second: Mapping[str, Tensor], skip: tuple[str, ...]) -> dict[str, float]:
    if first.keys() != second.keys():
        raise ValueError(f"different parameters were reached: {sorted(first.keys() ^ second.keys())}")
    names = [name for name in first if name not in skip]
    return {
        "gradients compared": len(names),
        "numbers compared": sum(first[name].numel() for name in names),
        "largest difference": max((first[name] - second[name]).abs().max().item() for name in names),
    }


def measure_isolation(table: pd.DataFrame) -> Measurement:
    """P3: largest difference between any two gradients, with and without graph isolation."""
    return Measurement.over(table["largest difference"], "largest gradient difference", predicted=0.0, measured=max)


def measure_mask(table: pd.DataFrame) -> Measurement:
    """P4: the larger of the masked absent gradient and any change of another gradient."""
    worst = table[["absent gradient masked", "largest difference"]].abs().max(axis=1)
    unit = "largest of |absent gradient| and change elsewhere"
    return Measurement.over(worst, unit, predicted=0.0, measured=max)
