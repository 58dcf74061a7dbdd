"""What ``import aura_study.losses`` costs over ``import torch``: fresh interpreters, taking turns, processor time."""

import subprocess
import sys

import numpy as np
from timing import processor_seconds, report

TURNS = 8
WAYS = ("import torch", "import aura_study.losses")
HEAVY = ("transformers", "pandas", "matplotlib")


def fresh_seconds(statement: str) -> float:
    """Processor time of a fresh interpreter that runs ``statement``."""
    return processor_seconds([sys.executable, "-c", statement])


def heavy(statement: str) -> str:
    """Those of `HEAVY` that the statement brings in."""
    code = f"{statement}; import sys; print(*[name for name in {HEAVY} if name in sys.modules])"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    times = {way: np.empty(TURNS) for way in WAYS}
    for turn in range(TURNS):
        for way in WAYS:
            times[way][turn] = fresh_seconds(way)
    torch = times["import torch"].min()
    rows: dict[str, str | tuple[str, str]] = {"`import torch`, the unit": f"{torch:.2f} s"}
    for way in WAYS[1:]:
        ratio = f"{times[way].min() / torch:.3f} ×, brings in {heavy(way) or 'none'} of {', '.join(HEAVY)}"
        rows[f"`{way}`"] = (ratio, "≤ 1.10 ×, none") if way.endswith("losses") else ratio
    report("imports", rows)


if __name__ == "__main__":
    main()
