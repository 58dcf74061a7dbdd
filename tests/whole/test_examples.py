"""The examples run, at a tiny size, and show what they say."""

import runpy

import pytest

from aura_study.paths import project_root


def test_several_data_sets_in_one_trainer():
    """Batches lack tasks, the log has every number of every task, and an absence moves no weight."""
    pytest.importorskip("accelerate")
    example = runpy.run_path(str(project_root() / "examples" / "several_datasets.py"))
    trainer = example["train"](steps=10, rows=40)
    entries = [entry for entry in trainer.state.log_history if "phantom_number/toxicity" in entry]
    assert len(entries) >= 10
    tasks = example["LABELS"]
    for number in ("weight", "sigma", "present", "phantom_number", "weight_growth"):
        assert all(f"{number}/{task}" in entries[0] for task in tasks)
    present = {task: [entry.get(f"present/{task}", 0.0) for entry in entries] for task in tasks}
    assert all(sum(shares) > 0 for shares in present.values())
    assert any(share < 1 for shares in present.values() for share in shares)
    absent = [task for task in tasks if entries[-1][f"phantom_number/{task}"] > 0]
    assert absent
    assert all(entry[f"weight_growth/{task}"] == pytest.approx(1.0) for entry in entries for task in absent)
    assert "loss/toxicity" in set().union(*entries)
