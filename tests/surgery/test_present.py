"""Nets of a dialect and what `to_present` makes of them compute the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.errors import WeightsError
from dragon.graph.net import Net
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb
from dragon.proto.dialects import doubtful_layers
from dragon.proto.text import parse_text
from dragon.surgery.merge import split
from dragon.surgery.model import Model, read_model, write_model
from dragon.surgery.present import to_present

X = np.random.default_rng(3).standard_normal((5, 4, 6, 6)) * 3 + 1
NET = """
name: "n"
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 5 dim: 4 dim: 6 dim: 6 }} }} }}
layer {{ name: "bn1" type: "{kind}" bottom: "data" top: "bn1" {settings} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "bn1" top: "ip"
  inner_product_param {{ num_output: 3 weight_filler {{ type: "xavier" }} }} }}
"""
FILLERS = 'scale_param { filler { type: "uniform" min: 0.5 max: 2 } bias_filler { type: "uniform" } }'
CASES = {
    "2016": ("dragon-2016", "BatchNorm", ""),
    "2016, numbers": ("dragon-2016", "BatchNorm", "batch_norm_param { decay: 0.5 eps: 0.1 }"),
    "2016, batch": ("dragon-2016", "BatchNorm", "batch_norm_param { use_global_stats: false }"),
    "2017, split": ("neopenx", "BatchNorm", ""),
    "2017, merged": ("neopenx", "BN", FILLERS),
    "2017, op": ("neopenx", "FusedBatchNorm", "batch_norm_param { eps: 0.1 moving_average_fraction: 0.5 }"),
}


def text_of(case: str) -> tuple[str, str]:
    profile, kind, settings = CASES[case]
    return profile, NET.format(kind=kind, settings=settings)


def outputs(model: Model, phase: int) -> list[Array]:
    """Top and gradients of the learned values of one run, in float64; gamma and beta in this order."""
    net = Net(model.net, phase=phase, engine="numpy", dtype=np.float64, seed=1)
    for name, arrays in model.arrays.items():
        for blob, array in zip(net.params[name], arrays, strict=True):
            blob.data[...] = array.reshape(blob.shape)
    top = np.array(net.forward(data=X)["ip"])
    net.backward(ip=np.ones_like(top))
    affine = net.layer_dict["bn1"].affine  # type: ignore[attr-defined]
    return [top, *(np.array(blob.diff) for blob in affine or ()), np.array(net.params["ip"][0].diff)]


@pytest.mark.parametrize("case", CASES)
def test_outputs_are_equal(tmp_path: Path, case: str) -> None:
    profile, text = text_of(case)
    net = Net(parse_text(text, pb.NetParameter()), phase=TRAIN, profile=profile, engine="numpy", seed=1)
    for k in range(3):
        net.forward(data=X * (k + 1) + k)
    old = Model(net.param, {name: [np.array(b.peek()) for b in blobs] for name, blobs in net.params.items()})
    new = to_present(old)
    assert not new.net.profile
    assert not any(layer.profile for layer in new.net.layer)
    for phase in (TRAIN, TEST):
        for a, b in zip(outputs(old, phase), outputs(new, phase), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
    # the same from files, by the name of the profile or by what the files say
    (tmp_path / "net.prototxt").write_text(text)
    net.save(tmp_path / "w.caffemodel")
    net.save(tmp_path / "w.h5")
    for weights in ("w.caffemodel", "w.h5"):
        read = read_model(tmp_path / "net.prototxt", tmp_path / weights, profile)
        for name, arrays in new.arrays.items():
            for mine, its in zip(read.arrays[name], arrays, strict=True):
                np.testing.assert_array_equal(mine, its)
    write_model(new, tmp_path / "new.prototxt", tmp_path / "new.caffemodel")
    again = read_model(tmp_path / "new.prototxt", tmp_path / "new.caffemodel")
    assert again.net == new.net
    # also where the text names it, of which the rest stays as it was
    (tmp_path / "own.prototxt").write_text(f'# first\nprofile: "{profile}"\n{text}')
    write_model(read_model(tmp_path / "own.prototxt"), tmp_path / "edited.prototxt", None)
    assert (tmp_path / "edited.prototxt").read_text().startswith("# first\n")
    edited = read_model(tmp_path / "edited.prototxt").net
    assert not edited.profile
    assert edited.layer[1] == new.net.layer[1]


def test_the_definition() -> None:
    profile, text = text_of("2016")
    net = Net(parse_text(text, pb.NetParameter()), phase=TRAIN, profile=profile)
    layer = to_present(Model(net.param)).net.layer[1]
    wanted = parse_text(
        """name: "bn1" type: "BN" bottom: "data" top: "bn1" batch_norm_param { average: LATEST decay: 0.95 eps: 1e-10
        scale_filler { value: 1.0000001 } bias_filler { value: 1e-7 } }""",
        pb.LayerParameter(),
    )
    assert layer == wanted


def test_the_deviation_becomes_a_variance() -> None:
    profile, text = text_of("2016, numbers")
    net = Net(parse_text(text, pb.NetParameter()), phase=TRAIN, profile=profile)
    beta, gamma, mean, deviation = (np.array(v, np.float32) for v in ([1] * 4, [2] * 4, [3] * 4, [0.5, 1, 2, 0.1]))
    found = to_present(Model(net.param, {"bn1": [beta, gamma, mean, deviation]})).arrays["bn1"]
    variance, one = np.array([0.15, 0.9, 3.9, 0]), np.ones(1)
    wanted: list[Any] = [gamma, beta, mean, variance, one]
    for array, expected in zip(found, wanted, strict=True):
        np.testing.assert_allclose(array, expected, rtol=1e-6, atol=1e-8)


def test_multipliers_follow_their_blobs() -> None:
    settings = 'param { lr_mult: 2 } param { lr_mult: 3 } param { name: "m" lr_mult: 1 } param { name: "v" }'
    net = parse_text(NET.format(kind="BatchNorm", settings=settings), pb.NetParameter(profile="dragon-2016"))
    specs = to_present(Model(Net(net, TRAIN).param)).net.layer[1].param
    assert [(p.name, p.lr_mult) for p in specs] == [("", 3), ("", 2), ("m", 1), ("v", 1), ("m_weight", 1)]


def test_weights_of_another_layout() -> None:
    profile, text = text_of("2016")
    net = Net(parse_text(text, pb.NetParameter()), phase=TRAIN, profile=profile)
    with pytest.raises(WeightsError, match=r'layer "bn1" \(BatchNorm\): has 4 blobs, the weights 3'):
        to_present(Model(net.param, {"bn1": [np.zeros(4)] * 3}))


def test_what_split_writes_is_of_no_doubtful_dialect() -> None:
    """A BatchNorm with decay alone could be the first Dragon's, so the rule stands beside it."""
    text = NET.format(kind="BN", settings="batch_norm_param { average: CAFFE decay: 0.8 }")
    new, _ = split(Model(parse_text(text, pb.NetParameter())))
    assert new.net.layer[1].type == "BatchNorm"
    assert doubtful_layers(new.net) == []
    alone = NET.format(kind="BatchNorm", settings="batch_norm_param { decay: 0.8 }")
    assert doubtful_layers(parse_text(alone, pb.NetParameter())) == [1]


def test_other_nets_are_left_alone() -> None:
    model = Model(parse_text(text_of("2016")[1], pb.NetParameter()))
    assert to_present(model) is model
