"""Parameters of notebook 00."""

from aura_study.runs.parameters import SummaryParameters


class FindingsParameters(SummaryParameters):
    """Parameters of ``00_findings``: it reads the run that it is part of."""

    notebook = "00_findings"
