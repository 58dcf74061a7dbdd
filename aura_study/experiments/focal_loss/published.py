"""Published implementations of focal loss and the gamma that each has by default (F1a).

The frame was fixed before the defaults were looked up (see the history of this file): every Python package in a list of
the registry's that speaks of focal loss in its name or description, twelve general libraries that have one, and AURA's.
"""

from typing import NamedTuple

import pandas as pd

from aura_study.claims import Measurement
from aura_study.claims.statistics.intervals import share_interval


class Published(NamedTuple):
    """One implementation: where it stands, and its default gamma; none where the caller has to give one."""

    package: str
    place: str
    gamma: float | None


SURVEYED = (
    Published("balanced-loss 0.1.1", "balanced_loss.losses.focal_loss", 2.0),
    Published("cbloss 0.2.0", "cbloss.loss.FocalLoss", 2.0),
    Published("focal-loss 0.0.7", "focal_loss.binary_focal_loss", None),
    Published("focal-loss-pytorch 0.0.3", "alexmeredith8299/focal_loss_pytorch, BinaryFocalLoss; no code in it", 2.0),
    Published("focal-loss-torch 0.1.2", "focal_loss.focal_loss.FocalLoss", None),
    Published("focalloss4keras 0.0.3", "focal_loss.FocalLoss", 2.0),
    Published("imbalance-xgboost 0.8.1", "imxgboost.imbalance_xgb.imbalance_xgboost", None),
    Published("imbalanced-losses 0.6.0", "imbalanced_losses.focal_loss.SigmoidFocalLoss", 2.0),
    Published("pytorch-focalloss 1.2.0", "torch_focalloss.losses.BinaryFocalLoss", 2.0),
    Published("unified-focal-loss-pytorch 0.1.2", "unified_focal_loss.losses.FocalLoss", 0.75),
    Published("catalyst 22.4", "catalyst.contrib.losses.focal.FocalLossBinary", 2.0),
    Published("fvcore 0.1.5.post20221221", "fvcore.nn.focal_loss.sigmoid_focal_loss", 2.0),
    Published("keras 3.15.1", "keras.losses.BinaryFocalCrossentropy", 2.0),
    Published("kornia 0.9.0", "kornia.losses.FocalLoss", 2.0),
    Published("mmdet 3.3.0", "mmdet.models.losses.focal_loss.FocalLoss", 2.0),
    Published("monai 1.6.1", "monai.losses.FocalLoss", 2.0),
    Published("pytorch-toolbelt 0.8.0", "pytorch_toolbelt.losses.focal.BinaryFocalLoss", 2.0),
    Published("segmentation-models-pytorch 0.6.0", "segmentation_models_pytorch.losses.FocalLoss", 2.0),
    Published("tensorflow-addons 0.23.0", "tensorflow_addons.losses.SigmoidFocalCrossEntropy", 2.0),
    Published("torchvision 0.29.1", "torchvision.ops.sigmoid_focal_loss", 2.0),
    Published("transformers 5.23.0", "transformers.loss.loss_for_object_detection.sigmoid_focal_loss", 2.0),
    Published("ultralytics 8.4.190", "ultralytics.utils.loss.FocalLoss", 1.5),
    Published("AURA V10", "GiuseppeSPk/AURA, src/models/losses.py, FocalLoss", 2.0),
)


def defaults() -> pd.DataFrame:
    """The implementations by default gamma, commonest first: gamma (NaN for none), how many, their names."""
    grouped = pd.DataFrame(SURVEYED).groupby("gamma", dropna=False)["package"]
    found = grouped.agg(["size", ", ".join]).reset_index()
    found.columns = ["default gamma", "implementations", "names"]
    return found.sort_values("implementations", ascending=False, ignore_index=True)


def measure_default() -> Measurement:
    """F1a: share of the implementations whose default gamma is 2, with Wilson's interval; no default counts against."""
    twos = sum(found.gamma == 2 for found in SURVEYED)
    share = share_interval(twos, len(SURVEYED))
    return Measurement(
        share.mean,
        share.low,
        share.high,
        f"share of {len(SURVEYED)} listed implementations with gamma = 2 by default",
        limits={"with gamma = 2": twos, "with no default": sum(found.gamma is None for found in SURVEYED)},
    )
