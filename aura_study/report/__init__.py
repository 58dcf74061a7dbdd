"""The report: a static site built from a run's results alone, readable from the file system with no network."""

from aura_study.report.building import build_comparison, build_report

__all__ = ["build_comparison", "build_report"]
