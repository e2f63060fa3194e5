"""Errors: their fields and the line made of them, hints, and the nearest known name."""

from __future__ import annotations

import logging
import pickle
import sys
from pathlib import Path

import pytest

import dragon
from dragon.errors import DataError, LayerName, Position, PrototxtError, ShapeError, nearest
from dragon.files.paths import missing_hint
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from tests.helpers import toy_solver


@pytest.mark.parametrize(
    ("name", "expected"),
    [("batchnorm", "BatchNorm"), ("RELU", "ReLU"), ("Convolutoin", "Convolution"), ("xyzzy", None)],
)
def test_nearest(name: str, expected: str | None) -> None:
    known = ["BatchNorm", "BatchRenorm", "Convolution", "Deconvolution", "ReLU", "PReLU"]
    assert nearest(name, known) == (f' (did you mean "{expected}"?)' if expected else "")


def test_a_missing_data_set_says_how_to_get_it() -> None:
    assert "`dragon data cifar10` fetches it" in missing_hint("data/cifar10/cifar10_train_lmdb")
    assert missing_hint("/somewhere/else") == ""


@pytest.mark.parametrize(
    ("message", "text", "hint"),
    [(pb.SolverParameter, 'name: "x"', "looks like a net"), (pb.NetParameter, "base_lr: 1", "looks like a solver")],
)
def test_a_net_given_for_a_solver_is_said(message: type, text: str, hint: str) -> None:
    with pytest.raises(PrototxtError, match=hint):
        parse_text(text, message())


def test_layers_without_weights_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    solver = toy_solver()
    part = pb.NetParameter(name="part", layer=[pb.LayerParameter(name="ip", type="InnerProduct")])
    from dragon.proto.binary import write_caffemodel

    path = tmp_path / "part.caffemodel"
    write_caffemodel(path, part, {"ip": [blob.peek() for blob in solver.net.params["ip"]]})
    with caplog.at_level(logging.WARNING, logger="dragon"):
        solver.net.copy_from(path)
    assert 'no weights for "conv", "bn": they stay as they are' in caplog.text


CONV = LayerName("conv", "Convolution")


@pytest.mark.parametrize(
    ("layer", "position", "line"),
    [
        (None, None, "wrong"),
        (LayerName("conv"), None, 'layer "conv": wrong'),
        (CONV, None, 'layer "conv" (Convolution): wrong'),
        (LayerName("conv", ""), None, 'layer "conv" (): wrong'),
        (None, Position("net.prototxt"), "net.prototxt: wrong"),
        (CONV, Position("net.prototxt", 3), 'net.prototxt:3: layer "conv" (Convolution): wrong'),
        (None, Position("net.prototxt", 3, 7), "net.prototxt:3:7: wrong"),
        (CONV, Position("net.prototxt", 3, 7), 'net.prototxt:3:7: wrong, in layer "conv"'),
    ],
)
def test_the_line_is_made_of_the_fields(layer: LayerName | None, position: Position | None, line: str) -> None:
    error = ShapeError("wrong", layer=layer, position=position)
    assert (str(error), error.message) == (line, "wrong")
    error.task, error.hint = "cannot run", "try less"
    assert str(error) == f"cannot run: {line}; try less"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_what_an_error_knows_stays() -> None:
    error = PrototxtError("wrong")
    assert error.at(CONV) is error
    assert error.at(LayerName("net"), Position("net.prototxt", 3)) is error
    error.at(position=Position("solver.prototxt"))
    assert (error.layer, error.position) == (CONV, Position("net.prototxt", 3))


def test_names_from_files_cannot_break_the_line() -> None:
    error = DataError("wrong\n", layer=LayerName("a\nb", "T\x1b"), position=Position("f\n"))
    assert str(error) == 'f\\n: layer "a\\nb" (T\\x1b): wrong\\n'


def test_a_parse_error_knows_its_place() -> None:
    with pytest.raises(PrototxtError) as caught:
        parse_text('layer { name: "conv"\n  tipe: "ReLU" }', pb.NetParameter(), "net.prototxt")
    assert (caught.value.position, caught.value.layer) == (Position("net.prototxt", 2, 3), LayerName("conv"))
    assert str(caught.value).endswith(', in layer "conv"')


DATA = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }'
MINE = """layer { name: "%s" type: "Python" bottom: "data" top: "y"
  python_param { module: "picky" layer: "Picky" param_str: "%s" } }"""
PICKY = """
import caffe
from dragon.errors import DataError

class Picky(caffe.Layer):
    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        self.fail("forward")

    def backward(self, top, propagate_down, bottom):
        self.fail("backward")

    def fail(self, way):
        try:
            raise KeyError("deep")
        except KeyError as error:
            if self.param_str == way:
                raise DataError('as the file of layer "mine" says') from error
"""


@pytest.mark.parametrize("engine", ["numpy", "auto"])
@pytest.mark.parametrize("way", ["forward", "backward"])
@pytest.mark.parametrize("name", ["mine", "mine (2)", "m"])
def test_an_error_in_a_run_gets_the_layer_and_stays_itself(
    name: str, way: str, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the message itself says: a layer named in it need not be the one that failed."""
    (tmp_path / "picky.py").write_text(PICKY)
    monkeypatch.delitem(sys.modules, "picky", raising=False)
    path = tmp_path / "net.prototxt"
    path.write_text(f"force_backward: true\n{DATA}\n{MINE % (name, way)}")
    net = dragon.Net(path, dragon.TRAIN, engine=engine)
    with pytest.raises(DataError) as caught:
        net.forward_backward()
    assert str(caught.value) == f'layer "{name}" (Python): as the file of layer "mine" says'
    assert caught.value.layer == LayerName(name, "Python")
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_parameter_that_a_layer_shares_with_itself_is_reported_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    shared = 'param { name: "w" } param { name: "w" } inner_product_param { num_output: 2 }'
    path.write_text(f'{DATA}\nlayer {{ name: "fc" type: "InnerProduct" bottom: "data" top: "fc" {shared} }}')
    with pytest.raises(ShapeError) as caught:
        dragon.Net(path, dragon.TRAIN)
    assert str(caught.value).startswith(f'{path}:2: layer "fc" (InnerProduct): param "w" shared with layer "fc": shape')
    assert (caught.value.layer, caught.value.position) == (LayerName("fc", "InnerProduct"), Position(str(path), 2))
