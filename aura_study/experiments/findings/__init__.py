"""Notebook 00, the findings: what the run as a whole has found."""
