"""Layer types that have no form in PyTorch, why, and what to do."""

from __future__ import annotations

from dragon.export.torch.form import without_form
from dragon.layers.detection_output import DetectionOutput
from dragon.layers.hdf5_output import HDF5Output
from dragon.layers.python import Python

__all__: list[str] = []

without_form(
    {
        DetectionOutput: "suppresses overlapping boxes one by one: remove it and use torchvision.ops.batched_nms",
        HDF5Output: "writes files: remove it, and save what the module returns",
        Python: "runs code of its own: write it as a torch.nn.Module, and export the net without it",
    }
)
