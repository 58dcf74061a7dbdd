"""One AURA model on many devices through accelerate, with checkpoints that hold no pickle."""

from aura_study.training.parallel.training import ParallelRun, train_parallel

__all__ = ["ParallelRun", "train_parallel"]
