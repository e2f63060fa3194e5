"""The layer type HDF5Data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragon.bases.layer import register
from dragon.bases.source import Source, host_array
from dragon.bases.stored_state import stored
from dragon.data.lists import read_lines
from dragon.errors import DataError, WeightsError
from dragon.files import paths
from dragon.files.hdf5 import open_h5, read_array
from dragon.files.hdf5_checks import check_sizes
from dragon.files.names import find_item
from dragon.memory.blob import Blob
from dragon.memory.storage import Array

__all__ = ["HDF5Data"]


@register()
class HDF5Data(Source):
    """Rows of the HDF5 files that `source` lists, one file name in each line; one dataset for each top.

    Tops: (batch_size, *shape of a row), named like the datasets. A batch may go across the end of a file or an epoch.
    With `shuffle` every epoch has its own order of files, and every file its own order of rows.
    """

    type = "HDF5Data"
    settings = ("hdf5_data_param",)
    tops = (1, None)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.hdf5_data_param
        if self.param.HasField("transform_param"):
            self.bad_param("cannot transform its data: leave transform_param out")
        if not p.source:
            self.bad_param("hdf5_data_param needs a source")
        if p.batch_size < 1:
            self.bad_param("hdf5_data_param needs a batch_size of at least 1")
        self.files = self._listed(self.find(p.source, "list of HDF5 files"))
        self.position = (0, 0, 0)  # epoch, file within the epoch, row within the file
        self.loaded: tuple[str, list[Array]] | None = None
        for blob, rows in zip(top, self._file()[0], strict=True):
            blob.reshape(p.batch_size, *rows.shape[1:])

    def _listed(self, source: str) -> list[str]:
        with self.naming_errors():
            lines = read_lines(source, "list of HDF5 files", '"FILE.h5"')
        names = [[line] if paths.find(line, self.context.folder) else line.split() for _, line in lines]
        return [self.find(name, "HDF5 file") for line in names for name in line]

    def _read(self, path: str) -> list[Array]:
        """The datasets of all tops, all with the same number of rows. Raises DataError."""
        names = list(self.param.top)
        try:
            with open_h5(path) as file:
                stored = {name: find_item(file, name) for name in names}
                missing = [name for name, item in stored.items() if item is None]
                if missing:
                    raise DataError(f'{path} has no dataset "{missing[0]}", it has {sorted(file)}', layer=self.where)
                groups = [name for name, item in stored.items() if hasattr(item, "items")]
                if groups:
                    raise DataError(
                        f'{path}: "{groups[0]}" is a group of {sorted(stored[groups[0]])}, expected a dataset',
                        layer=self.where,
                    )
                check_sizes(stored.values())
                found = [np.asarray(read_array(stored[name]), self.dtype) for name in names]
        except WeightsError as error:
            raise DataError(f"{error}", layer=self.where) from None
        rows = {name: value.shape[0] if value.ndim else 0 for name, value in zip(names, found, strict=True)}
        if len(set(rows.values())) > 1 or not min(rows.values()):
            raise DataError(
                f"{path}: datasets need the same number of rows, at least one, got {rows}", layer=self.where
            )
        return found

    def _file(self) -> tuple[list[Array], Array | None]:
        """The datasets of the current file, and the order of its rows if they are shuffled."""
        epoch, number, _ = self.position
        shuffle = self.param.hdf5_data_param.shuffle
        path = self.files[self.order(epoch, len(self.files), "files")[number] if shuffle else number]
        if self.loaded is None or self.loaded[0] != path:
            self.loaded = path, self._read(path)
        data = self.loaded[1]
        return data, self.order(epoch * len(self.files) + number, len(data[0]), "rows") if shuffle else None

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        tops = [host_array(blob) for blob in top]
        done, size = 0, self.param.hdf5_data_param.batch_size
        while done < size:
            data, order = self._file()
            epoch, number, row = self.position
            n = min(size - done, len(data[0]) - row)
            rows = slice(row, row + n) if order is None else order[row : row + n]
            for y, values in zip(tops, data, strict=True):
                if values.shape[1:] != y.shape[1:]:
                    path = self.loaded[0] if self.loaded else ""
                    raise DataError(
                        f"{path}: rows of shape {values.shape[1:]}, expected {y.shape[1:]}", layer=self.where
                    )
                y[done : done + n] = values[rows]
            done, row = done + n, row + n
            if row == len(data[0]):
                number, row = number + 1, 0
            if number == len(self.files):
                epoch, number = epoch + 1, 0
            self.position = (epoch, number, row)

    def state(self) -> dict[str, int | float | bytes]:
        return dict(zip(("epoch", "file", "row"), self.position, strict=True))

    def load_state(self, state: dict[str, int | float | bytes]) -> None:
        epoch, number, row = (int(stored(self, state, name)) for name in ("epoch", "file", "row"))
        if number >= len(self.files):
            raise DataError(f"the snapshot is at file {number}, there are {len(self.files)}", layer=self.where)
        self.position = (epoch, number, 0)
        rows = len(self._file()[0][0])
        if row >= rows:
            raise DataError(f"the snapshot is at row {row} of file {number}, which has {rows}", layer=self.where)
        self.position = (epoch, number, row)
