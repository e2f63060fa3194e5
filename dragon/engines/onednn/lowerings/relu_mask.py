"""Where a ReLU that is fused into a normalisation let something through, read from the primitive's workspace."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from dragon.engines.onednn.kernels import batch_norm
from dragon.engines.onednn.library.constants import Arg
from dragon.engines.onednn.library.memory import Memory, aligned_buffer
from dragon.engines.onednn.library.primitive import Call, Primitive
from dragon.engines.onednn.plan.builder import Builder, NotLoweredError
from dragon.engines.onednn.plan.guarded import fetch, store
from dragon.engines.onednn.plan.values import reorder

__all__ = ["Mask", "nan_restored"]


class Mask:
    """The workspace of a fused ReLU in two buffers, so that the next forward leaves alone what backward last used."""

    def __init__(self, b: Builder, workspace: Memory, primitive: Primitive, name: str) -> None:
        self.workspace = workspace
        self.buffers = [workspace.buffer, aligned_buffer(workspace.desc.size)]
        self.used = False  # whether backward has run since forward
        # by mean 0 and variance 1 a normalisation does nothing but the ReLU
        spec = batch_norm.NormSpec(1e-12, global_stats=True, relu=True)
        src = primitive[Arg.SRC]
        hint = batch_norm.forward(b.device, spec, src, layer=name)
        self.down = batch_norm.backward(b.device, spec, hint, layer=name)
        if self.down.inputs.get(Arg.WORKSPACE) != workspace.desc or hint.implementation != primitive.implementation:
            raise NotLoweredError("a ReLU whose mask cannot be read")
        self.kept = workspace.view(workspace.desc)

    def spare(self) -> None:
        """Before forward."""
        if self.used:
            self.used = False
            self.buffers.reverse()
            self.workspace.rebind(self.buffers[0])

    def taken(self) -> None:
        """In backward."""
        if not self.used:
            self.used = True
            self.kept.rebind(self.buffers[0])

    def through(self, dy: Memory) -> Memory:
        """What passed of `dy` in the last backward."""
        device = dy.device
        memories = {arg: Memory(device, desc) for arg, desc in (self.down.inputs | self.down.outputs).items()}
        memories[Arg.VARIANCE].numpy()[...] = 1
        source = Memory(device, self.down[Arg.DIFF_DST])
        reorder(device, dy, source)()
        memories |= {Arg.DIFF_DST: source, Arg.WORKSPACE: self.kept}
        Call(self.down, memories)()
        return memories[Arg.DIFF_SRC]


def nan_restored(mean: Memory, dst: Memory) -> Callable[[], None]:
    """A step behind a normalisation with a fused ReLU, which is 0 for NaN.

    A channel with a NaN or an infinity has no finite mean, and is NaN throughout.
    """
    means = mean.numpy()

    def step() -> None:
        if math.isfinite(means.sum()):
            return
        y = fetch(dst)
        y[:, ~np.isfinite(means)] = np.nan
        store(y, dst)

    return step
