"""Names, outputs, batches, and what is said about operators without a form."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from dragon.bases.layer import TEST
from dragon.errors import PrototxtError
from dragon.importing.convert import import_onnx
from dragon.importing.names import Names, valid_name
from dragon.importing.registry import converters
from dragon.surgery.model import write_model
from dragon.surgery.prove import build_net
from tests.importing.helpers import c, check, ints, load, model, types


def node(op: str, inputs: list[str], outputs: list[str], name: str = "", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs, outputs, name=name, **attributes)


def test_all_nodes_without_a_form_are_named_at_once(tmp_path: Path) -> None:
    nodes = [
        node("Sin", ["x"], ["a"], "first"),
        node("Sin", ["a"], ["b"], "second"),
        node("MatMul", ["b", "b"], ["c"], "attention"),
        node("DynamicQuantizeLinear", ["c"], ["d", "e", "f"]),
        node("Relu", ["c"], ["y"]),
    ]
    with pytest.raises(PrototxtError) as error:
        load(model(nodes, {"x": (3, 3)}, ["y", "d"]), tmp_path)
    assert re.search(
        r'no form in Caffe: Sin \("first", "second"\): no layer computes it.*; '
        r'MatMul \("attention"\): both its factors are computed by the net.*; '
        r'DynamicQuantizeLinear \("d"\): it is quantised: import the model as it was before quantisation',
        str(error.value),
    )
    assert str(error.value).isprintable()


def test_what_follows_an_unknown_shape_is_counted(tmp_path: Path) -> None:
    """The node to mend is named, not all that read what it gives."""
    nodes = [
        node("NonZero", ["x"], ["a"], "places"),
        node("Transpose", ["a"], ["t"], "turn", perm=[1, 0]),
        node("Softmax", ["t"], ["y"], "soft"),
    ]
    with pytest.raises(PrototxtError) as error:
        load(model(nodes, {"x": (3, 3)}, ["y"]), tmp_path)
    assert 'no form in Caffe: NonZero ("places"): no layer computes it' in str(error.value)
    assert str(error.value).endswith("; 2 nodes behind them could not be looked at")


def test_nodes_called_alike_are_named_once(tmp_path: Path) -> None:
    nodes = [node("Sin", ["x"], ["a"], "wave"), node("Sin", ["a"], ["y"], "wave")]
    with pytest.raises(PrototxtError, match=r'Sin \("wave"\): no layer computes it'):
        load(model(nodes, {"x": (3, 3)}, ["y"]), tmp_path)


def test_names_are_kept_valid_and_unique(tmp_path: Path) -> None:
    nodes = [
        node("Relu", ["my input"], ["/a/Relu_output_0"], "/a/Relu"),
        node("Relu", ["/a/Relu_output_0"], ["two"], "/a/Relu:"),
        node("Relu", ["two"], ["a/Relu_output_0"], "a/Relu"),
        node("Relu", ["a/Relu_output_0"], ['out "1"']),
    ]
    net = check(model(nodes, {"my input": (2, 3)}, ['out "1"']), tmp_path)
    assert [layer.name for layer in net.net.layer] == ["my_input", "a/Relu", "a/Relu:", "a/Relu_2", "out_1_"]
    assert [layer.top[0] for layer in net.net.layer] == [
        "my_input", "a/Relu_output_0", "two", "a/Relu_output_0_2", "out_1_",
    ]  # fmt: skip


def test_valid_names() -> None:
    assert valid_name("/features/conv.0/Conv") == "features/conv.0/Conv"
    assert valid_name('a b\n"c"') == "a_b_c_"
    assert valid_name("") == valid_name("//") == "value"
    names = Names()
    assert [names.take(name) for name in ("a", "a", "a_2", "a")] == ["a", "a_2", "a_2_2", "a_3"]
    others = Names()
    assert [others.take("a", names), names.take("a")] == ["a_4", "a_5"]


def test_an_output_that_is_read_or_is_an_input(tmp_path: Path) -> None:
    nodes = [node("Relu", ["x"], ["a"]), node("Exp", ["a"], ["b"]), node("Identity", ["b"], ["c"])]
    net = check(model(nodes, {"x": (2, 3)}, ["a", "b", "c"]), tmp_path)
    built = build_net(net, TEST, None)
    assert set(built.outputs) == {"a", "b", "c"}
    built.close()


def test_a_constant_output(tmp_path: Path) -> None:
    net = check(model([node("Relu", ["x"], ["y"])], {"x": (2, 3)}, ["y", "w"], {"w": c(3)}), tmp_path)
    assert net.net.layer[-1].type == "Parameter"


def test_what_is_unread_is_silenced(tmp_path: Path) -> None:
    nodes = [node("Split", ["x"], ["a", "b", "c"], axis=1), node("Relu", ["b"], ["y"])]
    net = check(model(nodes, {"x": (2, 3)}, ["y"]), tmp_path)
    assert types(net) == "Slice ReLU Silence"
    built = build_net(net, TEST, None)
    assert built.outputs == ["y"]
    built.close()


def test_the_batch_may_change_afterwards(tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        node("GlobalAveragePool", ["a"], ["b"]),
        node("Sigmoid", ["b"], ["g"]),
        node("Mul", ["a", "g"], ["s"]),
        node("Reshape", ["s", "groups"], ["r"]),
        node("Transpose", ["r"], ["t"], perm=[0, 2, 1, 3, 4]),
        node("Reshape", ["t", "back"], ["u"]),
        node("Flatten", ["u"], ["f"]),
        node("MatMul", ["f", "m"], ["y"]),
    ]
    constants = {"w": c(4, 3, 3, 3), "groups": ints(1, 2, 2, 5, 5), "back": ints(1, 4, 5, 5), "m": c(100, 3)}
    for bvlc in (False, True):
        net = check(model(nodes, {"x": (1, 3, 5, 5)}, ["y"], constants), tmp_path, bvlc)
        built = build_net(net, TEST, None)
        images = np.random.default_rng(1).standard_normal((3, 3, 5, 5))
        one_by_one = []
        for image in images:
            built.blobs["x"].data[...] = image
            built.run_forward()
            one_by_one.append(built.blobs["y"].data[0].copy())
        built.blobs["x"].reshape(3, 3, 5, 5)
        built.reshape()
        built.blobs["x"].data[...] = images
        built.run_forward()
        np.testing.assert_allclose(built.blobs["y"].data, one_by_one, rtol=1e-6)
        built.close()


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    nodes = [node("Conv", ["x", "w"], ["a"]), node("Add", ["a", "b"], ["y"])]
    path = tmp_path / "m.onnx"
    path.write_bytes(
        model(nodes, {"x": (1, 3, 5, 5)}, ["y"], {"w": c(4, 3, 3, 3), "b": c(4, 1, 1)}).SerializeToString()
    )
    for k in (0, 1):
        write_model(import_onnx(path).model, tmp_path / f"{k}.prototxt", tmp_path / f"{k}.caffemodel")
    for ending in ("prototxt", "caffemodel"):
        assert (tmp_path / f"0.{ending}").read_bytes() == (tmp_path / f"1.{ending}").read_bytes()


def test_bvlc_names_the_layers_that_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = model([node("Relu", ["x"], ["y"], "turn")], {"x": (2, 3, 4)}, ["y"])
    monkeypatch.setattr(
        "dragon.importing.convert.beyond_bvlc", lambda layer: [f"type {layer.type}"][: layer.type != "Input"]
    )
    with pytest.raises(PrototxtError, match='BVLC Caffe does not have layer "turn": type ReLU; leave out --bvlc'):
        load(made, tmp_path, bvlc=True)


def test_a_transposition_of_bvlcs_layers_lets_the_batch_change(tmp_path: Path) -> None:
    """As the heads of detectors have it, whose boxes of all levels are put together."""
    nodes = [node("Transpose", ["x"], ["t"], "turn", perm=[0, 2, 3, 1]), node("Reshape", ["t", "rows"], ["y"])]
    net = check(model(nodes, {"x": (1, 4, 3, 5)}, ["y"], {"rows": ints(1, -1, 2)}), tmp_path, bvlc=True)
    assert types(net) == "Reshape Slice Concat Reshape"
    images = np.random.default_rng(0).standard_normal((3, 4, 3, 5))
    with build_net(net, TEST, None) as built:
        built.blobs["x"].reshape(3, 4, 3, 5)
        built.reshape()
        built.blobs["x"].data[...] = images
        built.run_forward()
        np.testing.assert_array_equal(built.blobs["y"].data, images.transpose(0, 2, 3, 1).reshape(3, -1, 2))


def test_settings_that_are_not_given_are_not_written(tmp_path: Path) -> None:
    nodes = [node("Concat", ["x", "x"], ["c"], axis=1), node("Softmax", ["c"], ["y"], axis=1)]
    net = check(model(nodes, {"x": (1, 2, 3, 4)}, ["y"]), tmp_path).net
    assert not any(layer.HasField("concat_param") or layer.HasField("softmax_param") for layer in net.layer)


def test_every_operator_says_what_it_becomes() -> None:
    assert len(converters()) > 70
    for name, function in converters().items():
        assert function.__doc__, name


def test_a_node_with_attributes_of_another_kind_is_one_line(tmp_path: Path) -> None:
    made = model([node("Conv", ["x", "w"], ["y"], "conv", kernel_shape=[3])], {"x": (1, 3, 5, 5)}, ["y"],
                 {"w": c(4, 3, 3, 3)})  # fmt: skip
    with pytest.raises(PrototxtError, match=r'Conv \("conv"\)'):
        load(made, tmp_path)
