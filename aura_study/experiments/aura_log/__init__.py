"""Notebook 07, AURA's own run, predicted from its log."""
