"""Notebook 05, a task that comes and goes: the 1/p law."""
