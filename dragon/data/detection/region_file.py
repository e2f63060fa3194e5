"""Regions of images in an HDF5 file, as Fast R-CNN takes them: one dataset for each image, of the image's name."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dragon.errors import DataError, WeightsError, nearest, one_line
from dragon.files.hdf5 import open_h5, read_array
from dragon.files.names import find_item

__all__ = ["RegionFile"]


class RegionFile:
    """Rows x1, y1, x2, y2 by the name of an image, in its pixels, x2 and y2 included. Raises DataError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack = ExitStack()
        try:
            self._file = self._stack.enter_context(open_h5(path))
        except WeightsError as error:
            raise DataError(str(error)) from None

    def regions(self, name: str, height: int, width: int) -> NDArray[np.float64]:
        """The regions (R, 4) of an image of this size, cut off at its edges; columns behind the fourth do not count."""
        where = f'"{self._path}": regions of image "{name}"'
        try:
            item = find_item(self._file, name)
            if item is None:
                raise DataError(f'"{self._path}" has no regions of image "{name}"{nearest(name, list(self._file))}')
            rows = np.asarray(read_array(item), np.float64)
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:  # h5py's, of damaged files
            raise DataError(f"{where}: {one_line(str(error))}") from None
        if rows.ndim != 2 or rows.shape[1] < 4:
            raise DataError(f"{where}: expected rows x1, y1, x2, y2, got shape {rows.shape}")
        rows = rows[:, :4]
        if not np.isfinite(rows).all() or (rows[:, 2:] < rows[:, :2]).any():
            raise DataError(f"{where}: one ends before it begins, or is not finite")
        return np.clip(rows, 0, np.array([width, height, width, height]) - 1.0)

    def close(self) -> None:
        """Close the file."""
        self._stack.close()
