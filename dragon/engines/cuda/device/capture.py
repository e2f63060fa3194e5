"""Capture of a CUDA graph."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dragon.memory.collecting import without_collecting

if TYPE_CHECKING:
    from dragon.engines.cuda.device.gpu import Gpu

__all__ = ["captured"]

log = logging.getLogger("dragon")


def captured(gpu: Gpu, record: Callable[[], object]) -> Any:
    """The graph of what `record` launches on the GPU's stream. The stream is as before where that raises an error."""
    stream = gpu.stream
    # freeing a graph, an event or pinned memory could end a capture
    with without_collecting():
        # Relaxed: a memory pool may still need memory from the device.
        stream.begin_capture(gpu.cupy.cuda.runtime.streamCaptureModeRelaxed)
        try:
            record()
        except BaseException:
            try:
                stream.end_capture()
            except Exception as error:
                log.debug("ending a capture that failed: %s", error)
            raise
        return stream.end_capture()
