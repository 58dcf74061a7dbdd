"""Sigma dynamics of a whole grid of cells at once, without a network; see `aura_study.dynamics.grid`."""

from aura_study.dynamics.grid import grid, micro_batches, simulate, trajectories

__all__ = ["grid", "micro_batches", "simulate", "trajectories"]
