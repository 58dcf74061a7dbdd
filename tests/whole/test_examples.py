"""The examples run, at a tiny size, and show what they say."""

import runpy

import pytest
import torch

from aura_study.paths import project_root


def test_several_data_sets_in_one_trainer():
    """Batches lack tasks, the log has every number of every task, a batch of one task pulls at no other's weight."""
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
    assert any(entries[-1][f"phantom_number/{task}"] > 0 for task in tasks)
    assert "loss/toxicity" in set().union(*entries)
    model, one = trainer.model, trainer.train_dataset.datasets[0]
    model.zero_grad()
    model(**trainer.data_collator([one[row] for row in range(4)]))["loss"].backward()
    slopes = [leaf.grad.flatten() for leaf in model.weigh.parameters() if leaf.grad is not None]
    assert torch.cat(slopes).count_nonzero() == 1
