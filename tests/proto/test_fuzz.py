"""Whatever stands in a file, only Dragon's own errors come out, as one line, and soon."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dragon.errors import DragonError, PrototxtError, WeightsError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.binary import iter_layers
from dragon.proto.binary_net import read_binary_net
from dragon.proto.blobs import array_to_blobproto, blobproto_to_array
from dragon.proto.text import format_text, parse_text
from dragon.proto.upgrade import upgrade_net

FAST = settings(max_examples=300, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])

WORDS = ["layer", "layers", "name", "type", "top", "pooling_param", "pool", "pad", "weight_filler", "clip_param"]
WORDS += ["input_dim", "input", "blobs", "data", "shape", "dim", "MAX", "CONVOLUTION", "true", "inf", "nan", "odd"]
WORDS += [
    *"{}<>[]:,;-",
    "#",
    "\n",
    '"conv"',
    "'a\\n'",
    '"\\xff"',
    '"',
    "0",
    "-1",
    "1e9",
    "0x1F",
    "1.5f",
    "08",
    "9" * 30,
]
TEXT = st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join) | st.text(max_size=60)


@contextmanager
def only(kind: type[DragonError], start: str = "") -> Iterator[None]:
    """Lets errors of this kind pass, and looks at their message."""
    message = start
    try:
        yield
    except kind as error:
        message = str(error)
    assert message.startswith(start)
    assert message.isprintable()


@FAST
@given(TEXT, st.booleans())
def test_text(text: str, allow_unknown: bool) -> None:
    with only(PrototxtError):
        net = parse_text(text, pb.NetParameter(), "f", allow_unknown, warn=lambda line: None)
        assert net.IsInitialized()
        assert parse_text(format_text(net), pb.NetParameter()).SerializeToString() == net.SerializeToString()
        upgrade_net(net)


NET = """layer { name: "a" type: "Pooling" bottom: "x" top: 'y' pooling_param { pool: AVE pad: 1 kernel_size: 3 }
param { lr_mult: 1.5 } include { phase: TEST } }"""


@FAST
@given(st.integers(0, len(NET)), st.integers(0, 5), st.text(max_size=3))
def test_damaged_text(at: int, cut: int, insert: str) -> None:
    with only(PrototxtError, "<string>:"):
        parse_text(NET[:at] + insert + NET[at + cut :], pb.NetParameter())


def _sound() -> bytes:
    net = pb.NetParameter(name="n")
    weights = array_to_blobproto(np.arange(6, dtype=np.float32).reshape(2, 3), np.ones((2, 3), np.float64))
    raw = pb.BlobProto(raw_data_type=pb.FLOAT16, raw_data=b"\0\0\0\0", num=1, channels=2, height=1, width=1)
    layer = net.layer.add(name="bn", type="BatchNorm", blobs=[weights, raw])
    layer.batch_norm_param.scale_bias = True
    old = net.layers.add(name="v1", type=pb.V1LayerParameter.INNER_PRODUCT, blobs=[weights])
    old.layer.name = "v0"
    return net.SerializeToString()


SOUND = _sound()
EDITS = st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.integers(0, 255)), min_size=1, max_size=4)


def _read_everything(path: Path) -> None:
    for diffs in (False, True):
        with only(WeightsError):
            list(iter_layers(path, diffs=diffs))
    for profile in (None, "intel", "segnet"):
        with only(WeightsError):
            read_binary_net(path, profile)


@FAST
@given(EDITS, st.integers(0, len(SOUND)))
def test_damaged_weights(tmp_path: Path, edits: list[tuple[int, int]], keep: int) -> None:
    content = bytearray(SOUND)
    for at, value in edits:
        content[at] = value
    path = tmp_path / "w"
    path.write_bytes(content)
    _read_everything(path)
    path.write_bytes(content[:keep])
    _read_everything(path)


@FAST
@given(st.binary(max_size=80))
def test_any_bytes_as_weights(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w"
    path.write_bytes(content)
    _read_everything(path)
    path.write_bytes(b"\xa2\x06" + bytes([len(content)]) + content)
    _read_everything(path)


@FAST
@given(st.binary(max_size=40))
def test_any_blob(content: bytes) -> None:
    blob = pb.BlobProto()
    with suppress(DecodeError):
        blob.ParseFromString(content)
    for diff in (False, True):
        with only(WeightsError):
            blobproto_to_array(blob, diff)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "dragon")
