"""Layers without a form: what only training needs, and programs."""

from __future__ import annotations

from dragon.export.onnx.forms import lacks

lacks("is a program; write what it does with layers, or cut the net before it", "Python")
lacks(
    "only scores, and is left out",
    "Accuracy", "ContrastiveLoss", "EuclideanLoss", "HingeLoss", "InfogainLoss", "MultinomialLogisticLoss",
    "SigmoidCrossEntropyLoss", "SmoothL1Loss", "SoftmaxWithLoss",
)  # fmt: skip
lacks("writes to a file, and is left out", "HDF5Output")
lacks(
    "becomes an input",
    "Data", "DummyData", "HDF5Data", "ImageData", "Input", "MemoryData", "WindowData",
)  # fmt: skip
