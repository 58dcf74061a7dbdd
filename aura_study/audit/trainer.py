"""The live monitor as a callback of ``transformers.Trainer``."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from aura_study.audit.monitor import PhantomMonitor


class PhantomMonitorCallback(TrainerCallback):
    """Watches the loss weighting of the model that a ``Trainer`` trains.

    Args:
        weighting: the module, its dotted name inside the model, or a function from the model to it. Its parameters
            must be the model's own, so that the trainer's optimiser learns them.
        tasks: as `PhantomMonitor`; so are further options.

    Every log entry gets the numbers of `PhantomMonitor.summary`; ``monitor`` is the monitor, once training began.
    """

    def __init__(
        self, weighting: nn.Module | str | Callable[[Any], Any], tasks: Sequence[str] | None = None, **options: Any
    ) -> None:
        self.weighting, self.tasks, self.options = weighting, tasks, options
        self.monitor: PhantomMonitor | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Hook into the optimiser and the weighting."""
        model, optimizer = kwargs["model"], kwargs["optimizer"]
        weighting = self.weighting
        if isinstance(weighting, str):
            weighting = model.get_submodule(weighting)
        elif not isinstance(weighting, nn.Module):
            weighting = weighting(model)
        inner = getattr(optimizer, "optimizer", optimizer)  # accelerate wraps the one that steps
        self.monitor = PhantomMonitor(weighting, inner, self.tasks, **self.options)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Add the phantom numbers to the log."""
        if self.monitor is None:
            return
        summary = self.monitor.summary()
        if logs is not None:
            logs.update(summary)
        if state.log_history:
            state.log_history[-1].update(summary)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take the hooks off."""
        if self.monitor is not None:
            self.monitor.close()
