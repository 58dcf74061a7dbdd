"""Notebook 09, the audit over published weightings."""
