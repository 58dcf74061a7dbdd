"""Notebook 10, learning-rate schedules."""
