"""The mask of a ReLU that is fused into a normalisation, read from the primitive's workspace; and its NaN."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from dragon.engines.onednn.kernels import batch_norm
from dragon.engines.onednn.library.constants import Arg
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import Call, Primitive
from dragon.engines.onednn.plan.builder import Builder, NotLoweredError
from dragon.engines.onednn.plan.guarded import fetch, store
from dragon.engines.onednn.plan.values import reorder
from dragon.memory.aligned import aligned_bytes

__all__ = ["Mask", "nan_restored"]


class Mask:
    """The workspace of a fused ReLU. It has two buffers, so that forward does not overwrite what backward last used."""

    def __init__(self, b: Builder, workspace: Memory, primitive: Primitive, name: str) -> None:
        self.workspace = workspace
        self.buffers = [workspace.buffer, aligned_bytes(workspace.desc.size)]
        self.used = False  # whether backward has run since forward
        # by mean 0 and variance 1 a normalisation does nothing but the ReLU
        spec = batch_norm.NormSpec(1e-12, global_stats=True, relu=True)
        src = primitive[Arg.SRC]
        hint = batch_norm.forward(b.device, spec, src, layer=name)
        self.down = batch_norm.backward(b.device, spec, hint, layer=name)
        if self.down.inputs.get(Arg.WORKSPACE) != workspace.desc or hint.implementation != primitive.implementation:
            raise NotLoweredError("a ReLU whose mask cannot be read")
        self.of_backward = workspace.view(workspace.desc)
        self.views: list[Memory] = []  # of the workspace, which move with it

    def before_forward(self) -> None:
        """Let forward write the other buffer, if backward has run; to be called before forward."""
        if self.used:
            self.used = False
            self.buffers.reverse()
            for memory in (self.workspace, *self.views):
                memory.rebind(self.buffers[0])

    def in_backward(self) -> None:
        """Keep the mask that this backward uses; to be called in backward."""
        if not self.used:
            self.used = True
            self.of_backward.rebind(self.buffers[0])

    def apply(self, dy: Memory) -> Memory:
        """`dy` where the ReLU of the last backward passed it, else 0."""
        device = dy.device
        memories = {arg: Memory(device, desc) for arg, desc in (self.down.inputs | self.down.outputs).items()}
        memories[Arg.VARIANCE].numpy()[...] = 1
        source = Memory(device, self.down[Arg.DIFF_DST])
        reorder(device, dy, source)()
        memories |= {Arg.DIFF_DST: source, Arg.WORKSPACE: self.of_backward}
        Call(self.down, memories)()
        return memories[Arg.DIFF_SRC]


def nan_restored(vectors: Sequence[Memory], dst: Memory) -> Callable[[], None]:
    """A step after a normalisation with a fused ReLU, which gives 0 for NaN: it restores NaN.

    vectors: the mean, which is not finite for a channel with NaN or an infinity: then the whole channel is NaN; and
    scale and shift, if there are any, by whose NaN it is NaN too.
    """
    means, *affine = (memory.numpy() for memory in vectors)

    def step() -> None:
        if math.isfinite(means.sum()) and all(math.isfinite(vector.sum()) for vector in affine):
            return
        lost = ~np.isfinite(means)
        for vector in affine:
            lost |= np.isnan(vector)
        y = fetch(dst)
        y[:, lost] = np.nan
        store(y, dst)

    return step
