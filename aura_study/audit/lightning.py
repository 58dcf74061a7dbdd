"""The live monitor as a callback of Lightning's ``Trainer``."""

import importlib
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

from torch import nn

from aura_study.audit.monitor import PhantomMonitor, weighting_in


def _lightning_callback() -> Any:
    """Lightning's own base class under either of its names; without Lightning nothing is needed of it."""
    for package, module in (("lightning", "lightning.pytorch"), ("pytorch_lightning", "pytorch_lightning")):
        if find_spec(package):
            return importlib.import_module(module).Callback
    return object


_Callback: Any = _lightning_callback()


class PhantomMonitorLightning(_Callback):
    """Watches the loss weighting of the module that Lightning trains; logs by the module's own ``log_dict``.

    Args:
        weighting: the module, its dotted name inside the LightningModule, or a function from that to it.
        tasks: as `PhantomMonitor`; so are further options.

    After every ``log_every_n_steps``-th optimiser step the numbers of `PhantomMonitor.log_entry` go to every logger
    that the trainer has. ``monitor`` is the monitor, once training began.

    Raises:
        ValueError: when training begins: none of the trainer's optimisers holds the weighting's parameters.
    """

    def __init__(
        self, weighting: nn.Module | str | Callable[[Any], Any], tasks: Sequence[str] | None = None, **options: Any
    ) -> None:
        super().__init__()
        self.weighting, self.tasks, self.options = weighting, tasks, options
        self.monitor: PhantomMonitor | None = None
        self._logged_at = 0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Hook into the weighting and the optimiser that holds its parameters."""
        weighting = weighting_in(pl_module, self.weighting)
        own = {id(parameter) for parameter in weighting.parameters()}
        for optimizer in trainer.optimizers:
            if own & {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}:
                self.monitor = PhantomMonitor(weighting, optimizer, self.tasks, **self.options)
                self._logged_at = trainer.global_step
                return
        raise ValueError("none of the trainer's optimizers holds the weighting's parameters: nothing would learn them")

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Log, if enough optimiser steps were made since the last entry; micro-batches are none."""
        if self.monitor is not None and trainer.global_step - self._logged_at >= trainer.log_every_n_steps:
            self._logged_at = trainer.global_step
            pl_module.log_dict(self.monitor.log_entry())

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Take the hooks off."""
        if self.monitor is not None:
            self.monitor.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Take the hooks off."""
        self.on_train_end(trainer, pl_module)
