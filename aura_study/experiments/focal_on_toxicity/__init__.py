"""Notebook 11, focal loss on AURA's toxicity task."""
