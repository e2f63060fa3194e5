"""YOLO's layers, which have no form."""

from __future__ import annotations

from dragon.export.onnx.forms import lacks

lacks("only scores, and is left out", "DetectionLoss", "GaussianYolov3", "RegionLoss", "Yolov3")
lacks(
    "reads boxes from maps, which is not written yet; cut the net before it and read them yourself",
    "YoloDetectionOutput", "Yolov3DetectionOutput",
)  # fmt: skip
