r"""Where sigma settles when a step is made of shards: micro-batches of an accumulated step, or data-parallel ranks.

Shard r holds c_r samples of a task with mean loss l_r (c_r may be 0). Each shard's total is averaged over the R shards,
by dividing the accumulated loss or by the all-reduce of data parallelism, so an average gradient decides. With n shards
that hold the task, sigma^2 (the guide's formula) settles at

===================  ==========================================================  ======================================
way                  a shard's term                                              sigma^2
===================  ==========================================================  ======================================
unmasked             w l_r (0 where absent) + reg, on every shard                sum of l_r over R
global presence      the same, if any shard holds the task, else nothing         sum of l_r over R: the phantom is back
local mask           w l_r + reg, on shards that hold it                         mean of l_r over the n shards
global count         w R c_r l_r / C + reg on every shard, C the count of all    mean over samples
===================  ==========================================================  ======================================

Derivation: set the mean over shards of d term / d theta to 0. The share of the task's own gradient that reaches the
encoder at the fixed point, against one shard with all the samples, is weight times that way's loss coefficient.
"""

from collections.abc import Sequence

import numpy as np

WAYS = ("unmasked", "global presence", "local mask", "global count")


def settled_variance(way: str, counts: Sequence[int], losses: Sequence[float]) -> float:
    """sigma^2 at the fixed point of ``way``; ``counts`` and ``losses`` have one entry per shard.

    Raises:
        ValueError: an unknown way, lengths that differ, or a task that no shard holds.

    Example: eight rows of a task with loss 1/2, all of them on one of four ranks.

    >>> {way: settled_variance(way, [8, 0, 0, 0], [0.5, 0, 0, 0]) for way in WAYS}
    {'unmasked': 0.125, 'global presence': 0.125, 'local mask': 0.5, 'global count': 0.5}
    """
    if way not in WAYS:
        raise ValueError(f"unknown way {way!r}; one of {list(WAYS)}")
    c, values = np.asarray(counts, float), np.asarray(losses, float)
    if c.shape != values.shape or c.ndim != 1 or not (c >= 0).all() or not c.any():
        raise ValueError(f"need one count >= 0 and one loss per shard, some count > 0, got {counts} and {losses}")
    here = c > 0
    if way in ("unmasked", "global presence"):
        return float(values[here].sum() / c.size)
    if way == "local mask":
        return float(values[here].mean())
    return float((c * values)[here].sum() / c.sum())


def encoder_coefficient(way: str, counts: Sequence[int], losses: Sequence[float]) -> float:
    """Total weight on the task's losses at the fixed point, summed over shards: what its gradient is multiplied by.

    For equal losses it is 1/(2L) where a step with the task in one piece would have 1/(2L).
    """
    variance = settled_variance(way, counts, losses)
    shards = len(counts)
    held = sum(count > 0 for count in counts)
    return (1.0 if way == "global count" else held / shards) / (2 * variance)
