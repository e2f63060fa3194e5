from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dragon.data import write_mean
from dragon.errors import DataError, UsageError
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.proto.text import parse_text
from dragon.surgery.without_data import without_data

NET = """
layer {{ name: "d" type: "{type}" top: "x" top: "y" {settings} include {{ phase: TRAIN }} }}
layer {{ name: "other" type: "Data" top: "x" top: "y" include {{ phase: TEST }}
  data_param {{ source: "no" batch_size: 9 }} }}
layer {{ name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param {{ num_output: 2 kernel_size: 1 }} }}
"""


def shapes(
    settings: str, shape: tuple[int, ...] | None = None, kind: str = "Data", folder: Path | None = None
) -> tuple[tuple[int, ...], str]:
    net = parse_text(NET.format(type=kind, settings=settings), pb.NetParameter())
    found, notes = without_data(Definition(net, "net.prototxt", (2, 3, 4), folder), pb.NetState(phase=pb.TRAIN), shape)
    made = Net(found, phase=pb.TRAIN, engine="numpy")
    assert made.blobs["y"].shape == made.blobs["x"].shape[:1]
    (note,) = notes
    return made.blobs["x"].shape, note


SIZE = "data_param { source: 'no' batch_size: 4 } transform_param "


@pytest.mark.parametrize(
    ("settings", "kind", "expected", "said"),
    [
        (SIZE + "{ crop_size: 8 }", "Data", (4, 3, 8, 8), "3 channels, which is a guess"),
        (SIZE + "{ crop_size: 8 force_gray: true }", "Data", (4, 1, 8, 8), "crop_size"),
        (SIZE + "{ crop_size: 8 mean_value: [1, 2, 3, 4] }", "Data", (4, 4, 8, 8), "crop_size"),
        (SIZE + "{ crop_height: 6 crop_width: 7 }", "Data", (4, 3, 6, 7), "crop_height"),
        ("image_data_param { source: 'no' batch_size: 2 new_height: 5 new_width: 6 is_color: false }", "ImageData",
         (2, 1, 5, 6), "new_height"),
        ("memory_data_param { batch_size: 2 channels: 5 height: 6 width: 7 }", "MemoryData", (2, 5, 6, 7), "memory"),
    ],
)  # fmt: skip
def test_shapes_of_the_settings(settings: str, kind: str, expected: tuple[int, ...], said: str) -> None:
    found = shapes(settings, kind=kind)
    assert found[0] == expected
    assert said in found[1]


def test_the_mean_image(tmp_path: Path) -> None:
    write_mean(tmp_path / "mean.binaryproto", np.zeros((2, 5, 6), np.float32))
    found = shapes(SIZE + "{ mean_file: 'mean.binaryproto' }", folder=tmp_path)
    assert found[0] == (4, 2, 5, 6)


@pytest.mark.parametrize(("given", "expected"), [((1, 5, 5), (4, 1, 5, 5)), ((7, 1, 5, 5), (7, 1, 5, 5))])
def test_a_given_shape(given: tuple[int, ...], expected: tuple[int, ...]) -> None:
    found = shapes(SIZE + "{ crop_size: 8 }", given)
    assert found[0] == expected


def test_nothing_says_the_shape() -> None:
    with pytest.raises(DataError, match=r'net.prototxt:2: layer "d" \(Data\): .*give --input-shape C,H,W'):
        shapes(SIZE + "{ scale: 2 }")
    with pytest.raises(UsageError, match="takes C,H,W or N,C,H,W, got 3"):
        shapes(SIZE + "{ scale: 2 }", (3,))
