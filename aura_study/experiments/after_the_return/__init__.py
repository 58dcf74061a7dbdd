"""Notebook 12, what follows the return of an absent task."""
