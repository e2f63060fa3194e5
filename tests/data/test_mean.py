from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dragon.data import LmdbReader, encode_datum, mean_of_images, mean_of_source, read_mean, write_lmdb, write_mean
from dragon.errors import DataError
from dragon.proto import dragon_pb2
from tests.data.conftest import small_images


def test_file_comes_back(tmp_path: Path) -> None:
    mean = np.random.default_rng(1).uniform(0, 255, (3, 4, 5)).astype(np.float32)
    write_mean(tmp_path / "mean.binaryproto", mean)
    np.testing.assert_array_equal(read_mean(tmp_path / "mean.binaryproto"), mean)


def test_new_style_shape_and_doubles_are_read(tmp_path: Path) -> None:
    blob = dragon_pb2.BlobProto(shape=dragon_pb2.BlobShape(dim=[1, 1, 2, 2]), double_data=[1, 2, 3, 4])
    (tmp_path / "mean").write_bytes(blob.SerializeToString())
    np.testing.assert_array_equal(read_mean(tmp_path / "mean"), [[[1, 2], [3, 4]]])


def test_both_ways_of_computing_agree(lmdb_folder: Path, images: NDArray[np.uint8]) -> None:
    expected = images.astype(np.float64).mean(0)
    np.testing.assert_allclose(mean_of_images(images), expected, rtol=1e-6)
    seen: list[tuple[int, int | None]] = []
    with LmdbReader(lmdb_folder) as reader:
        reader.read(3)
        mean = mean_of_source(reader, lambda stage, done, total: seen.append((done, total)))
    np.testing.assert_allclose(mean, expected, rtol=1e-6)
    assert seen[-1] == (7, 7)


def test_more_images_than_one_chunk() -> None:
    images = small_images(2100, (1, 2, 2))
    np.testing.assert_allclose(mean_of_images(images), images.mean(0, np.float64), rtol=1e-6)


def test_images_of_different_shapes_have_none(tmp_path: Path) -> None:
    shapes = [(3, 4, 5), (3, 5, 4)]
    pairs = [(b"%d" % i, encode_datum(np.zeros(shape, np.uint8), 0)) for i, shape in enumerate(shapes)]
    write_lmdb(tmp_path / "a", pairs)
    with LmdbReader(tmp_path / "a") as reader, pytest.raises(DataError, match="different shapes"):
        mean_of_source(reader)


def blob_bytes(num: int, channels: int, values: list[float]) -> bytes:
    blob = dragon_pb2.BlobProto(num=num, channels=channels, height=1, width=1, data=values)
    return bytes(blob.SerializeToString())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xff", r"not a \.binaryproto file"),
        (b"", r"shape \(\)"),
        (blob_bytes(2, 1, [1, 2]), r"shape \(2, 1, 1, 1\), expected one image"),
        (blob_bytes(1, 3, [1]), "does not fit 1 value"),
    ],
)
def test_damaged_files(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "mean").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_mean(tmp_path / "mean")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_mean(tmp_path / "nowhere")
