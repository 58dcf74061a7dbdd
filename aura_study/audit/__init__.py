"""Does a loss weighting move the weight of a task that is absent? Measured by autograd on any PyTorch code.

The callback for ``transformers.Trainer`` is ``aura_study.audit.trainer.PhantomMonitorCallback``.
"""

from aura_study.audit.api import assert_no_phantom_gradient, audit
from aura_study.audit.balancers import BalancerFinding, BalancerReport, audit_balancer
from aura_study.audit.evidence import Settings
from aura_study.audit.focal import FocalReport, audit_focal
from aura_study.audit.laboratory import CannotAudit
from aura_study.audit.marks import Absence
from aura_study.audit.monitor import PhantomGradientWarning, PhantomMonitor
from aura_study.audit.report import Finding, Report, Verdict

__all__ = [
    "Absence",
    "BalancerFinding",
    "BalancerReport",
    "CannotAudit",
    "Finding",
    "FocalReport",
    "PhantomGradientWarning",
    "PhantomMonitor",
    "Report",
    "Settings",
    "Verdict",
    "assert_no_phantom_gradient",
    "audit",
    "audit_balancer",
    "audit_focal",
]
