"""The layer type HDF5Output."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

from dragon.bases.layer import register
from dragon.bases.no_gradient import NoGradient
from dragon.errors import DataError
from dragon.files.atomic import check_writable
from dragon.files.hdf5 import atomic_h5
from dragon.files.layer_files import may_write, refuse_overwrite
from dragon.memory.blob import Blob

__all__ = ["HDF5Output"]

_NAMES = ("data", "label")


@register()
class HDF5Output(NoGradient):
    """Writes its two bottoms to the datasets `data` and `label` of an HDF5 file, appending along axis 0 in every run.

    The file gets its name when the layer is closed (with its net, or at the end of the process); until then it is a
    temporary file in the same folder, so that nothing reads half a file. Commands that only look at a net do not let it
    write (see dragon.files.layer_files).
    """

    type = "HDF5Output"
    settings = ("hdf5_output_param",)
    host_only = "writes a file"
    bottoms = (2, 2)
    tops = (0, 0)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if not self.param.hdf5_output_param.file_name:
            self.bad_param("hdf5_output_param needs a file_name")
        path = self.param.hdf5_output_param.file_name
        self.writes = may_write(path, self.where)
        if self.writes:
            with self._writing(path):
                check_writable(path)
        self.file: Any = None
        self.finish: weakref.finalize[[], HDF5Output] | None = None

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        first = [blob.shape[:1] for blob in bottom]
        if first[0] != first[1] or not first[0]:
            self.bad_shape(f"bottoms must have as many items: got shapes {bottom[0].shape} and {bottom[1].shape}")

    def _open(self) -> Any:
        stack = contextlib.ExitStack()
        path = self.param.hdf5_output_param.file_name
        refuse_overwrite(path, self.where)
        with self._writing(path):
            self.file = stack.enter_context(atomic_h5(path))
            stack.callback(refuse_overwrite, path, self.where)  # checked again before the file gets its name
        self.finish = weakref.finalize(self, stack.close)
        return self.file

    @contextlib.contextmanager
    def _writing(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(f"{path} cannot be written: {error.strerror or error}", layer=self.where) from None

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if not self.writes:
            return
        file = self.file or self._open()
        for name, blob in zip(_NAMES, bottom, strict=True):
            values = blob.peek()
            if name not in file:
                file.create_dataset(name, data=values, maxshape=(None, *values.shape[1:]))
                continue
            dataset = file[name]
            if dataset.shape[1:] != values.shape[1:]:
                self.bad_shape(f"{name} had items of shape {dataset.shape[1:]}, got {values.shape[1:]}")
            dataset.resize(len(dataset) + len(values), axis=0)
            dataset[len(dataset) - len(values) :] = values

    def close(self) -> None:
        if self.finish is not None:
            self.finish()
        self.file = None
