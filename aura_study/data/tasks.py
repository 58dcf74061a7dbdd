"""The four tasks of AURA: what their labels mean and how many logits they need."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["binary", "multiclass", "multilabel"]


@dataclass(frozen=True)
class Task:
    """One task.

    ``kind`` fixes the labels' form, ``n`` rows of them: "multiclass" is int64 ``(n,)``, a class index; "binary" is
    int64 ``(n,)``, 0 or 1, for one logit; "multilabel" is float32 ``(n, len(labels))``, multi-hot.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]

    @property
    def outputs(self) -> int:
        """Number of logits."""
        return 1 if self.kind == "binary" else len(self.labels)


# GoEmotions' grouping into Ekman's basic emotions and neutral, in the order of the ids in its files.
EKMAN = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")

_IN_ORDER = (
    Task("toxicity", "multiclass", ("not toxic", "toxic")),
    Task("emotion", "multilabel", EKMAN),
    Task("sentiment", "multiclass", ("negative", "positive")),
    Task("reporting", "binary", ("direct", "reported")),
)
TASKS: dict[str, Task] = {task.name: task for task in _IN_ORDER}
TASK_NAMES: tuple[str, ...] = tuple(TASKS)
TaskName = Literal["toxicity", "emotion", "sentiment", "reporting"]


def task_order(names: Iterable[str]) -> tuple[str, ...]:
    """``names`` in the order of `TASKS`.

    Raises:
        ValueError: a name that is no task.
    """
    wanted = set(names)
    if unknown := sorted(wanted - set(TASKS)):
        raise ValueError(f"unknown tasks {unknown}; the tasks are {list(TASK_NAMES)}")
    return tuple(name for name in TASK_NAMES if name in wanted)
