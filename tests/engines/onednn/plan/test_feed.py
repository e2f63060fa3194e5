"""Batches of 8-bit images reach the top as the layer itself would deliver them, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dragon
from dragon.data import encode_datum, write_lmdb
from dragon.engines import Options
from dragon.engines.onednn.plan import reference
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text

pytestmark = pytest.mark.usefixtures("device")

SHAPE = (3, 9, 8)
MEANS = "mean_value: 100.5 mean_value: 7 mean_value: 31"


@pytest.fixture
def images(tmp_path: Path) -> str:
    rng = np.random.default_rng(0)
    records = [
        (f"{i:03}".encode(), encode_datum(rng.integers(0, 256, SHAPE, np.uint8), int(rng.integers(9))))
        for i in range(25)
    ]
    write_lmdb(tmp_path / "images", records)
    mean = pb.BlobProto(shape=pb.BlobShape(dim=[1, *SHAPE]), data=rng.uniform(0, 255, SHAPE).ravel().tolist())
    (tmp_path / "mean.binaryproto").write_bytes(mean.SerializeToString())
    return str(tmp_path)


def net(folder: str, settings: str, engine: str) -> dragon.Net:
    param = pb.NetParameter()
    parse_text(
        f'layer {{ name: "d" type: "Data" top: "x" top: "y" data_param {{ source: "{folder}/images" backend: LMDB '
        f"batch_size: 10 }} transform_param {{ {settings.format(folder)} }} }}\n"
        'layer { name: "p" type: "Power" bottom: "x" top: "p" power_param { shift: 1 } }',
        param,
    )
    return dragon.Net(param, dragon.TRAIN, engine=engine, seed=5, options=Options(threads=2))


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(
    "settings",
    ["", MEANS, "mean_value: 128", 'mean_file: "{}/mean.binaryproto"', "scale: 0.5", "crop_size: 5", "mirror: true",
     f"{MEANS} scale: 0.1 mirror: true crop_size: 7"],
)  # fmt: skip
def test_as_the_layer_would(images: str, settings: str, large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if large:
        monkeypatch.setattr(reference, "FEW", 0)
    first, second = net(images, settings, "numpy"), net(images, settings, "onednn")
    for _ in range(6):
        for one in (first, second):
            one.run_forward()
        for name in ("x", "y"):
            np.testing.assert_array_equal(second.blobs[name].peek(), first.blobs[name].peek())
        np.testing.assert_allclose(second.blobs["p"].peek(), first.blobs["p"].peek(), rtol=1e-6)


def test_what_a_script_holds_follows(images: str) -> None:
    one = net(images, MEANS, "onednn")
    one.run_forward()
    held = one.blobs["x"].data
    before = held.copy()
    one.run_forward()
    assert (held != before).any()
    np.testing.assert_array_equal(held, one.blobs["x"].peek())
