"""Reuse: lowerings that several plans of a net have in common, and memory that those for other shapes share."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dragon.engines.cuda.device.gpu import Gpu
from dragon.engines.cuda.lowerings.lowering import Lowering

if TYPE_CHECKING:
    from dragon.graph.node import Node

__all__ = ["Reuse"]


class Reuse:
    """The lowerings of a net.

    Layers whose shapes did not change have the same one in the next plan: it holds what backward needs.

    moved: called before an array moves to larger memory, since the graphs of other plans point to the old one.
    """

    def __init__(self, gpu: Gpu, moved: Callable[[], None]) -> None:
        self._gpu = gpu
        self._moved = moved
        self._lowerings: weakref.WeakValueDictionary[tuple[Any, ...], Lowering] = weakref.WeakValueDictionary()
        self._memory: dict[tuple[Any, ...], Any] = {}  # by layers, type of the lowering and name of the array

    def lowering(
        self, nodes: Sequence[Node], cls: type[Lowering], form: tuple[Any, ...], make: Callable[[], Lowering]
    ) -> Lowering:
        """The lowering of layers in their present shapes, made by `make` if no plan has it. form: its other traits."""
        blobs = [blob for node in nodes for blob in (*node.bottoms, *node.tops)]
        owner = nodes[0].index, nodes[-1].index, cls
        key = (*owner, form, tuple(blob.shape for blob in blobs))
        found = self._lowerings.get(key)
        if found is None:
            found = self._lowerings[key] = make()
            found.memory = partial(self._array, owner)
        return found

    def _array(self, owner: tuple[Any, ...], name: str, count: int, dtype: np.dtype[Any]) -> Any:
        """The first elements of the memory that the lowerings of some layers have for the array of this name."""
        key, size = (*owner, name), count * dtype.itemsize
        held = self._memory.get(key)
        if held is None or held.nbytes < size:
            if held is not None:
                self._moved()
                held = self._memory[key] = None  # before the larger one is allocated
            held = self._memory[key] = self._gpu.empty(size, np.uint8)
        return held[:size].view(dtype)
