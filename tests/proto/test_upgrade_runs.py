"""Nets of the first two generations give the outputs of the same net in the present form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dragon
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import format_text, read_net

NOW = """
name: "net" input: "data" input_shape { dim: 2 dim: 3 dim: 12 dim: 12 }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  convolution_param { num_output: 8 kernel_size: 3 pad: 1 stride: 2 group: 1
    weight_filler { type: "gaussian" std: 0.5 } bias_filler { type: "constant" value: 0.1 } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { pool: AVE kernel_size: 3 stride: 2 } }
layer { name: "norm1" type: "LRN" bottom: "pool1" top: "norm1" lrn_param { local_size: 3 alpha: 0.01 beta: 0.5 } }
layer { name: "left" type: "InnerProduct" bottom: "norm1" top: "left"
  inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "right" type: "InnerProduct" bottom: "norm1" top: "right"
  inner_product_param { num_output: 3 bias_term: false weight_filler { type: "xavier" } } }
layer { name: "both" type: "Concat" bottom: "left" bottom: "right" top: "both" concat_param { axis: 1 } }
layer { name: "drop" type: "Dropout" bottom: "both" top: "both" dropout_param { dropout_ratio: 0.25 } }
layer { name: "prob" type: "Softmax" bottom: "both" top: "prob" }
"""

V1 = """
name: "net" input: "data" input_dim: 2 input_dim: 3 input_dim: 12 input_dim: 12
layers { name: "conv1" type: CONVOLUTION bottom: "data" top: "conv1"
  blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0
  convolution_param { num_output: 8 kernel_size: 3 pad: 1 stride: 2 group: 1
    weight_filler { type: "gaussian" std: 0.5 } bias_filler { type: "constant" value: 0.1 } } }
layers { name: "relu1" type: RELU bottom: "conv1" top: "conv1" }
layers { name: "pool1" type: POOLING bottom: "conv1" top: "pool1" pooling_param { pool: AVE kernel_size: 3 stride: 2 } }
layers { name: "norm1" type: LRN bottom: "pool1" top: "norm1" lrn_param { local_size: 3 alpha: 0.01 beta: 0.5 } }
layers { name: "left" type: INNER_PRODUCT bottom: "norm1" top: "left"
  inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layers { name: "right" type: INNER_PRODUCT bottom: "norm1" top: "right"
  inner_product_param { num_output: 3 bias_term: false weight_filler { type: "xavier" } } }
layers { name: "both" type: CONCAT bottom: "left" bottom: "right" top: "both" concat_param { concat_dim: 1 } }
layers { name: "drop" type: DROPOUT bottom: "both" top: "both" dropout_param { dropout_ratio: 0.25 } }
layers { name: "prob" type: SOFTMAX bottom: "both" top: "prob" }
"""

V0 = """
name: "net" input: "data" input_dim: 2 input_dim: 3 input_dim: 12 input_dim: 12
layers { layer { name: "pad1" type: "padding" pad: 1 } bottom: "data" top: "pad1" }
layers { layer { name: "conv1" type: "conv" num_output: 8 kernelsize: 3 stride: 2 group: 1
    weight_filler { type: "gaussian" std: 0.5 } bias_filler { type: "constant" value: 0.1 }
    blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0 } bottom: "pad1" top: "conv1" }
layers { layer { name: "relu1" type: "relu" } bottom: "conv1" top: "conv1" }
layers { layer { name: "pool1" type: "pool" pool: AVE kernelsize: 3 stride: 2 } bottom: "conv1" top: "pool1" }
layers { layer { name: "norm1" type: "lrn" local_size: 3 alpha: 0.01 beta: 0.5 } bottom: "pool1" top: "norm1" }
layers { layer { name: "left" type: "innerproduct" num_output: 4 weight_filler { type: "xavier" } }
  bottom: "norm1" top: "left" }
layers { layer { name: "right" type: "innerproduct" num_output: 3 biasterm: false weight_filler { type: "xavier" } }
  bottom: "norm1" top: "right" }
layers { layer { name: "both" type: "concat" concat_dim: 1 } bottom: "left" bottom: "right" top: "both" }
layers { layer { name: "drop" type: "dropout" dropout_ratio: 0.25 } bottom: "both" top: "both" }
layers { layer { name: "prob" type: "softmax" } bottom: "both" top: "prob" }
"""


def run(text: str, folder: Path, phase: int) -> tuple[dragon.Net, dict[str, Any]]:
    path = folder / "net.prototxt"
    path.write_text(text)
    net = dragon.Net(str(path), phase, engine="numpy", seed=4)
    net.blobs["data"].data[...] = np.random.default_rng(0).normal(size=net.blobs["data"].shape)
    net.forward()
    return net, {name: blob.data.copy() for name, blob in net.blobs.items()}


@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST])
@pytest.mark.parametrize("old", [V1, V0], ids=["V1", "V0"])
def test_outputs_are_equal(old: str, phase: int, tmp_path: Path) -> None:
    now, expected = run(NOW, tmp_path, phase)
    net, blobs = run(old, tmp_path, phase)
    assert net.layer_names == now.layer_names
    assert list(blobs) == list(expected)
    for name, value in expected.items():
        assert (blobs[name] == value).all(), name
    multipliers = [[(p.layer, p.lr_mult, p.decay_mult) for p in n.learnable] for n in (net, now)]
    assert multipliers[0] == multipliers[1]


@pytest.mark.parametrize("old", [V1, V0], ids=["V1", "V0"])
def test_the_upgraded_text_is_in_the_present_form(old: str, tmp_path: Path) -> None:
    path = tmp_path / "old.prototxt"
    path.write_text(old)
    text = format_text(read_net(path))
    assert "layers" not in text
    _, expected = run(old, tmp_path, dragon.TEST)
    _, again = run(text, tmp_path, dragon.TEST)
    assert (again["prob"] == expected["prob"]).all()


def test_weights_of_old_files_load(tmp_path: Path) -> None:
    net, expected = run(NOW, tmp_path, dragon.TEST)
    stored = pb.NetParameter(name="net")
    for name, number in (("conv1", 4), ("left", 14), ("right", 14)):
        layer = stored.layers.add(name=name, type=number)
        for blob in net.params[name]:
            shape = [1] * (4 - blob.ndim) + list(blob.shape)
            layer.blobs.add(
                num=shape[0], channels=shape[1], height=shape[2], width=shape[3], data=blob.data.ravel().tolist()
            )
    path = tmp_path / "old.caffemodel"
    path.write_bytes(stored.SerializeToString())
    other = dragon.Net(str(tmp_path / "net.prototxt"), str(path), dragon.TEST, engine="numpy", seed=99)
    other.blobs["data"].data[...] = net.blobs["data"].data
    assert (other.forward()["prob"] == expected["prob"]).all()
