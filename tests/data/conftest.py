"""Small LMDBs for the tests of dragon.data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dragon.data import encode_datum, write_lmdb

RECORDS = 7


def small_images(count: int = RECORDS, shape: tuple[int, int, int] = (3, 6, 8), seed: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


@pytest.fixture
def images() -> NDArray[np.uint8]:
    return small_images()


@pytest.fixture
def lmdb_folder(tmp_path: Path, images: NDArray[np.uint8]) -> Path:
    """Seven records of shape (3, 6, 8), labels 0 to 6."""
    folder = tmp_path / "small_lmdb"
    write_lmdb(folder, ((f"{i:05d}".encode(), encode_datum(image, i)) for i, image in enumerate(images)))
    return folder
