"""Parameters of notebook 09."""

from pydantic import Field

from aura_study.runs.parameters import Parameters


class AuditSurveyParameters(Parameters):
    """Parameters of notebook ``09_audit_survey``."""

    notebook = "09_audit_survey"
    profiles = {"full": {"steps": 400}}

    phantom_number: float = Field(1.0, gt=0, le=10, description="sum of the learning rates of each simulated absence")
    steps: int = Field(20, ge=10, le=10_000, description="steps of each simulated absence")
