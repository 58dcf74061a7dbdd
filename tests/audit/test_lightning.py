"""The live monitor in Lightning's own Trainer, on a LightningModule with two heads and their data sets."""

import csv
import math
import warnings

import pytest
import torch
from torch import nn

from aura_study.audit.lightning import PhantomMonitorLightning
from aura_study.audit.monitor import PhantomGradientWarning
from aura_study.losses import MaskedKendallLoss, UnmaskedKendallLoss

lightning = pytest.importorskip("lightning.pytorch", reason="Lightning is not installed: pip install lightning")

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers",  # Lightning's advice on data loaders
    "ignore:.*The number of training batches",
    "ignore:.*isinstance.treespec, LeafSpec",  # what Lightning uses of torch
    "ignore:.*srun.*command is available",
)
TASKS = ["a", "b"]
LR = 0.05


class TwoHeads(lightning.LightningModule):
    """``training_step`` gets a batch of one task's rows; task b has none in the first 10 optimiser steps."""

    def __init__(self, weigh: nn.Module) -> None:
        super().__init__()
        self.weigh = weigh
        self.heads = nn.ModuleDict({task: nn.Linear(4, 1) for task in TASKS})

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        here = TASKS if self.global_step >= 10 else TASKS[:1]
        if batch_idx == 17 and hasattr(self, "breaks"):
            raise RuntimeError("a broken batch")
        return self.weigh({task: self.heads[task](batch).square().mean() for task in here})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=LR)


def trainer(folder, callback):
    """Two micro-batches a step, an entry every 5 steps, kept in a table."""
    return lightning.Trainer(
        default_root_dir=folder,
        logger=lightning.loggers.CSVLogger(folder, version=0),
        callbacks=[callback],
        max_steps=20,
        accumulate_grad_batches=2,
        log_every_n_steps=5,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )


def fit(folder, weigh, callback):
    torch.manual_seed(0)
    model = TwoHeads(weigh)
    trainer(folder, callback).fit(model, torch.utils.data.DataLoader(torch.randn(160, 4), batch_size=4))
    with (folder / "lightning_logs" / "version_0" / "metrics.csv").open() as table:
        return model, [row for row in csv.DictReader(table) if row["phantom_number/b"]]


def test_lightnings_logger_gets_the_numbers_of_every_task(tmp_path):
    """Shares of the optimiser steps, phantom numbers by Adam's rate, the weight x e^(2 x 0.5), one warning."""
    callback = PhantomMonitorLightning("weigh")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model, rows = fit(tmp_path, UnmaskedKendallLoss(TASKS), callback)
    assert [warning.category for warning in caught].count(PhantomGradientWarning) == 1
    assert [float(row["present/a"]) for row in rows] == [1.0] * 4
    assert [float(row["present/b"]) for row in rows] == [0.0, 0.0, 1.0, 1.0]
    assert [float(row["phantom_number/b"]) for row in rows] == pytest.approx([0.25, 0.5, 0.5, 0.5])
    assert float(rows[1]["weight_growth/b"]) == pytest.approx(math.e, rel=1e-3)
    assert [row["loss/b"] == "" for row in rows] == [True, True, False, False]
    assert float(rows[3]["sigma/a"]) == pytest.approx((2 * float(rows[3]["weight/a"])) ** -0.5)
    assert not model.weigh._forward_hooks


def test_under_the_mask_nothing_grows_in_lightning_either(tmp_path):
    """The same training with the mask: counted, not grown, no warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _, rows = fit(tmp_path, MaskedKendallLoss(TASKS), PhantomMonitorLightning(lambda model: model.weigh, TASKS))
    assert not [warning for warning in caught if warning.category is PhantomGradientWarning]
    assert [float(row["phantom_number/b"]) for row in rows][1] == pytest.approx(0.5)
    assert [float(row["weight_growth/b"]) for row in rows][:2] == [1.0, 1.0]


def test_lightning_lets_go_of_a_training_that_failed_and_refuses_one_that_learns_nothing(tmp_path):
    """No hook outlives the training; a weighting that no optimiser holds is named before the first batch."""
    model, callback = TwoHeads(UnmaskedKendallLoss(TASKS)), PhantomMonitorLightning("weigh", threshold=math.inf)
    model.breaks = True
    rows = torch.utils.data.DataLoader(torch.randn(160, 4), batch_size=4)
    with pytest.raises(RuntimeError, match="a broken batch"):
        trainer(tmp_path, callback).fit(model, rows)
    assert callback.monitor is not None
    assert not model.weigh._forward_hooks
    with pytest.raises(ValueError, match="none of the trainer's optimizers holds"):
        trainer(tmp_path / "second", PhantomMonitorLightning(UnmaskedKendallLoss(TASKS))).fit(model, rows)
