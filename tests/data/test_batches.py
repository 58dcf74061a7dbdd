"""Batches: the schedule's rows, padded to the longest, each task in its own slice with its own labels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aura_study.data.batches import Batch, Batches, dev_batches
from aura_study.data.schedules import alternating, mixed, stretch
from aura_study.data.tasks import TASK_NAMES, TASKS
from aura_study.data.tokenization import TokenizedSplit

PAD = 1
ROWS = {"toxicity": 40, "emotion": 60, "sentiment": 50, "reporting": 6}


def made_up_split(task: str, rows: int) -> TokenizedSplit:
    """Rows of 1 to 30 tokens whose ids say which task and row they are."""
    rng = np.random.default_rng(rows)
    lengths = rng.integers(1, 31, rows)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    first = 1000 * (1 + TASK_NAMES.index(task))
    ids = np.repeat(np.arange(rows) + first, lengths).astype(np.int32)
    labels = rng.integers(0, 2, (rows, 7)).astype(np.float32) if task == "emotion" else rng.integers(0, 2, rows)
    return TokenizedSplit(ids, offsets, labels, PAD)


SPLITS = {task: made_up_split(task, rows) for task, rows in ROWS.items()}


def assert_holds_rows(batch: Batch, drawn: dict[str, np.ndarray], splits: dict[str, TokenizedSplit]) -> None:
    """Slow twin of the collator: row by row, the batch holds the drawn rows' tokens, padding and labels."""
    position = 0
    assert batch.tasks == tuple(task for task in TASK_NAMES if task in drawn)
    for task in batch.tasks:
        assert batch.rows[task] == slice(position, position + len(drawn[task]))
        for place, row in enumerate(drawn[task]):
            split = splits[task]
            expected = split.ids[split.offsets[row] : split.offsets[row + 1]].tolist()
            width = batch.input_ids.shape[1]
            assert batch.input_ids[position].tolist() == expected + [PAD] * (width - len(expected))
            assert batch.attention_mask[position].tolist() == [1] * len(expected) + [0] * (width - len(expected))
            np.testing.assert_array_equal(batch.labels[task][place].numpy(), split.labels[row])
            position += 1
    assert position == len(batch)


@settings(max_examples=30, deadline=None)
@given(batch_size=st.integers(4, 40), seed=st.integers(0, 5), make=st.sampled_from([mixed, stretch, alternating]))
def test_batches_hold_the_schedules_rows(batch_size, seed, make):
    """Tokens, padding, slices and labels equal a row-by-row twin, for every schedule."""
    schedule = make(ROWS, batch_size, seed)
    batches = Batches(SPLITS, schedule)
    for step, batch in enumerate(batches.iterate(0, 6)):
        assert_holds_rows(batch, schedule.batch(step), SPLITS)


