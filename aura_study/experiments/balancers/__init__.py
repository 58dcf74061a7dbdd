"""Notebook 15, published balancers and a task that is missing."""
