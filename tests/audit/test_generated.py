"""Generated weightings: the audit's verdict on each mark equals the one computed from the module's own formula.

A few dozen by default; ``AUDIT_EXAMPLES=2000 pytest tests/audit/test_generated.py`` draws that many.
"""

import os
import random

import pytest
from audit_generator import drawn, is_safe

from aura_study.audit import CannotAudit, Settings, audit

EXAMPLES = int(os.environ.get("AUDIT_EXAMPLES", "32"))
BLOCK = 8


def difference(parts):
    """What the audit says otherwise than the formula; empty if nothing."""
    try:
        report = audit(lambda: parts(), settings=Settings(lr=0.05, steps=12))
    except CannotAudit as failure:
        return failure.reason
    found = {str(finding.absence): finding.verdict == "safe" for finding in report.findings}
    right = {mark: is_safe(parts, mark) for mark in found}
    wrong = {mark: safe for mark, safe in found.items() if right[mark] not in (None, safe)}
    explicit = [mark for mark, safe in found.items() if safe and mark not in ("zero", "tiny")]
    code = 0 if explicit or all(found.values()) else 1
    return f"safe {wrong}: {report}" if wrong else "" if report.exit_code == code else f"exit {report.exit_code}"


@pytest.mark.slow
@pytest.mark.parametrize("block", range(-(-EXAMPLES // BLOCK)))
def test_the_verdict_is_that_of_the_formula(block):
    """Each mark is safe exactly where the formula leaves the absent task alone, and the exit code follows."""
    draws = [drawn(random.Random(BLOCK * block + i)) for i in range(BLOCK)]
    assert {parts: text for parts in draws if (text := difference(parts))} == {}
