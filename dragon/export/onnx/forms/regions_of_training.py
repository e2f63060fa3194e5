"""Layers of Faster R-CNN and R-FCN without a form."""

from __future__ import annotations

from dragon.export.onnx.forms import lacks

lacks("takes true boxes in, as only training does; what it gives becomes an input", "AnchorTarget", "ProposalTarget")
lacks("chooses regions for training; what it gives becomes an input", "BoxAnnotatorOHEM")
lacks("only scores, and is left out", "SmoothL1LossOHEM", "SoftmaxWithLossOHEM")
lacks("is not in ONNX; write a PSROIPooling, and train the net with it", "PSROIAlign")
lacks("becomes an input", "RoIData", "RegionData")
