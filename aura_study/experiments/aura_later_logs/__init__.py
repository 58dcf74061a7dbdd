"""Notebook 16, AURA's later logs: a task that is present and exactly solved."""
