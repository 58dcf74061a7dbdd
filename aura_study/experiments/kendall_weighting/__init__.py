"""Notebook 02, Kendall's weighting: where it settles, and what becomes of it without log sigma."""
