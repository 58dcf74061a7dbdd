"""Presence schedules: who is in which micro-batch, reproducibly, whatever is trained."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aura_study.data.schedules import alternating, mixed, quotas, stretch

SIZES = {"toxicity": 47, "emotion": 80, "sentiment": 80, "reporting": 5}
AURA = {"toxicity": 11_935, "emotion": 20_000, "sentiment": 20_000, "reporting": 925}
EVERY = [mixed, stretch, alternating]

some_sizes = st.dictionaries(st.sampled_from(list(SIZES)), st.integers(1, 40), min_size=1, max_size=4)


def same(first, second) -> bool:
    return list(first) == list(second) and all(np.array_equal(first[task], second[task]) for task in first)


@settings(max_examples=60, deadline=None)
@given(sizes=some_sizes, batch_size=st.integers(1, 20), seed=st.integers(0, 5), epoch=st.integers(0, 3))
def test_mixed_draws_each_row_once_per_epoch(sizes, batch_size, seed, epoch):
    """An epoch of `mixed` is a permutation of all rows, in full batches but for the last."""
    schedule = mixed(sizes, batch_size, seed)
    steps = schedule.steps_per_epoch
    batches = list(schedule.batches(epoch * steps, (epoch + 1) * steps))
    for task, size in sizes.items():
        drawn = np.concatenate([batch.get(task, np.array([], int)) for batch in batches])
        assert sorted(drawn) == list(range(size))
    lengths = [sum(map(len, batch.values())) for batch in batches]
    assert set(lengths[:-1]) <= {batch_size}
    assert 1 <= lengths[-1] <= batch_size
    assert all(len(rows) for batch in batches for rows in batch.values())


def test_mixed_presence_is_that_of_an_iid_shuffle():
    """AURA's reporting task stands in 1 - (1 - 925/52,860)^16 = 25 % of an epoch's 3,304 batches."""
    schedule = mixed(AURA, 16, 0)
    assert schedule.steps_per_epoch == 3_304
    seen = np.mean(["reporting" in batch for batch in schedule.batches(0, 3_304)])
    assert seen == pytest.approx(1 - (1 - 925 / 52_860) ** 16, abs=0.02)


@pytest.mark.parametrize("make", EVERY)
def test_equal_seeds_give_equal_batches_and_other_seeds_others(make):
    """Any step, asked for in any order, is the same; another seed gives other rows."""
    first, again, other = make(SIZES, 8, 3), make(SIZES, 8, 3), make(SIZES, 8, 4)
    in_order = list(islice(first, 60))
    for step in reversed(range(60)):
        assert same(again.batch(step), in_order[step])
    assert not all(same(other.batch(step), in_order[step]) for step in range(60))


@pytest.mark.parametrize("make", EVERY)
def test_a_run_resumes_at_any_step(make):
    """Batches from step 37 are the tail of the batches from step 0."""
    schedule = make(SIZES, 8, 0)
    tail = list(schedule.batches(0, 50))[37:]
    assert all(same(first, second) for first, second in zip(schedule.batches(37, 50), tail, strict=True))


@pytest.mark.parametrize("make", EVERY)
def test_rows_are_in_range_and_tasks_in_order(make):
    """Every index is a row of its task; tasks stand in the order of the sizes."""
    for batch in make(SIZES, 8, 1).batches(0, 80):
        assert list(batch) == [task for task in SIZES if task in batch]
        for task, rows in batch.items():
            assert rows.min() >= 0
            assert rows.max() < SIZES[task]


@settings(max_examples=60, deadline=None)
@given(absent=st.sampled_from(list(SIZES)), start=st.integers(0, 30), length=st.integers(0, 30))
def test_stretch_is_absent_exactly_in_its_stretch(absent, start, length):
    """The named task is missing from start to stop, exclusive; every other task is in every batch."""
    schedule = stretch(SIZES, 8, 0, absent, start, start + length)
    for step, batch in enumerate(schedule.batches(0, 70)):
        expected = set(SIZES) - ({absent} if start <= step < start + length else set())
        assert set(batch) == expected


def test_stretch_and_its_control_draw_the_same_rows():
    """With and without the absence, every other task's rows are the same at every step, and the returned task's too."""
    treated, control = stretch(SIZES, 8, 5, "emotion", 10, 40), stretch(SIZES, 8, 5, "emotion", 0, 0)
    for step, (batch, whole) in enumerate(zip(treated.batches(0, 90), control.batches(0, 90), strict=True)):
        assert same(batch, {task: rows for task, rows in whole.items() if task in batch})
        assert ("emotion" in batch) == (not 10 <= step < 40)


def test_stretch_quotas_are_proportional_with_one_row_at_least():
    """AURA's sizes in a batch of 16: reporting's share is a quarter of a row, its quota one."""
    assert quotas(AURA, 16) == {"toxicity": 3, "emotion": 6, "sentiment": 6, "reporting": 1}
    batch = stretch(AURA, 16, 0).batch(0)
    assert {task: len(rows) for task, rows in batch.items()} == quotas(AURA, 16)


@settings(max_examples=100, deadline=None)
@given(sizes=some_sizes, batch_size=st.integers(4, 64))
def test_quotas_fill_the_batch(sizes, batch_size):
    """They sum to the batch size and none is 0; with room for everybody each is within one row of its share."""
    rows = quotas(sizes, batch_size)
    assert sum(rows.values()) == batch_size
    assert min(rows.values()) >= 1
    shares = {task: batch_size * size / sum(sizes.values()) for task, size in sizes.items()}
    if min(shares.values()) >= 1:
        assert all(abs(rows[task] - shares[task]) < 1 for task in sizes)


@pytest.mark.parametrize("make", [stretch, alternating])
def test_each_tasks_stream_covers_all_its_rows_before_any_comes_again(make):
    """A stream is one permutation after another, and the next is shuffled anew."""
    drawn: dict[str, list[int]] = {task: [] for task in SIZES}
    for batch in make(SIZES, 8, 0).batches(0, 400):
        for task, rows in batch.items():
            drawn[task].extend(rows.tolist())
    for task, size in SIZES.items():
        first, second = drawn[task][:size], drawn[task][size : 2 * size]
        assert sorted(first) == sorted(second) == list(range(size))
        assert first != second


def test_a_tasks_stream_does_not_depend_on_the_other_tasks():
    """Taking a task away leaves the others' first rows as they were, up to the quota."""
    full = alternating(SIZES, 8, 0)
    alone = alternating({"emotion": SIZES["emotion"]}, 8, 0)
    for turn in range(12):
        assert same(full.batch(4 * turn + 1), alone.batch(turn))