def test_rows_are_padded_to_the_longest_of_the_batch():
    """The width is the longest row's, or the next multiple of what is asked for."""
    schedule = mixed(ROWS, 8, 0)
    for batch, wide in zip(
        Batches(SPLITS, schedule).iterate(0, 20),
        Batches(SPLITS, schedule, pad_to_multiple_of=8).iterate(0, 20),
        strict=True,
    ):
        longest = int(batch.attention_mask.sum(1).max())
        assert batch.input_ids.shape == (len(batch), longest)
        assert wide.input_ids.shape == (len(batch), 8 * -(-longest // 8))
        assert torch.equal(wide.input_ids[:, :longest], batch.input_ids)
        assert not wide.attention_mask[:, longest:].any()


def test_labels_have_the_dtype_and_shape_of_their_loss():
    """Class indices are int64 (n,), multi-hot float32 (n, 7), binary targets float32 (n,)."""
    batch = Batches(SPLITS, stretch(ROWS, 16, 0)).batch(0)
    for task, labels in batch.labels.items():
        rows = batch.rows[task].stop - batch.rows[task].start
        wanted = {
            "multiclass": (torch.int64, (rows,)),
            "multilabel": (torch.float32, (rows, 7)),
            "binary": (torch.float32, (rows,)),
        }[TASKS[task].kind]
        assert (labels.dtype, tuple(labels.shape)) == wanted


def test_an_absent_task_has_no_slice_and_no_labels():
    """Presence is the keys."""
    batches = Batches(SPLITS, stretch(ROWS, 16, 0, "reporting", 2, 4))
    assert [("reporting" in batch.rows, "reporting" in batch.labels) for batch in batches.iterate(1, 5)] == [
        (True, True),
        (False, False),
        (False, False),
        (True, True),
    ]


def test_the_order_of_tasks_is_that_of_the_registry():
    """Splits and sizes in another order give slices in the order of TASKS all the same."""
    reverse = dict(reversed(SPLITS.items()))
    batch = Batches(reverse, stretch({task: ROWS[task] for task in reverse}, 16, 0)).batch(0)
    assert batch.tasks == TASK_NAMES


def test_batches_move_to_a_device():
    """All tensors move; slices stay."""
    batch = Batches(SPLITS, mixed(ROWS, 8, 0)).batch(0)
    moved = batch.to("meta")
    assert {tensor.device.type for tensor in (moved.input_ids, moved.attention_mask, *moved.labels.values())} == {
        "meta"
    }
    assert moved.rows == batch.rows


def test_writing_into_a_batch_changes_no_other():
    """Batches own their memory: the same step asked for again is unchanged."""
    batches = Batches(SPLITS, mixed(ROWS, 8, 0))
    spoiled = batches.batch(3)
    before = spoiled.input_ids.clone()
    spoiled.input_ids.zero_()
    for labels in spoiled.labels.values():
        labels.fill_(9)
    again = batches.batch(3)
    assert torch.equal(again.input_ids, before)
    assert all(labels.max() <= 1 for labels in again.labels.values())


def test_iteration_is_endless_and_resumes():
    """The plain iterator passes the epoch's end; a range of steps is a slice of it."""
    batches = Batches(SPLITS, mixed(ROWS, 16, 0))
    plain = iter(batches)
    first = [next(plain).input_ids for _ in range(batches.steps_per_epoch + 3)]
    for whole, part in zip(first[5:], batches.iterate(5, batches.steps_per_epoch + 3), strict=True):
        assert torch.equal(whole, part.input_ids)


@pytest.mark.parametrize("task", TASK_NAMES)
def test_dev_batches_hold_every_row_once_shortest_first(task):
    """Sorted by length, so that a batch's rows differ little; all rows and labels are there."""
    split = SPLITS[task]
    order = np.argsort(split.lengths, kind="stable")
    batches = list(dev_batches(task, split, 16))
    for start, batch in zip(range(0, len(split), 16), batches, strict=True):
        assert_holds_rows(batch, {task: order[start : start + 16]}, {task: split})
    widths = [batch.input_ids.shape[1] for batch in batches]
    assert widths == sorted(widths)


def test_bad_requests_name_what_is_wrong():
    """Sizes that differ, unknown tasks, different tokenizers, a batch of no rows."""
    with pytest.raises(ValueError, match=r"the schedule's sizes .* are not the splits'"):
        Batches(SPLITS, mixed({**ROWS, "emotion": 61}, 8, 0))
    with pytest.raises(ValueError, match=r"unknown tasks \['irony'\]"):
        dev_batches("irony", SPLITS["toxicity"])
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        dev_batches("toxicity", SPLITS["toxicity"], 0)
    with pytest.raises(ValueError, match="pad_to_multiple_of must be at least 1, got 0"):
        Batches(SPLITS, mixed(ROWS, 8, 0), pad_to_multiple_of=0)
    split = SPLITS["toxicity"]
    other = TokenizedSplit(split.ids, split.offsets, split.labels, 0)
    with pytest.raises(ValueError, match=r"different tokenizers: padding ids \[0, 1\]"):
        Batches({**SPLITS, "toxicity": other}, mixed(ROWS, 8, 0))
