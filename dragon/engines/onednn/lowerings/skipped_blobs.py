"""The blobs between the layers of a fused normalisation, which its primitive does not compute.

When one is read, its value is computed from the saved source, the batch's statistics, and scale and shift of the run.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from dragon.engines.onednn.library.constants import Arg
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.lowerings.relu_mask import Mask
from dragon.engines.onednn.plan.guarded import fetch
from dragon.engines.onednn.plan.values import reorder
from dragon.memory.storage import Array, Storage

if TYPE_CHECKING:
    from dragon.engines.onednn.lowerings.normalization import Normalization

__all__ = ["SkippedBlobs"]


class SkippedBlobs:
    """Data and diffs that a normalisation skips, as lazy copies of their storages."""

    def __init__(self, norm: Normalization) -> None:
        self._norm = norm
        self._mask: Mask | None = None

    def make_data(self) -> None:
        """Make the blobs lazy that hold neither the source nor the result: the last value written to each counts."""
        n = self._norm
        last: dict[int, tuple[Storage, int]] = {}
        for position, top in enumerate(n.tops):
            last[id(top.data_storage)] = top.data_storage, position
        for storage, position in last.values():
            if storage is not n.top.data_storage:
                scaled = position > 0 or n.chain.scale is None
                n.b.make_lazy(storage, partial(self._write_data, scaled), n.src)

    def _diffs(self) -> list[tuple[Storage, int]]:
        """Skipped diffs with the position of their top: the first top that uses a storage is the last to write it."""
        n = self._norm
        first: dict[int, tuple[Storage, int]] = {}
        for position, reader in enumerate(n.chain.nodes[1:]):
            top = n.tops[position]
            if reader.propagate_down[0]:
                first.setdefault(id(top.diff_storage), (top.diff_storage, position))
        own = n.chain.norm.propagate_down[0]
        return [(storage, at) for storage, at in first.values() if not (own and storage is n.bottom.diff_storage)]

    def make_diffs(self, dy: Memory) -> None:
        """Make the skipped diffs lazy. dy: the diff of the last top."""
        skipped = self._diffs()
        if not skipped:
            return
        b = self._norm.b
        if not b.owns_diff(self._norm.top):  # on the host, where a script may write
            kept = Memory(b.device, dy.desc)
            b.run(reorder(b.device, dy, kept))
            dy = kept
        if self._mask is not None:
            b.run(self._mask.in_backward)
        for storage, position in skipped:
            b.make_lazy(storage, partial(self._write_diff, dy, position))

    def save_mask(self) -> None:
        """Before forward: save the ReLU's mask if there is a skipped diff, which is computed with it."""
        n = self._norm
        if n.b.training and Arg.WORKSPACE in n.arguments and self._diffs():
            self._mask = Mask(n.b, n.arguments[Arg.WORKSPACE], n.primitive, n.layer.name)
            n.b.run(self._mask.before_forward)

    def follow(self, workspace: Memory) -> None:
        """Let `workspace`, a view of the ReLU's, be the buffer that forward last wrote."""
        if self._mask is not None:
            self._mask.views.append(workspace)

    def normalized(self, scaled: bool) -> Array:
        """The normalised source of the last forward, as float32; with scale and shift if `scaled`."""
        return self.normalized_of(fetch(self._norm.src), scaled)  # of the shape that the plan was made for

    def normalized_of(self, x: Array, scaled: bool) -> Array:
        """The same of another source, with the statistics of the last forward."""
        n = self._norm
        shape = (1, -1) + (1,) * (x.ndim - 2)
        y: Array = (x - n.mean.numpy().reshape(shape)) / np.sqrt(
            n.variance.numpy().reshape(shape) + n.layer.normalization.eps
        )
        if scaled and n.affine is not None:
            y *= n.gamma.numpy().reshape(shape)
            if n.affine[1] is not None:
                y += n.beta.numpy().reshape(shape)
        return y

    def _gradient(self, memory: Memory, position: int) -> Array:
        n = self._norm
        dy = fetch(memory if self._mask is None else self._mask.apply(memory))
        if n.chain.scale is not None and position == 0:
            dy = dy * n.gamma_in_backward.numpy().reshape((1, -1) + (1,) * (dy.ndim - 2))
        return dy

    def _write_data(self, scaled: bool, host: Array) -> None:
        value = self.normalized(scaled)
        host[: value.size] = value.reshape(-1)

    def _write_diff(self, dy: Memory, position: int, host: Array) -> None:
        value = self._gradient(dy, position)
        host[: value.size] = value.reshape(-1)
