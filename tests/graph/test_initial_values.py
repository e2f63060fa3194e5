"""Blobs that are written in the layers of a definition are the first values of their parameters, as in Caffe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dragon
from dragon.bases.layer import TEST, TRAIN
from dragon.errors import PrototxtError
from dragon.export.deployed import read_deployed
from dragon.proto import dragon_pb2 as pb
from dragon.proto.binary import iter_layers
from dragon.proto.text import format_text, parse_text, read_net
from dragon.surgery.merge import merge
from dragon.surgery.model import Model, read_model, write_model
from dragon.surgery.present import to_present
from tests.engines import needs

INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 } } }\n'
PRODUCT = """layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 2 weight_filler { type: "constant" value: 7 } } %s
  blobs { shape { dim: 2 dim: 2 } data: 1 data: 2 data: 3 data: 4 } blobs { shape { dim: 2 } data: [10, 20] } }
"""
IP = PRODUCT % ""
SCALE = """layer { name: "scale" type: "Scale" bottom: "ip" top: "ip"
  blobs { num: 1 channels: 1 height: 1 width: 2 data: 2 data: 3 } }
"""
V1 = """input: "data" input_dim: 1 input_dim: 1 input_dim: 2 input_dim: 2
layers { %s blobs { num: 1 channels: 1 height: 1 width: 1 data: 5 } blobs_lr: 0 %s }
"""
CONVOLUTION = "convolution_param { num_output: 1 kernel_size: 1 bias_term: false }"
NORMALISED = """layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 dim: 3 dim: 3 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 1 kernel_size: 1 bias_term: false }
  blobs { shape { dim: [1, 2, 1, 1] } data: [1, 2] } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv"
  blobs { shape { dim: 1 } data: 3 } blobs { shape { dim: 1 } data: 4 } blobs { shape { dim: 1 } data: 1 } }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true }
  blobs { shape { dim: 1 } data: 5 } blobs { shape { dim: 1 } data: 6 } }
