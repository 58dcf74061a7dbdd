"""Notebook 01, focal loss: what its factor does to loss and gradient, and the wrong p_t."""
