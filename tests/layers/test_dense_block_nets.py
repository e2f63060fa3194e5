"""The DenseNets of Tongcheng's DN_CaffeScript, layer by layer as its prototxts have them, with blobs for their data.

Images have half the side, 16.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dragon
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text

DATA = """
layer { name: "Data1" type: "Input" top: "Data1" input_param { shape { dim: 2 dim: 3 dim: 16 dim: 16 } } }
layer { name: "Data2" type: "Input" top: "Data2" input_param { shape { dim: 2 } } }
"""
FROZEN = "param { lr_mult: 0 decay_mult: 0 } " * 3
MERGED = """batch_norm_param { moving_average_fraction: 0.1 scale_filler { type: "constant" value: 1 }
  bias_filler { type: "constant" value: 0 } engine: CUDNN }"""
MSRA = 'type: "msra"'
FAN_OUT = 'type: "msra" variance_norm: FAN_OUT'
# file: channels at the start and behind each block, layers of a block, settings of a block, filler, BN, and its end
FILES = {
    "train_test_densenet": ((16, 160, 304, 448), 12, "", MSRA, "", "bias_term: true", ""),
    "train_test_BC_C10plus": (
        (24, 216, 408), 16, "use_dropout: false dropout_amount: 0.2 use_BC: true BC_ultra_space_efficient: false", MSRA,
        "", "bias_term: true", "accuracy_param { use_log: true }",
    ),
    "train_test_BCBN_C10plus": (
        (24, 108, 150), 16, "use_dropout: false dropout_amount: 0.2 use_BC: true BC_ultra_space_efficient: true", MSRA,
        MERGED, "bias_term: true", "accuracy_param { use_log: true }",
    ),
    "train_test_BCBN_C10plusWithBias": (
        (24, 108, 150), 16,
        "use_dropout: false use_BC: true BC_ultra_space_efficient: true workspace_MB: 8 moving_average_fraction: 0.1",
        FAN_OUT, MERGED, "bias_term: true", "accuracy_param { use_log: true }",
    ),
    "train_test_C10Dual": (
        (24, 108, 150), 16,
        "use_dropout: false use_BC: true BC_ultra_space_efficient: true workspace_MB: 8 moving_average_fraction: 0.1",
        MSRA, MERGED, "bias_term: false", "accuracy_param { use_log: true }",
    ),
}  # fmt: skip


def convolution(name: str, bottom: str, outputs: int, kernel: int, filler: str) -> str:
    return f"""layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" convolution_param {{
      num_output: {outputs} bias_term: false pad: {kernel // 2} kernel_size: {kernel} stride: 1
      weight_filler {{ {filler} }} bias_filler {{ type: "constant" }} }} }}
"""


def text(file: str) -> str:
    """The net of a file behind its data."""
    widths, layers, settings, filler, norm, end, accuracy = FILES[file]
    net = DATA + convolution("Convolution1", "Data1", widths[0], 3, filler)
    above = "Convolution1"
    for k in range(1, 4):
        net += f"""layer {{ name: "DenseBlock{k}" type: "DenseBlock" bottom: "{above}" top: "DenseBlock{k}"
          denseblock_param {{ numTransition: {layers} initChannel: {widths[k - 1]} growthRate: 12
            Filter_Filler {{ {filler} }} BN_Scaler_Filler {{ type: "constant" value: 1 }}
            BN_Bias_Filler {{ type: "constant" value: 0 }} {settings} }} }}
        layer {{ name: "BatchNorm{k}" type: "BatchNorm" bottom: "DenseBlock{k}" top: "BatchNorm{k}" {norm or FROZEN} }}
"""
        if not norm:
            net += f"""layer {{ name: "Scale{k}" type: "Scale" bottom: "BatchNorm{k}" top: "BatchNorm{k}"
              scale_param {{ filler {{ value: 1 }} bias_term: true bias_filler {{ value: 0 }} }} }}
"""
        net += f'layer {{ name: "ReLU{k}" type: "ReLU" bottom: "BatchNorm{k}" top: "BatchNorm{k}" }}\n'
        above = f"BatchNorm{k}"
        if k < len(widths):
            net += convolution(f"Convolution{k + 1}", above, widths[k], 1, filler)
            above = f"Convolution{k + 1}"
        size = "kernel_size: 2 stride: 2" if k < 3 else "global_pooling: true"
        net += f"""layer {{ name: "Pooling{k}" type: "Pooling" bottom: "{above}" top: "Pooling{k}"
          pooling_param {{ pool: AVE {size} }} }}
"""
        above = f"Pooling{k}"
    return (
        net
        + f"""layer {{ name: "InnerProduct1" type: "InnerProduct" bottom: "Pooling3" top: "InnerProduct1"
      inner_product_param {{ num_output: 10 {end} weight_filler {{ type: "xavier" }} }} }}
    layer {{ name: "SoftmaxWithLoss1" type: "SoftmaxWithLoss" bottom: "InnerProduct1" bottom: "Data2"
      top: "SoftmaxWithLoss1" }}
    layer {{ name: "Accuracy1" type: "Accuracy" bottom: "InnerProduct1" bottom: "Data2" top: "Accuracy1"
      {accuracy} }}"""
    )


def learned(file: str) -> int:
    """The numbers that a net learns: kernels, scales and shifts, and the last layer."""
    widths, layers, settings, _, _, end, _ = FILES[file]
    total, channels = 27 * widths[0], widths[0]
    for k in range(3):
        for _ in range(layers):
            if "use_BC: true" in settings:
                total += 2 * channels + 48 * channels + 2 * 48 + 9 * 48 * 12
            else:
                total += 2 * channels + 9 * channels * 12
            channels += 12
        total += 2 * channels
        if k + 1 < len(widths):
            total += channels * widths[k + 1]
            channels = widths[k + 1]
    return total + 10 * channels + 10 * ("true" in end)


@pytest.mark.parametrize("file", FILES)
def test_a_net_of_the_repository(file: str, tmp_path: Path) -> None:
    """It is built with as many numbers as its layers say, learns a batch, and TEST runs with its averages."""
    definition = parse_text(text(file), pb.NetParameter())
    train = Net(definition, dragon.TRAIN, engine="onednn", seed=1)
    assert sum(p.blob.count for p in train.learnable if p.lr_mult) == learned(file)
    rng = np.random.default_rng(2)
    given: dict[str, Any] = {"Data1": rng.standard_normal((2, 3, 16, 16)), "Data2": np.array([3, 7])}
    losses = []
    for _ in range(3):
        for name, value in given.items():
            train.blobs[name].data[...] = value
        losses.append(train.forward_backward())
        for p in train.learnable:
            p.blob.data[...] -= 0.05 * p.lr_mult * p.blob.diff
            p.blob.diff[...] = 0
    assert losses[0] > losses[1] > losses[2] > 0
    train.save(tmp_path / "w.caffemodel")
    test = Net(definition, dragon.TEST, weights=tmp_path / "w.caffemodel", engine="onednn")
    found = test.forward(**given)
    assert np.isfinite(found["SoftmaxWithLoss1"])
    assert 0 <= float(found["Accuracy1"]) <= 1
