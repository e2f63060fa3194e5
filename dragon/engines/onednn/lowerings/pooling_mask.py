"""The second top of a maximum pooling: where in the image each maximum was, from the workspace of the primitive.

The workspace has the position within the window, counted along its rows, padding included.
"""

from __future__ import annotations

from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

from dragon.bases.geometry import Window
from dragon.bases.pooling import maximum_index
from dragon.engines.onednn.library.constants import Arg
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.plan.builder import Builder
from dragon.engines.onednn.plan.guarded import GuardedCall, fetch
from dragon.engines.onednn.plan.values import reorder
from dragon.memory.blob import Blob

__all__ = ["write_mask"]


def write_mask(b: Builder, call: GuardedCall, window: Window, mask: Blob) -> None:
    """Append the step that writes `mask` from what `call`, a pooling with a workspace, has left."""
    source, places = call.memories[Arg.SRC], call.memories[Arg.WORKSPACE]
    if not places.desc.is_plain:
        plain = Memory(b.device, MemoryDesc.plain(places.desc.dims, places.desc.dtype))
        b.run(reorder(b.device, places, plain))
        places = plain
    found = places.numpy()
    out = b.make(mask, MemoryDesc.plain(mask.shape)).numpy()
    within, first = _indices(window, source.desc.dims[2:], mask.shape[2:])

    def step() -> None:
        if call.nonfinite:
            maximum_index(fetch(source), window, out)
            return
        np.take(within, found, out=out, mode="clip")
        np.add(out, first, out=out)

    b.run(step)


def _indices(
    window: Window, size: tuple[int, ...], count: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The index in the image of each position of a window, from that of its first, which each window has."""
    steps = [prod(size[i + 1 :]) for i in range(len(size))]
    within = [sum(map(int.__mul__, at, steps)) for at in product(*map(range, window.kernel))]
    first = np.zeros(count)
    for axis, (n, stride, pad) in enumerate(zip(count, window.stride, window.before, strict=True)):
        start = (np.arange(n) * stride - pad) * steps[axis]
        first += start.reshape([-1 if i == axis else 1 for i in range(len(count))])
    return np.array(within, np.float32), first.astype(np.float32)
