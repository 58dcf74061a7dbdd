"""Notebook 08, what the mask leaves behind: momentum and decay, NaN, shards."""
