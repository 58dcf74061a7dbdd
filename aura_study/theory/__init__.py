"""Closed forms that predict the measurements, in numpy alone."""
