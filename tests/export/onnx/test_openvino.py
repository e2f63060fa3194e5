"""Layers whose operators are rare, in OpenVINO, where it is installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dragon.export.onnx.file import write_onnx
from dragon.export.onnx.model import model_of
from dragon.export.onnx.verify import difference, runtime
from tests.export.onnx.helpers import filled, reference
from tests.layers.catalogue import CASES

pytest.importorskip("onnx")
pytest.importorskip("openvino")

RARE = (
    "ArgMax 3", "BatchReindex 0", "DecorrelatedBN 0", "DetectionOutput 0", "Embed 0", "Filter 0", "Im2col 0",
    "Interp 2",
    "LRN 2",
    "LSTM 2", "PSROIPooling 0", "Pooling 1", "Pooling 5", "Proposal 0", "Proposal 1", "RCNNDetectionOutput 0",
    "RCNNDetectionOutput 1", "ROIPooling 0", "RNN 1", "Reverse 1", "Upsample 1",
)  # fmt: skip


@pytest.mark.parametrize("name", RARE)
def test_form(name: str, tmp_path: Path) -> None:
    inputs = {key: np.asarray(value) for key, value in CASES[name].values().items()}
    with filled(CASES[name].text(), inputs) as net:
        write_onnx(model_of(net), tmp_path / "x.onnx")
        expected = reference(net, inputs)
    found = runtime("openvino")(
        str(tmp_path / "x.onnx"), {key: value.astype(np.float32) for key, value in inputs.items()}
    )
    for key, value in expected.items():
        assert difference(found[key], value).largest < 1e-5
