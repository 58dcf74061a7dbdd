"""Results in, plates out: figures never compute what they show."""

from aura_study.figures.plate import Plate

__all__ = ["Plate"]
