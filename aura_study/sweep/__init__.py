"""Grids of training or dynamics jobs, on this machine's cores or on a dask cluster, by the same code."""
