"""BlobProto to array and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dragon.errors import WeightsError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.blobs import array_to_blobproto, blobproto_to_array, read_blobproto


@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (1, 2, 3), (2, 1, 2, 1, 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trip(shape: tuple[int, ...], dtype: type[np.floating]) -> None:
    array = np.random.default_rng(0).normal(size=shape).astype(dtype)
    blob = array_to_blobproto(array, diff=array + 1)
    assert tuple(blob.shape.dim) == shape
    np.testing.assert_array_equal(
        blobproto_to_array(blob), array if array.size else array.astype(np.float32), strict=True
    )
    np.testing.assert_array_equal(blobproto_to_array(blob, diff=True), array + 1)


def test_other_types_become_float32() -> None:
    assert blobproto_to_array(array_to_blobproto(np.arange(3))).dtype == np.float32


def test_half_precision_is_widened() -> None:
    raw = np.array([0.5, -1], "<f2").tobytes()
    blob = pb.BlobProto(raw_data_type=pb.FLOAT16, raw_data=raw, num=1, channels=2, height=1, width=1)
    np.testing.assert_array_equal(blobproto_to_array(blob), np.array([[[[0.5]], [[-1]]]], np.float32), strict=True)


def test_data_and_diff_of_unlike_shapes() -> None:
    with pytest.raises(WeightsError, match=r"\(2,\).*\(3,\)"):
        array_to_blobproto(np.ones(2), np.ones(3))


def test_file(tmp_path: Path) -> None:
    path = tmp_path / "mean.binaryproto"
    mean = np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2)
    blob = pb.BlobProto(num=1, channels=3, height=2, width=2, data=mean.ravel())
    path.write_bytes(blob.SerializeToString())
    np.testing.assert_array_equal(read_blobproto(path), mean, strict=True)
    path.write_bytes(blob.SerializeToString()[:-1])
    with pytest.raises(WeightsError, match=r"mean\.binaryproto: "):
        read_blobproto(path)
    path.write_bytes(pb.BlobProto(num=2, data=[1]).SerializeToString())
    with pytest.raises(WeightsError, match=r"shape \(2, 0, 0, 0\) does not fit 1 value"):
        read_blobproto(path)
    with pytest.raises(WeightsError, match="No such file"):
        read_blobproto(tmp_path / "none")


def test_float64_of_the_other_byte_order_keeps_its_digits() -> None:
    value = np.array([1 / 3], np.dtype(np.float64).newbyteorder())
    blob = array_to_blobproto(value)
    assert list(blob.double_data) == [1 / 3]
    assert blobproto_to_array(blob)[0] == 1 / 3


def test_a_negative_extent_of_c3d_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "mean.binaryproto"
    path.write_bytes(b"\x08" + b"\xff" * 9 + b"\x01" + b"\x32\x04" + bytes(4))  # num is -1; one value in field 6
    with pytest.raises(WeightsError, match=r"mean\.binaryproto: an extent of C3D's blob is -1"):
        read_blobproto(path)
