"""The live monitor as a callback of ``transformers.Trainer``."""

from collections.abc import Callable, Sequence
from typing import Any, Self

from torch import nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from aura_study.audit.monitor import PhantomMonitor, weighting_in


class PhantomMonitorCallback(TrainerCallback):
    """Watches the loss weighting of the model that a ``Trainer`` trains.

    Args:
        weighting: the module, its dotted name inside the model, or a function from the model to it. Its parameters
            must be the model's own, so that the trainer's optimiser learns them.
        tasks: as `PhantomMonitor`; so are further options.

    Every log entry gets the numbers of `PhantomMonitor.log_entry`: each task's loss, weight, sigma, presence and
    phantom number. A trainer calls its reporters (TensorBoard and their like) before the callbacks that it is given, so
    hand it over by `join`, which puts it before them: ``PhantomMonitorCallback("weigh").join(trainer)``. Given as
    ``callbacks=[...]`` its numbers stand in ``trainer.state.log_history`` alone. ``monitor`` is the monitor, once
    training began.
    """

    def __init__(
        self, weighting: nn.Module | str | Callable[[Any], Any], tasks: Sequence[str] | None = None, **options: Any
    ) -> None:
        self.weighting, self.tasks, self.options = weighting, tasks, options
        self.monitor: PhantomMonitor | None = None

    def join(self, trainer: Trainer) -> Self:
        """Watch ``trainer``, before those that it reports to."""
        trainer.callback_handler.callbacks.insert(0, self)
        return self

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Hook into the optimiser and the weighting."""
        weighting, optimizer = weighting_in(kwargs["model"], self.weighting), kwargs["optimizer"]
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
        """Add the numbers to the log."""
        if self.monitor is None:
            return
        entry = self.monitor.log_entry()
        if logs is not None:
            logs.update(entry)
        if state.log_history:
            state.log_history[-1].update(entry)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take the hooks off."""
        if self.monitor is not None:
            self.monitor.close()
