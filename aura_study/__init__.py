"""The phantom gradient in Kendall uncertainty-weighted multi-task learning: losses, theory, measurements, audit."""

__version__ = "0.1.0"
