"""Hints inside error messages."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from dragon.errors import PrototxtError, nearest
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
