"""What the quick study costs, notebook by notebook, and what that buys: seconds, and the claims decided.

Notebooks run one after another on one thread, into a folder that is thrown away. Theirs are seconds of the clock, of
the whole those of the processor, in all processes together: command, notebooks, kernels.
"""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from timing import processor_seconds, report

from aura_study.claims import Verdict
from aura_study.paths import RunFolders
from aura_study.runs.ledger import read_evidence
from aura_study.runs.stamps import read_stamps
from aura_study.study.registry import notebook_names

ONE = {"OMP_NUM_THREADS": "1", "LOKY_MAX_CPU_COUNT": "1"}  # as where two notebooks share two cores
OPEN = (Verdict.INCONCLUSIVE, Verdict.VOID)


def bought(folders: RunFolders, notebook: str) -> str:
    """Claims that the notebook decided, and those that it asked and left open."""
    (rows,) = [entry.claims for entry in read_evidence(folders) if entry.notebook == notebook]
    decided, left = ([row.claim for row in rows if (row.verdict in OPEN) == is_open] for is_open in (False, True))
    told = f"decides {', '.join(decided)}" if decided else "decides nothing"
    return told + (f"; leaves open {', '.join(left)}" if left else "")


def main() -> None:
    with TemporaryDirectory() as folder:
        folders = RunFolders.of(str(Path(folder) / "study"))
        command = [sys.executable, "-m", "aura_study", "run", "--at-once", "1", "--out", str(folders.results)]
        whole, again = (processor_seconds(command, {**os.environ, **ONE}) for _ in range(2))
        stamps = read_stamps(folders, notebook_names())
        rows: dict[str, str | tuple[str, str]] = {
            name: f"{stamp.seconds:.0f} s; {bought(folders, name)}" for name, stamp in stamps.items()
        }
    rows["the whole study with its report, processor time"] = (f"{whole:.0f} s", "≤ 500 s")
    rows["once more, nothing changed, processor time"] = (f"{again:.1f} s", "≤ 8 s")
    report("the quick study, one notebook at a time on one thread", rows)


if __name__ == "__main__":
    main()
