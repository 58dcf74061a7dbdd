"""Notebook 14, what the phantom gradient costs in task quality."""
