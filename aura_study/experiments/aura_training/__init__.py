"""Notebook 04, V10.1 and V10.2 on the AURA model."""