"""


def values(net: dragon.Net) -> dict[str, list[list[float]]]:
    return {name: [blob.peek().ravel().tolist() for blob in blobs] for name, blobs in net.params.items()}


@pytest.mark.parametrize("phase", [TRAIN, TEST])
@pytest.mark.parametrize("engine", ["numpy", "onednn"])
def test_blobs_of_the_definition_replace_fillers(engine: str, phase: int) -> None:
    if engine == "onednn":
        needs.onednn()
    with dragon.Net(parse_text(INPUT + IP + SCALE, pb.NetParameter()), phase, engine=engine) as net:
        assert values(net) == {"ip": [[1, 2, 3, 4], [10, 20]], "scale": [[2, 3]]}
        net.blobs["data"].data[...] = 1, 1
        np.testing.assert_array_equal(net.forward()["ip"], [[26, 81]])
        assert not any(layer.blobs for layer in net.param.layer)  # not kept twice


@pytest.mark.parametrize(
    "text",
    [
        V1 % ('name: "c" type: CONVOLUTION bottom: "data" top: "c"', CONVOLUTION),
        V1.replace(
            "blobs {", 'layer { name: "c" type: "conv" num_output: 1 kernelsize: 1 biasterm: false blobs {'
        ).replace("data: 5 } blobs_lr: 0", "data: 5 } blobs_lr: 0 }")
        % ('bottom: "data" top: "c"', ""),
    ],
    ids=["V1", "V0"],
)
def test_older_forms(text: str, tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(text)
    with dragon.Net(tmp_path / "net.prototxt", TEST) as net:
        assert values(net) == {"c": [[5]]}
    (tmp_path / "new.prototxt").write_text(format_text(read_net(tmp_path / "net.prototxt")))
    with dragon.Net(tmp_path / "new.prototxt", TEST) as net:
        assert values(net) == {"c": [[5]]}


def test_shared_blobs_are_those_of_the_owner() -> None:
    names = 'param { name: "w" } param { name: "b" }'
    second = (PRODUCT % names).replace('"ip"', '"ip2"').replace("data: 1 ", "data: 9 ")
    net = dragon.Net(parse_text(INPUT + PRODUCT % names + second, pb.NetParameter()), TEST)
    assert values(net)["ip2"] == values(net)["ip"] == [[1, 2, 3, 4], [10, 20]]


def test_a_weights_file_comes_after(tmp_path: Path) -> None:
    net = dragon.Net(parse_text(INPUT + IP, pb.NetParameter()), TEST)
    net.params["ip"][0].data[...] = 8
    path = tmp_path / "n.caffemodel"
    net.save(path)
    assert [len(layer.blobs) for layer in iter_layers(path) if layer.blobs] == [2]  # written once
    with dragon.Net(parse_text(INPUT + IP, pb.NetParameter()), TEST, weights=path) as again:
        assert values(again) == {"ip": [[8] * 4, [10, 20]]}


@pytest.mark.parametrize("filler", ['type: "of_a_fork"', 'type: "gaussian" std: -1', 'type: "bilinear"', "branches: 3"])
def test_fillers_of_blobs_in_the_definition_are_not_looked_at(filler: str) -> None:
    """BVLC's layers skip them; without blobs each is an error."""
    text = INPUT + IP.replace('type: "constant" value: 7', filler)
    with dragon.Net(parse_text(text, pb.NetParameter()), TEST) as net:
        assert values(net) == {"ip": [[1, 2, 3, 4], [10, 20]]}
    with pytest.raises(dragon.DragonError, match="ip"):
        dragon.Net(parse_text(text.split("blobs")[0] + "}", pb.NetParameter()), TEST)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "dim: 2 dim: 2 }",
            "dim: 4 dim: 1 }",
            r"parameter blob 0: expected shape \(2, 2\), its definition has \(4, 1\)",
        ),
        (" blobs { shape { dim: 2 } data: [10, 20] }", "", "has 2 parameter blobs, its definition gives 1"),
        ("data: 3 data: 4", "data: 3", r"blob 0: shape \(2, 2\) does not fit 3 values"),
    ],
)
def test_blobs_that_do_not_fit(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    text = INPUT + IP
    assert old in text
    path.write_text(INPUT + IP.replace(old, new))
    with pytest.raises(PrototxtError, match=message) as caught:
        dragon.Net(path, TEST)
    assert 'layer "ip" (InnerProduct)' in str(caught.value)
    assert f"{path}:2" in str(caught.value)


def test_blobs_of_a_layer_without_parameters() -> None:
    text = INPUT + 'layer { name: "r" type: "ReLU" bottom: "data" top: "r" blobs { shape { dim: 1 } data: 1 } }'
    with pytest.raises(PrototxtError, match="has 0 parameter blobs, its definition gives 1"):
        dragon.Net(parse_text(text, pb.NetParameter()), TEST)


def test_training_starts_from_them(tmp_path: Path) -> None:
    loss = 'layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "data" top: "loss" }'
    data = 'layer { name: "data" type: "DummyData" top: "data" dummy_data_param { shape { dim: 1 dim: 2 } } }\n'
    (tmp_path / "net.prototxt").write_text(data + IP + loss)
    solver = pb.SolverParameter(net=str(tmp_path / "net.prototxt"), base_lr=0.1, lr_policy="fixed", max_iter=1)
    with dragon.Solver(solver) as training:
        assert values(training.net) == {"ip": [[1, 2, 3, 4], [10, 20]]}
        training.step(1)
        assert values(training.net)["ip"] == [[1, 2, 3, 4], [9, 18]]  # bottom and label are 0


def test_they_survive_surgery(tmp_path: Path) -> None:
    source, target = tmp_path / "net.prototxt", tmp_path / "merged.prototxt"
    source.write_text(NORMALISED)
    model = read_model(source)
    assert sorted(model.arrays) == ["bn", "conv", "scale"]
    assert model.text()[0] == NORMALISED  # what is not touched stays as it is
    merged, _ = merge(model)
    write_model(merged, target, None)
    with dragon.Net(source, TEST, seed=1) as old, dragon.Net(target, TEST, seed=1) as new:
        assert sum(len(blobs) for blobs in new.params.values()) > 1
        for net in (old, new):
            net.blobs["data"].data[...] = np.arange(18).reshape(1, 2, 3, 3)
        np.testing.assert_allclose(new.forward()["conv"], old.forward()["conv"], rtol=1e-5)


def test_files_come_before_the_definition_in_surgery(tmp_path: Path) -> None:
    source = tmp_path / "net.prototxt"
    source.write_text(INPUT + IP + SCALE)
    net = dragon.Net(parse_text(INPUT + IP, pb.NetParameter()), TEST)
    net.params["ip"][0].data[...] = 8
    net.save(tmp_path / "ip.caffemodel")
    model = read_model(source, tmp_path / "ip.caffemodel")
    assert model.arrays["ip"][0].ravel().tolist() == [8] * 4
    assert model.arrays["scale"][0].ravel().tolist() == [2, 3]
    assert [len(layer.blobs) for layer in model.definition().layer] == [0, 0, 1]
    write_model(model, tmp_path / "new.prototxt", tmp_path / "new.caffemodel")
    assert "blobs" not in (tmp_path / "new.prototxt").read_text()  # written once
    with dragon.Net(tmp_path / "new.prototxt", TEST, weights=tmp_path / "new.caffemodel") as both:
        assert values(both) == {"ip": [[8] * 4, [10, 20]], "scale": [[2, 3]]}


def test_they_survive_folding_for_an_export(tmp_path: Path) -> None:
    source = tmp_path / "net.prototxt"
    source.write_text(NORMALISED)
    with dragon.Net(source, TEST) as net, read_deployed(source).folded() as folded:
        assert list(folded.params) == ["conv"]
        for one in (net, folded):
            one.blobs["data"].data[...] = np.arange(18).reshape(1, 2, 3, 3)
        np.testing.assert_allclose(folded.forward()["conv"], net.forward()["conv"], rtol=1e-5)


def test_a_model_without_them_is_itself() -> None:
    model = Model.of(parse_text(INPUT, pb.NetParameter()))
    assert model.from_files is None
    assert model.definition() is model.net


def test_layers_of_a_dialect_are_upgraded_with_them(tmp_path: Path, dragon_2016: str) -> None:
    source, target = tmp_path / "net.prototxt", tmp_path / "new.prototxt"
    source.write_text(dragon_2016)
    target.write_text(format_text(to_present(Model.of(read_net(source))).definition()))
    with dragon.Net(source, TEST) as old, dragon.Net(target, TEST) as new:
        for net in (old, new):
            net.blobs["data"].data[...] = np.arange(18).reshape(1, 2, 3, 3)
        np.testing.assert_allclose(new.forward()["bn"], old.forward()["bn"], rtol=1e-6)


@pytest.fixture
def dragon_2016() -> str:
    blobs = " ".join(f"blobs {{ shape {{ dim: 2 }} data: [{i}, {i + 1}] }}" for i in range(1, 5))
    return f"""profile: "dragon-2016"
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: [1, 2, 3, 3] }} }} }}
layer {{ name: "bn" type: "BatchNorm" bottom: "data" top: "bn" {blobs} }}
"""
