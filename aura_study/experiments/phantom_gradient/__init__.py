"""Notebook 03, the phantom gradient: its value, where it takes sigma, and the mask, bit for bit."""
