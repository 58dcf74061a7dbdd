"""Reading a stranger's log: were absent tasks masked, did the phantom gradient move their weights, or is one solved?

===========  ========================================================================================
`reading`    the file as a table: CSV, JSON, JSON lines
`columns`    which column is what, by names and by options
`fitting`    masked and unmasked dynamics, the best case of either
`verdict`    what the log says, and what it could not tell
`cli`        ``aura-study diagnose LOG``
===========  ========================================================================================
"""

from aura_study.diagnosis.cli import diagnose_file
from aura_study.diagnosis.columns import Log, understand
from aura_study.diagnosis.fitting import Known
from aura_study.diagnosis.reading import CannotRead
from aura_study.diagnosis.verdict import Diagnosis, Verdict, diagnose

__all__ = ["CannotRead", "Diagnosis", "Known", "Log", "Verdict", "diagnose", "diagnose_file", "understand"]
