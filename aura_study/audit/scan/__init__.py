"""A whole repository, read and never run: every place of learned uncertainty weighting or a balancer, and how absence is marked there."""

from aura_study.audit.scan.judge import Finding, Judgement
from aura_study.audit.scan.report import Scan, scan

__all__ = ["Finding", "Judgement", "Scan", "scan"]
