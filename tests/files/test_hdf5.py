"""Damage that takes the HDF5 library all memory, or all time, is found before the library sees it."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from dragon.errors import WeightsError
from dragon.files.hdf5 import atomic_h5, open_h5, read_array


@pytest.fixture
def content(tmp_path: Path) -> bytearray:
    with h5py.File(tmp_path / "good.h5", "w") as file:
        for name in ("one", "two", "three"):
            file[name] = np.arange(4)
        file["text"] = "of variable length"
    return bytearray((tmp_path / "good.h5").read_bytes())


def opened(path: Path, content: bytearray) -> list[str]:
    path.write_bytes(content)
    with open_h5(path) as file:
        return sorted(file)


def test_a_whole_file_passes(tmp_path: Path, content: bytearray) -> None:
    assert opened(tmp_path / "a.h5", content) == ["one", "text", "three", "two"]


@pytest.mark.parametrize("head", [b"HEAP", b"GCOL"])
def test_a_heap_larger_than_the_file(tmp_path: Path, content: bytearray, head: bytes) -> None:
    at = content.index(head)
    content[at + 8 : at + 16] = (1 << 40).to_bytes(8, "little")
    with pytest.raises(WeightsError, match=f"damaged: a heap at byte {at} is larger than the file"):
        opened(tmp_path / "a.h5", content)


def test_a_circle_of_gaps(tmp_path: Path, content: bytearray) -> None:
    at = content.index(b"HEAP")
    gap, start = (int.from_bytes(content[at + i : at + i + 8], "little") for i in (16, 24))
    content[start + gap : start + gap + 8] = gap.to_bytes(8, "little")  # the next one is itself
    with pytest.raises(WeightsError, match=r"damaged: the gaps of a heap at byte .* form a circle"):
        opened(tmp_path / "a.h5", content)


def test_a_dataset_that_claims_more_than_its_file_can_hold(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("huge", (1 << 40,), "f4")
        file.create_dataset("unwritten", (1000,), "f4")
    with open_h5(tmp_path / "a.h5") as file:
        assert (read_array(file["unwritten"]) == 0).all()
    with pytest.raises(WeightsError, match="damaged, or not what was expected"), open_h5(tmp_path / "a.h5") as file:
        read_array(file["huge"])


def test_the_checksum_of_a_file_is_behind_what_the_library_reads(tmp_path: Path) -> None:
    """Other programs read such a file, and a program that changes it drops the checksum."""
    path = tmp_path / "w.h5"
    with atomic_h5(path, checksum=True) as file:
        file["x"] = np.arange(5)
    content = path.read_bytes()
    with h5py.File(path) as file:
        assert file["x"][3] == 3
    path.write_bytes(content.replace(np.arange(5).tobytes(), np.arange(1, 6).tobytes()))
    with pytest.raises(WeightsError, match="the file is damaged: its checksum is"), open_h5(path):
        pass
    with h5py.File(path, "r+") as file:
        file["x"][3] = 8
        file["y"] = 1
    with open_h5(path) as file:
        assert file["x"][3] == 8
