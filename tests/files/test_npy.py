"""Arrays of .npy files, as a whole and by rows."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dragon.errors import DataError
from dragon.files.npy import npy_rows, read_npy


@pytest.mark.parametrize("kind", ["<f4", ">f8", "u1", "<i2", "?"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (4, 2, 3), (4, 0)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_array_is_read_as_numpy_reads_it(tmp_path: Path, kind: str, shape: tuple[int, ...], order: Any) -> None:
    expected = np.asarray(np.arange(np.prod(shape)).reshape(shape), kind, order=order)
    np.save(tmp_path / "a.npy", expected)
    found = read_npy(tmp_path / "a.npy", "mean file")
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(found, expected)
    if shape:
        with npy_rows(tmp_path / "a.npy", "mean file") as rows:
            assert rows.shape == shape
            np.testing.assert_array_equal(rows.read(1, 3), expected[1:3])
            np.testing.assert_array_equal(rows.read(2), expected[2:])
            np.testing.assert_array_equal(rows.read(), expected)


def test_memory_is_that_of_the_values_that_are_read(tmp_path: Path) -> None:
    size = 8 << 20
    np.save(tmp_path / "a.npy", np.zeros((64, size // 64), np.uint8))
    tracemalloc.start()
    read_npy(tmp_path / "a.npy", "mean file")
    whole = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    with npy_rows(tmp_path / "a.npy", "mean file") as rows:
        for start in range(0, 64, 4):
            rows.read(start, start + 4)
    parts = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert whole < 1.2 * size
    assert parts < 0.3 * size


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a .npy file of NumPy's, this is an empty file"),
        (b"text", "expected a .npy file of NumPy's"),
        (b"\x93NUMPY\x01\0\x10", ""),
        (b"\x93NUMPY\x07\0\x10\0", "holds no array of real numbers|version"),
    ],
)
def test_other_files(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(DataError, match=f"^mean file .*a.npy: .*{message}"):
        read_npy(tmp_path / "a.npy", "mean file")


def test_a_file_that_is_cut_off_asks_for_no_memory(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 4), np.float32))
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content[:-8])
    with pytest.raises(DataError, match="has 56 bytes of values, its header says 64"):
        read_npy(tmp_path / "a.npy", "mean file")
    (tmp_path / "a.npy").write_bytes(content.replace(b"(4, 4), }", b"(9, 9999999999), }"))
    with pytest.raises(DataError, match=r"has \d+ bytes of values, its header says 359999999964"):
        read_npy(tmp_path / "a.npy", "mean file")


def test_objects_and_missing_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([None, "x"], object))
    with pytest.raises(DataError, match="holds no array of real numbers"):
        read_npy(tmp_path / "a.npy", "mean file")
    with pytest.raises(DataError, match="No such file"):
        read_npy(tmp_path / "gone.npy", "mean file")
