"""Every layer type is written in PyTorch, or it is said why not; without PyTorch: the text alone is looked at."""

from __future__ import annotations

import ast
import warnings

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN, find_class, layer_types
from dragon.errors import PrototxtError
from dragon.export.torch.form import form_of, number, reason_of
from dragon.export.torch.module import export, missing_forms
from dragon.export.torch.names import Names
from dragon.export.torch.parts_text import part_names, text_of_parts
from dragon.layers.silence import Silence
from dragon.layers.split import Split
from tests.export.torch.helpers import make_net
from tests.layers.catalogue import CASES


@pytest.mark.parametrize("kind", layer_types())
def test_every_type_has_a_form_or_a_reason(kind: str) -> None:
    cls = find_class(kind)
    assert cls is not None
    if cls.is_input or cls.reads_data or cls.takes_arrays or issubclass(cls, Split | Silence):
        return  # an argument of forward, or nothing to write
    assert (form_of(cls) is None) != (reason_of(cls) is None)


@pytest.mark.parametrize("name", CASES)
def test_the_source_is_python_and_the_values_fit_the_blobs(name: str) -> None:
    net = make_net(CASES[name].text(), TEST)
    if missing_forms(net):
        with pytest.raises(PrototxtError, match=r"cannot be written in PyTorch: .*(remove|leave|train) it"):
            export(net)
        return
    exported = export(net, "net.prototxt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree = ast.parse(exported.source)
    imported = {alias.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
    assert imported <= {"torch", "json", "os", "pathlib"}
    assert "dragon" not in exported.source.replace("written by Dragon", "")
    assert max(map(len, exported.source.splitlines())) <= 120
    state = exported.state()
    for layer, entry in exported.entries:
        assert {key: state[key].shape for key in entry.keys} == entry.keys
        for index, value in entry.to_blobs(state).items():
            blob = layer.blobs[index]
            np.testing.assert_allclose(value.reshape(-1), blob.peek().reshape(-1), rtol=1e-12)
    held = [(layer.name, index) for layer, entry in exported.entries for index in entry.indices]
    assert sorted(held) == sorted((n.name, i) for n in net.nodes for i in range(len(n.layer.blobs)))


def test_the_same_net_has_the_same_source() -> None:
    text = CASES["BatchNorm 0"].text()
    assert export(make_net(text, TEST)).source == export(make_net(text, TRAIN)).source


def test_all_layers_without_a_form_are_named_at_once() -> None:
    text = """
    layer { name: "x" type: "Input" top: "x" top: "y" input_param { shape { dim: 2 dim: 3 } } }
    layer { name: "first" type: "HDF5Output" bottom: "x" bottom: "y" hdf5_output_param { file_name: "a.h5" } }
    layer { name: "second" type: "HDF5Output" bottom: "x" bottom: "y" hdf5_output_param { file_name: "b.h5" } }
    """
    with pytest.raises(PrototxtError) as caught:
        export(make_net(text, TEST))
    assert str(caught.value) == (
        'cannot be written in PyTorch: "first", "second": HDF5Output writes files: remove it, and save what the module '
        "returns"
    )


def test_settings_without_a_form_are_named_too() -> None:
    kernel = "kernel_size: 1 " * 4
    text = f"""
    layer {{ name: "z" type: "Input" top: "z" input_param {{ shape {{ dim: 1 dim: 1 dim: 2 dim: 2 dim: 2 dim: 2 }} }} }}
    layer {{ name: "c" type: "Convolution" bottom: "z" top: "c" convolution_param {{ num_output: 2 {kernel} }} }}
    """
    with pytest.raises(PrototxtError, match="convolves over 4 axes, PyTorch over 3 at most"):
        export(make_net(text, TEST))


NAMES = [
    "conv1", "inception_3a/1x1", "3x3", "class", "forward", "train", "a b", "a-b", "a_b", "ä", "self", "__init__", "",
]  # fmt: skip


def test_names_become_valid_and_stay_distinct() -> None:
    names = Names.of_attributes()
    found = [names[name] for name in NAMES]
    assert found[:3] == ["conv1", "inception_3a_1x1", "layer_3x3"]
    assert len(set(found)) == len(NAMES)
    assert all(name.isidentifier() for name in found)
    assert not {"class", "forward", "train"} & {*found}
    assert [names[name] for name in NAMES] == found


@pytest.mark.parametrize(
    ("value", "text"), [(np.float32(0.1).item(), "0.1"), (1e-5, "1e-05"), (2, "2"), (float("inf"), 'float("inf")')]
)
def test_numbers_are_written_as_short_as_they_are_in_float32(value: float, text: str) -> None:
    assert number(value) == text


def test_parts_bring_along_what_they_use() -> None:
    text = text_of_parts(["LSTM"])
    assert "class Recurrent(" in text
    assert "def lstm_step(" in text
    assert "class RNN(" not in text
    assert len(set(part_names())) == len(part_names())


SHARED = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" param { name: "w" } inner_product_param { num_output: 3 } }
layer {
  name: "b" type: "InnerProduct" bottom: "a" top: "b" param { name: "w" } param { lr_mult: 0 }
  inner_product_param { num_output: 3 }
}
layer { name: "relu" type: "ReLU" bottom: "b" top: "b" }
layer { name: "sum" type: "Eltwise" bottom: "b" bottom: "x" top: "x/y" eltwise_param { coeff: 2 coeff: -1 } }
"""


def test_shared_and_frozen_parameters_and_values_in_place() -> None:
    source = export(make_net(SHARED, TEST)).source
    assert "        self.b.weight = self.a.weight  # shared\n" in source
    assert "        self.b.bias.requires_grad_(False)  # lr_mult: 0\n" in source
    assert "        b = self.b(a)\n        b = self.relu(b)\n        x_y = 2.0 * b - x  # sum (Eltwise)\n" in source
