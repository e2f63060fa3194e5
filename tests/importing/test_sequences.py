"""Recurrent layers that go out as ONNX come back as the layers that they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from dragon.bases.layer import TEST
from dragon.errors import PrototxtError
from dragon.export.onnx.file import write_onnx
from dragon.export.onnx.model import model_of
from dragon.export.samples import random_weights
from dragon.graph.net import Net
from dragon.importing.convert import import_onnx
from dragon.importing.verify import verify
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text

INPUTS = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 5 dim: 2 dim: 3 } } }
layer { name: "wide" type: "Input" top: "wide" input_param { shape { dim: 5 dim: 2 dim: 3 dim: 2 } } }
layer { name: "cont" type: "Input" top: "cont" input_param { shape { dim: 5 dim: 2 } } }
layer { name: "still" type: "Input" top: "still" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "h" type: "Input" top: "h" input_param { shape { dim: 1 dim: 2 dim: 4 } } }
layer { name: "c" type: "Input" top: "c" input_param { shape { dim: 1 dim: 2 dim: 4 } } }
"""
FILLERS = 'weight_filler { type: "gaussian" std: 0.7 } bias_filler { type: "gaussian" std: 0.5 }'
CASES = {
    "lstm": ("LSTM", "x cont", "y", ""),
    "lstm of images": ("LSTM", "wide cont", "y", ""),
    "lstm with a static input": ("LSTM", "x cont still", "y", ""),
    "lstm with states": ("LSTM", "x cont h c", "y h1 c1", "expose_hidden: true"),
    "lstm with all": ("LSTM", "x cont still h c", "y h1 c1", "expose_hidden: true"),
    "rnn": ("RNN", "x cont", "y", ""),
    "rnn with a static input": ("RNN", "x cont still", "y", ""),
    "rnn with states": ("RNN", "x cont h", "y h1", "expose_hidden: true"),
}


def net_of(layer: str, bottoms: str, tops: str, more: str) -> pb.NetParameter:
    names = {*bottoms.split()}
    inputs = "".join(line for line in INPUTS.splitlines(True) if line.split('"')[1:2] and line.split('"')[1] in names)
    sides = "".join(f'bottom: "{name}" ' for name in bottoms.split()) + "".join(f'top: "{n}" ' for n in tops.split())
    settings = f"recurrent_param {{ num_output: 4 {FILLERS} {more} }}"
    text = f'{inputs} layer {{ name: "seq" type: "{layer}" {sides} {settings} }}'
    return parse_text(text, pb.NetParameter(name="small"))


@pytest.mark.parametrize("case", CASES)
def test_it_comes_back(case: str, tmp_path: Path) -> None:
    """The same layer with the same blobs, and the same outputs for sequences that begin anywhere."""
    path = tmp_path / "a.onnx"
    definition = net_of(*CASES[case])
    with Net(definition, phase=TEST, engine="numpy", seed=1) as net:
        write_onnx(model_of(net), path)
        imported = import_onnx(path)
        verify(imported)
        (found,) = [one for one in imported.model.net.layer if one.type not in ("Input", "Reshape", "Silence")]
        wanted = net.param.layer[-1]
        assert (found.name, found.type, list(found.bottom)) == ("seq", wanted.type, list(wanted.bottom))
        assert found.recurrent_param.expose_hidden == wanted.recurrent_param.expose_hidden
        for blob, array in zip(net.params["seq"], imported.model.arrays["seq"], strict=True):
            np.testing.assert_array_equal(blob.data, array)
        draw = np.random.default_rng(3)
        with Net(imported.model.net, phase=TEST, engine="numpy") as back:
            for blob, array in zip(back.params["seq"], imported.model.arrays["seq"], strict=True):
                blob.data[...] = array
            for name in net.inputs:
                values = draw.standard_normal(net.blobs[name].shape)
                given = np.where(values > 0, 1.0, 0.0) if name == "cont" else values
                net.blobs[name].data[...] = back.blobs[name].data[...] = given
            expected, outputs = net.forward(), back.forward()
            for name, value in expected.items():
                np.testing.assert_array_equal(outputs[imported.blobs[name]], value)


def test_rows_come_back_as_an_lstm(tmp_path: Path) -> None:
    """What an Lstm computes that reads rows is an LSTM, with layers behind it."""
    text = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 10 dim: 3 } } } '
    settings = f"lstm_param {{ num_output: 4 batch_size: 2 {FILLERS} }}"
    text += f'layer {{ name: "seq" type: "Lstm" bottom: "x" top: "y" {settings} }}'
    text += 'layer { name: "ip" type: "InnerProduct" bottom: "y" top: "ip" inner_product_param { num_output: 3 } }'
    with Net(parse_text(text, pb.NetParameter()), phase=TEST, engine="numpy", seed=1) as net:
        random_weights(net)
        write_onnx(model_of(net), tmp_path / "a.onnx")
    imported = import_onnx(tmp_path / "a.onnx")
    assert {"LSTM", "InnerProduct"} <= {layer.type for layer in imported.model.net.layer}
    verify(imported)


@pytest.mark.parametrize("change", ["Tanh", "cont"])
def test_another_loop_has_no_form(tmp_path: Path, change: str) -> None:
    """Sigmoid in place of a Tanh, and marks that do not reach the cell."""
    path = tmp_path / "a.onnx"
    with Net(net_of(*CASES["lstm"]), phase=TEST, engine="numpy", seed=1) as net:
        write_onnx(model_of(net), path)
    model = onnx.load(path)
    (loop,) = [node for node in model.graph.node if node.op_type == "Scan"]
    (body,) = [one.g for one in loop.attribute if one.name == "body"]
    if change == "Tanh":
        next(node for node in body.node if node.op_type == "Tanh").op_type = "Sigmoid"
    else:
        products = [node for node in body.node if body.input[-1].name in node.input]
        products[-1].input[0] = products[-1].input[1]
    onnx.save(model, path)
    with pytest.raises(PrototxtError, match=r"no form in Caffe: Scan .*: it runs a graph of its own"):
        import_onnx(path)
