"""Published implementations of focal loss whose default gamma is counted (F1a).

The frame was fixed before any default was looked up: every Python package in a list of the registry's that speaks of
focal loss in its name or description, and twelve general libraries that have one; and AURA's own.
"""

SURVEYED = (
    "balanced-loss 0.1.1",
    "cbloss 0.2.0",
    "focal-loss 0.0.7",
    "focal-loss-pytorch 0.0.3",
    "focal-loss-torch 0.1.2",
    "focalloss4keras 0.0.3",
    "imbalance-xgboost 0.8.1",
    "imbalanced-losses 0.6.0",
    "pytorch-focalloss 1.2.0",
    "unified-focal-loss-pytorch 0.1.2",
    "catalyst 22.4",
    "fvcore 0.1.5.post20221221",
    "keras 3.15.1",
    "kornia 0.9.0",
    "mmdet 3.3.0",
    "monai 1.6.1",
    "pytorch-toolbelt 0.8.0",
    "segmentation-models-pytorch 0.6.0",
    "tensorflow-addons 0.23.0",
    "torchvision 0.29.1",
    "transformers 5.23.0",
    "ultralytics 8.4.190",
    "AURA V10",
)
"""Package and version."""
