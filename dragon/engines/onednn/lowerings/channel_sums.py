"""Statistics of a normalisation, and its gradients, from sums by parts (`kernels/channel_parts.py`)."""

from __future__ import annotations

import math

import numpy as np

from dragon.engines.onednn.kernels import batch_norm
from dragon.engines.onednn.kernels.channel_parts import ChannelParts, Vector, moments, products
from dragon.engines.onednn.library.constants import Arg, DataType
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.plan.builder import Builder
from dragon.memory.storage import Array

__all__ = ["Gradients", "Moments", "gradients_by_parts", "moments_by_parts"]

FEW = 1024  # values of a channel whose moments oneDNN computes exactly enough
MANY = 1 << 17  # from this number of values its gradients are worth a pass of their own
LONG = 1024  # values of a part where differences from the mean are summed; squares are summed by `_short`
NEAR = 10.0  # up to this ratio of mean^2 to variance E[x^2] - E[x]^2 is exact enough


def moments_by_parts(desc: MemoryDesc) -> bool:
    """Whether mean and variance of this tensor's channels are taken by parts.

    Not of bfloat16, whose values are less exact than the sums.
    """
    return _values(desc) > FEW and desc.dtype == DataType.f32 and ChannelParts.of(desc, LONG) is not None


def gradients_by_parts(desc: MemoryDesc) -> bool:
    """Whether the sums of backward are taken by parts, which costs a third more than oneDNN's backward."""
    return _values(desc) >= MANY and moments_by_parts(desc)


def _values(desc: MemoryDesc) -> int:
    """Values of a channel."""
    return math.prod(desc.dims) // desc.dims[1]


def _short(count: int) -> int:
    """The values of a part where squares are summed: the more parts, the more their roundings balance."""
    return max(8, min(128, count // 64))


class Moments:
    """Mean and biased variance of the channels of `src`, written to `mean` and `variance`, float32 of (C,).

    spare: memory as large as `src`, which may be overwritten; None where there is none.

    In training sums of values and of squares are taken in one pass. Where a channel's mean is large beside its
    deviation E[x^2] - E[x]^2 is inexact, and a second primitive takes both moments in two passes.
    """

    def __init__(
        self, b: Builder, src: Memory, mean: Memory, variance: Memory, spare: Memory | None, layer: str
    ) -> None:
        self.count = _values(src.desc)
        self.mean, self.variance = mean.numpy(), variance.numpy()
        short, long = ChannelParts.of(src.desc, _short(self.count)), ChannelParts.of(src.desc, LONG)
        assert short is not None
        assert long is not None
        primitive = products(b.device, short, layer) if b.training else None
        two_pass = moments(b.device, long, layer)
        vector = MemoryDesc.plain((long.count,))
        means, variances = Memory(b.device, vector), Memory(b.device, vector)
        self._long, self._means, self._variances = long, means.numpy(), variances.numpy()
        memories = {
            Arg.SRC: src.view(long.desc),
            Arg.DST: b.scratch(long.desc) if spare is None else spare.view(long.desc),
            Arg.MEAN: means,
            Arg.VARIANCE: variances,
        }
        self._two_pass = b.prepared(two_pass, memories)
        if primitive is None:
            b.run(self._two_pass)
            b.run(np.errstate(all="ignore")(self._merge))
            return
        values = src.view(short.desc)
        row = primitive[Arg.DIFF_WEIGHTS].size
        both = Memory(b.device, MemoryDesc.plain((2, row // 4)))
        squares, sums = both.view(primitive[Arg.DIFF_WEIGHTS]), both.view(primitive[Arg.DIFF_BIAS], row)
        self._short, self._sums = short, both.numpy()[:, : short.count]
        memories = {Arg.SRC: values, Arg.DIFF_DST: values, Arg.DIFF_WEIGHTS: squares, Arg.DIFF_BIAS: sums}
        b.call(primitive, memories)
        b.run(self._from_squares)

    def _from_squares(self) -> None:
        with np.errstate(all="ignore"):  # infinities become NaN without a warning
            variance, mean = self._short.total(self._sums) / self.count
            square = mean * mean
            variance -= square
            if (square > NEAR * variance).any():
                self._two_pass()
                self._merge()
                return
            self.mean[...] = mean
            self.variance[...] = variance

    def _merge(self) -> None:
        """From the moments of the parts those of the channels."""
        number = self._long.per_channel
        mean = self._long.total(self._means) / number
        about = self._means.astype(np.float64)
        about *= about
        about += self._variances
        self.mean[...] = mean
        self.variance[...] = np.maximum(self._long.total(about) / number - mean * mean, 0)


class Gradients:
    """The sums of backward, by channel: of the diff dy, and of dy (x - mean).

    src: x. dy: the diff of the top, which a ReLU's workspace masks. out: gets factor * dy. All have one layout.
    mask: the workspace as the primitive sees it.
    """

    def __init__(
        self, b: Builder, src: Memory, dy: Memory, out: Memory, layer: str, workspace: Memory | None = None
    ) -> None:
        parts = ChannelParts.of(src.desc, LONG)
        assert parts is not None
        self._b, self._parts = b, parts
        # by a variance of 1 nothing is divided: 1 + 1e-12 is 1
        spec = batch_norm.NormSpec(1e-12, global_stats=True, scale=True, shift=True, relu=workspace is not None)
        hint = batch_norm.forward(b.device, spec, parts.desc, layer=layer)
        self._primitive = batch_norm.backward(b.device, spec, hint, layer=layer)
        vector = MemoryDesc.plain((parts.count,))
        mean, variance, factor, dots, sums = (Memory(b.device, vector) for _ in range(5))
        variance.numpy()[...] = 1
        self._mean, self._factor, self._dots, self._sums = (each.numpy() for each in (mean, factor, dots, sums))
        self._memories = {
            Arg.SRC: src.view(parts.desc),
            Arg.MEAN: mean,
            Arg.VARIANCE: variance,
            Arg.SCALE: factor,
            Arg.DIFF_DST: dy.view(parts.desc),
            Arg.DIFF_SRC: out.view(parts.desc),
            Arg.DIFF_SCALE: dots,
            Arg.DIFF_SHIFT: sums,
        }
        self.mask = None if workspace is None else workspace.view(self._primitive[Arg.WORKSPACE])
        if self.mask is not None:
            self._memories[Arg.WORKSPACE] = self.mask

    def set(self, mean: Array | None, factor: Array) -> None:
        """Set the mean (None for 0) and the factor, each (C,); to be called in a step before `run`."""
        if mean is not None:
            self._parts.spread(mean, self._mean)
        self._parts.spread(factor, self._factor)

    def run(self) -> None:
        """Compute the sums at this point of the plan."""
        self._b.call(self._primitive, self._memories)

    def sums(self) -> tuple[Vector, Vector]:
        """The sums of dy and of dy (x - mean), in float64 (C,)."""
        return self._parts.total(self._sums), self._parts.total(self._dots)
