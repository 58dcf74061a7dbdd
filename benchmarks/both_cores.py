"""Both cores: two of our trainings side by side, one thread each, against one straightforward loop on two threads.

The way the study trains its seeds. The same work, losses and loops as in ``training.py``; all ways take turns.
"""

import argparse

import numpy as np
import torch
from joblib import Parallel, delayed
from timing import report
from training import OURS, PLAIN, RECORDED, Subject, data_here, span, subject, whole_runs

from aura_study.data.registry import DATASETS


def compare(work: Subject, data: str, turns: int) -> None:
    """Run every way in turns and print throughput and ratios."""
    torch.set_num_threads(2)
    alone = whole_runs(work)[PLAIN]
    ways = (PLAIN, OURS, RECORDED)
    times: dict[str, list[float]] = {name: [] for name in ("alone", *ways)}
    with Parallel(n_jobs=2) as pool:
        for turn in range(turns + 1):
            found = {"alone": alone()}
            for name in ways:
                spans = pool(delayed(span)(name, data, work.steps) for _ in range(2))
                found[name] = (max(end for _, end in spans) - min(start for start, _ in spans)) / 2
            for name, seconds in found.items():
                if turn:
                    times[name].append(seconds)
    median = {name: float(np.median(values)) for name, values in times.items()}
    samples = sum(len(batch) for batch in work.first)
    words = {"alone": f"{PLAIN}, one training on two threads", **{name: f"{name}, two trainings" for name in ways}}
    rows = {
        words[name]: f"{samples / value:6.0f} samples/s {median['alone'] / value:6.2f} x one on two threads "
        f"{median[PLAIN] / value:5.2f} x two of its kind"
        for name, value in median.items()
    }
    report(f"{work.steps} steps of 16 rows, both cores, median of {turns} turns", rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=data_here(), choices=list(DATASETS))
    parser.add_argument("--steps", type=int, default=60, help="of one turn")
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    compare(subject(given.data, given.steps), given.data, given.turns)


if __name__ == "__main__":
    main()
