"""Notebook 13, what the return does to the encoder's pre-training."""
