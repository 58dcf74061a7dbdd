"""A whole repository, read and never run: its learned weightings and balancers, and how absence is marked there."""

from aura_study.audit.scan.judge import Finding, Judgement
from aura_study.audit.scan.report import Scan, scan

__all__ = ["Finding", "Judgement", "Scan", "scan"]
