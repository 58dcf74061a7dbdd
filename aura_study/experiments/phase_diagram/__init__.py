"""Notebook 06, when the phantom gradient matters."""
