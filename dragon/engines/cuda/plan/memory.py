"""Out of memory on a GPU: an error of one line that names the GPU, the layer and the bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dragon.engines.cuda.device.gpu import Gpu
from dragon.errors import EngineError, LayerName

if TYPE_CHECKING:
    from dragon.graph.net import Net
    from dragon.graph.parameters import Param

__all__ = ["memory_for", "out_of_memory"]


@contextmanager
def memory_for(net: Net, gpu: Gpu, param: Param) -> Iterator[None]:
    """Within the block, running out of memory raises an EngineError that names the layer of a learned blob."""
    try:
        yield
    except MemoryError as error:
        raise out_of_memory(gpu, net.nodes[net.layer_index(param.layer)].layer.where, error) from None


def out_of_memory(gpu: Gpu, where: LayerName, error: MemoryError) -> EngineError:
    """The error of a layer for which CuPy has no memory."""
    asked = re.search(r"allocating ([\d,]+) bytes", str(error))
    bytes_ = asked.group(1) if asked else "an unknown number of"
    return EngineError(f"out of memory on GPU {gpu.number}: asked for {bytes_} bytes; use a smaller batch", layer=where)