def test_alternating_has_one_task_per_batch_in_turn():
    """Round robin in the order of the sizes, every batch full."""
    batches = list(alternating(SIZES, 8, 0).batches(0, 12))
    assert [list(batch) for batch in batches] == [[task] for task in SIZES] * 3
    assert {len(rows) for batch in batches for rows in batch.values()} == {8}


def test_bad_schedules_say_what_is_wrong():
    """Unknown task, backward stretch, a batch too small, no rows, no tasks, a lone absent task, a negative step."""
    with pytest.raises(ValueError, match="unknown task 'irony'; the tasks are"):
        stretch(SIZES, 8, 0, "irony", 0, 5)
    with pytest.raises(ValueError, match="0 <= start <= stop, got start=9, stop=5"):
        stretch(SIZES, 8, 0, "emotion", 9, 5)
    with pytest.raises(ValueError, match="an absence of 5 steps cannot begin again every 5"):
        stretch(SIZES, 8, 0, "emotion", 4, 9, every=5)
    with pytest.raises(ValueError, match="a batch of 3 rows cannot hold one row of each of 4 tasks"):
        stretch(SIZES, 3, 0)
    with pytest.raises(ValueError, match="'emotion' is the only task"):
        stretch({"emotion": 9}, 3, 0, "emotion", 0, 5)
    for make in (mixed, alternating):
        with pytest.raises(ValueError, match=r"every task needs at least 1 row, got \{'emotion': 0\}"):
            make({"emotion": 0, "sentiment": 3}, 8, 0)
        with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
            make(SIZES, 0, 0)
        with pytest.raises(ValueError, match="needs at least one task"):
            make({}, 8, 0)
        with pytest.raises(ValueError, match="a seed is at least 0, got -1"):
            make(SIZES, 8, -1)
        with pytest.raises(ValueError, match="steps count from 0, got -1"):
            make(SIZES, 8, 0).batch(-1)
