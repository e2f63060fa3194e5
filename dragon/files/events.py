"""Writes TensorBoard's event files, by the package tensorboardX (extra `tensorboard`)."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from dragon.errors import UsageError
from dragon.extras import install_command
from dragon.files.folders import make_folder
from dragon.memory.storage import Array

__all__ = ["EventFile", "need_tensorboard"]

_BINS = 40
_SAMPLE = 50_000  # values of a histogram; of larger arrays every k-th
_FLUSH_S = 10.0
_numbers = itertools.count()  # files of one process and second have names of their own


def need_tensorboard() -> None:
    """Raise UsageError, with what to install, when event files cannot be written."""
    _tensorboard()


def _tensorboard() -> tuple[Any, Any, Any]:
    try:
        from tensorboardX import event_file_writer, summary
        from tensorboardX.proto import event_pb2
    except ImportError:
        raise UsageError(f"event files need a package: {install_command('tensorboard')}") from None
    return event_file_writer, summary, event_pb2


class EventFile:
    """A new event file in `folder`, which is made. Written by the calling thread; its methods raise OSError.

    start: the first iteration; TensorBoard then drops what older files of the folder have from there on. Raises
    UsageError without tensorboardX.
    """

    def __init__(self, folder: Path, start: int = 0) -> None:
        writer, self._summary, self._proto = _tensorboard()
        make_folder(folder)
        self._file = writer.EventsWriter(str(folder / "events"), f".{os.getpid()}.{next(_numbers)}")
        self._flushed = time.monotonic()
        self._write(start, session_log=self._proto.SessionLog(status=self._proto.SessionLog.START))

    def scalar(self, name: str, value: float, iteration: int, when: float | None = None) -> None:
        """Add a point of a curve. when: seconds since 1970, now by default."""
        self._write(iteration, when, summary=self._summary.scalar(name, np.float64(value)))

    def histogram(self, name: str, values: Array, iteration: int) -> None:
        """Add a histogram of the finite values; of a large array, of a sample. Nothing for an array without any."""
        flat = values.reshape(-1)[:: max(1, values.size // _SAMPLE)].astype(np.float64)
        flat = flat[np.isfinite(flat)]
        if not flat.size:
            return
        counts, limits = np.histogram(flat, _BINS)
        parts = (flat.min(), flat.max(), flat.size, flat.sum(), flat @ flat)
        raw = self._summary.histogram_raw(name, *map(float, parts), limits[1:].tolist(), counts.tolist())
        self._write(iteration, summary=raw)

    def flush(self, now: bool = False) -> None:
        """Bring what was written to the disk, if the last time is a while ago or `now` is set."""
        if now or time.monotonic() - self._flushed > _FLUSH_S:
            self._flushed = time.monotonic()
            self._file.flush()

    def close(self) -> None:
        """End the file."""
        self._file.close()

    def _write(self, iteration: int, when: float | None = None, **what: Any) -> None:
        self._file.write_event(self._proto.Event(wall_time=when or time.time(), step=iteration, **what))
