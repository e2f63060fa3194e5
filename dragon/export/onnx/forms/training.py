"""Layers without a form: what only training needs, and programs."""

from __future__ import annotations

from dragon.export.onnx.forms import lacks

lacks("is a program; write what it does with layers, or cut the net before it", "Python")
lacks("keeps a table of labels, whose number depends on values: cut the net before it", "CTCBeamSearchDecoder")
lacks(
    "takes labels in, as only training does; what it reads becomes an output",
    "LabelSpecificAdd", "LargeMarginInnerProduct", "MarginInnerProduct",
)  # fmt: skip
lacks(
    "only scores, and is left out",
    "Accuracy", "CTCLoss", "CenterLoss", "ContrastiveLoss", "DetectionEvaluate", "EuclideanLoss", "FocalLoss",
    "HingeLoss", "InfogainLoss", "L1Loss", "LabelsequenceAccuracy", "MalisLoss", "MultiBoxLoss",
    "MultinomialLogisticLoss", "SigmoidCrossEntropyLoss", "SmoothL1Loss", "SoftmaxWithLoss", "TripletLoss",
)  # fmt: skip
lacks("writes to a file, and is left out", "HDF5Output")
lacks(
    "becomes an input",
    "AnnotatedData", "Data", "DenseImageData", "DummyData", "HDF5Data", "ImageData", "ImageSegData", "Input",
    "MemoryData", "MultiLabelImageData", "VideoData", "WindowData",
)  # fmt: skip
