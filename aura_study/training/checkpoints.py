"""Checkpoints as folders of safetensors and JSON: parameters, optimiser, schedule, generators and step, no pickle."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from aura_study.errors import StudyError
from aura_study.runs.fingerprint import digest_file, digest_json
from aura_study.runs.records import unfinished

TENSORS, STATE = "state.safetensors", "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """A folder ``step-<number>`` that holds a whole state; it appears in one step or not at all."""

    folder: Path

    @property
    def step(self) -> int:
        """Optimiser steps done when it was written."""
        return int(self.folder.name.removeprefix("step-"))

    def is_whole(self) -> bool:
        """Whether both files are what was written."""
        try:
            written = json.loads((self.folder / STATE).read_text(encoding="utf-8"))
            return bool(written["sha256"] == _digests(written["state"], self.folder / TENSORS))
        except (OSError, ValueError, TypeError, KeyError):
            return False

    def state(self) -> dict[str, Any]:
        """The JSON part of a whole checkpoint: what was trained, on how many ranks, and the schedule."""
        return dict(json.loads((self.folder / STATE).read_text(encoding="utf-8"))["state"])

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of a whole checkpoint, by name."""
        # Cloned: the loaded tensors are views of the file's memory, at addresses that nobody aligned.
        return {name: tensor.clone() for name, tensor in load_file(self.folder / TENSORS).items()}


def latest(folder: Path) -> Checkpoint | None:
    """The checkpoint of the most steps under ``folder``."""
    found = [Checkpoint(path) for path in folder.glob("step-*") if path.is_dir()]
    return max(found, key=lambda checkpoint: checkpoint.step, default=None)


def _digests(state: dict[str, Any], tensors: Path) -> list[str]:
    return [digest_json(state), digest_file(tensors)]


def save(folder: Path, step: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> Checkpoint:
    """Write ``step-<step>`` under ``folder``, then drop older ones."""
    target = folder / f"step-{step:08d}"
    partial = unfinished(target)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, partial / TENSORS)
    state = json.loads(json.dumps(state))  # as it will be read
    written = {"state": state, "sha256": _digests(state, partial / TENSORS)}
    (partial / STATE).write_text(json.dumps(written, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)
    partial.replace(target)
    for older in folder.glob("step-*"):
        if older != target:
            shutil.rmtree(older, ignore_errors=True)
    return Checkpoint(target)


def module_tensors(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Parameters and buffers of ``module``, and the optimiser's state of each parameter, under names of their own."""
    tensors = {f"module.{name}": value.clone() for name, value in module.state_dict().items()}
    for name, parameter in module.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            if value is not None:
                tensors[f"optimizer.{name}|{key}"] = torch.as_tensor(value)
    return tensors


def restore(module: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put `module_tensors` back in place.

    Raises:
        StudyError: parameters that differ from those the checkpoint was written with.
    """
    own = {name.removeprefix("module."): value for name, value in tensors.items() if name.startswith("module.")}
    try:
        module.load_state_dict(own)
    except RuntimeError as error:
        raise StudyError(f"the checkpoint is of another model: {' '.join(str(error).split())}") from error
    parameters = dict(module.named_parameters())
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            parameter, key = name.removeprefix("optimizer.").rsplit("|", 1)
            target = parameters[parameter]
            place = "cpu" if key == "step" and not _fused(optimizer) else target.device
            optimizer.state[target][key] = value.to(place)


def _fused(optimizer: torch.optim.Optimizer) -> bool:
    return any(group.get("fused") for group in optimizer.param_groups)


def generator_state(device: torch.device) -> Tensor:
    """State of the generator that dropout draws from, on ``device``."""
    state = torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
    return state.to(device)


def set_generator_state(device: torch.device, state: Tensor) -> None:
    """Put a `generator_state` back in place."""
    own = state.cpu().clone()  # torch reads a view of another tensor from that tensor's beginning, and may crash
    if device.type == "cuda":
        torch.cuda.set_rng_state(own, device)
    else:
        torch.set_rng_state(own)
