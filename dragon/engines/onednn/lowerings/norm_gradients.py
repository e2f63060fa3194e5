"""Backward of a normalisation from sums by parts: `channel_sums.py`.

    dbeta = sum(dy)    dgamma = inv * sum(dy (x - mean))    factor = gamma * inv
    dx = factor * dy + p * (x - mean) - factor * dbeta / m    p = -factor * inv * dgamma / m    m: values per channel

With statistics as constants the gradient ends with factor * dy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dragon.engines.onednn.kernels import combine
from dragon.engines.onednn.kernels.batch_norm import NormSpec
from dragon.engines.onednn.kernels.channel_parts import channel_vector
from dragon.engines.onednn.library.constants import Alg, Arg
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import BinaryPost
from dragon.engines.onednn.lowerings.channel_sums import Gradients
from dragon.memory.storage import Array

if TYPE_CHECKING:
    from dragon.engines.onednn.lowerings.normalization import Normalization
    from dragon.memory.blob import Blob

__all__ = ["backward_by_parts"]


def backward_by_parts(
    n: Normalization, spec: NormSpec, top: Blob, affine: list[Blob | None] | None, learns: list[bool]
) -> Memory:
    """Steps from the diff of `top` to those of the bottom and of scale and shift; the diff of `top`.

    affine: the scale and shift blobs that lie between the normalised x and `top`. spec: says whether the ReLU does, and
    whether the statistics are constants.
    """
    b, src, eps = n.b, n.src, spec.epsilon
    dy = b.diff(top, src.desc)
    dx = b.make_diff(n.bottom, src.desc) if n.chain.norm.propagate_down[0] else None
    out = b.scratch(src.desc) if dx is None else dx
    sums = Gradients(b, src, dy, out, n.layer.name, n.arguments[Arg.WORKSPACE] if spec.relu else None)
    if sums.mask is not None:
        n.skipped.follow(sums.mask)
    gamma = None
    if affine is not None:  # which may have changed since forward
        b.run(n.copy_affine(n.gamma_in_backward, n.beta_in_backward))
        gamma = n.gamma_in_backward.numpy()
    mean, variance = n.mean.numpy(), n.variance.numpy()
    vector = MemoryDesc.plain((n.channels,))
    learned = [(i, *b.weight_diff(blob, vector, vector)) for i, blob in enumerate(affine or []) if blob and learns[i]]
    diffs = [(i, memory.numpy()) for i, memory, _ in learned]
    through = None if spec.global_stats or dx is None else _Through(n, dx)
    inv = factor = np.ones(n.channels)

    def before() -> None:
        nonlocal inv, factor
        inv = 1 / np.sqrt(variance + np.float64(eps))
        factor = inv if gamma is None else inv * gamma
        sums.set(mean, factor)

    def after() -> None:
        dbeta, dgamma = sums.sums()
        dgamma *= inv
        for i, diff in diffs:
            diff[...] = (dgamma, dbeta)[i]
        if through is not None:
            scale = factor / -n.count
            along = scale * inv
            along *= dgamma
            dbeta *= scale
            dbeta -= along * mean
            through.set(along, dbeta)

    ignoring = np.errstate(all="ignore")  # infinities become NaN without a warning
    b.run(ignoring(before))
    sums.run()
    b.run(ignoring(after))
    if through is not None:
        through.run()
    for _, _, add in learned:
        add()
    return dy


class _Through:
    """Adds along * x + level, which each channel has of its own, to `dx`: the gradient through the statistics."""

    def __init__(self, n: Normalization, dx: Memory) -> None:
        self._b, self._src, self._dx, self._layer = n.b, n.src, dx, n.layer.name
        self._vector = channel_vector(dx.desc)
        self._along, self._level = Memory(n.b.device, self._vector), Memory(n.b.device, self._vector)
        self._arrays = [memory.elements()[: n.channels] for memory in (self._along, self._level)]

    def set(self, along: Array, level: Array) -> None:
        """Set both, each (C,)."""
        for array, value in zip(self._arrays, (along, level), strict=True):
            array[...] = value

    def run(self) -> None:
        """Add at this point of the plan."""
        b, src, dx = self._b, self._src, self._dx
        if max(src.desc.dims[2:], default=1) > 1:
            post = [BinaryPost(Alg.binary_add, self._vector), BinaryPost(Alg.binary_add, dx.desc)]
            add = combine.binary(b.device, Alg.binary_mul, src.desc, self._vector, post_ops=post, layer=self._layer)
            operands = {Arg.post_op(0): self._level, Arg.post_op(1): dx}
            b.call(add, {Arg.SRC: src, Arg.SRC_1: self._along, Arg.DST: dx, **operands})
            return
        # quirk "operand of a post-op"
        scratch = b.scratch(src.desc)
        for alg, first, second, target in (
            (Alg.binary_mul, src, self._along, scratch),
            (Alg.binary_add, scratch, self._level, scratch),
            (Alg.binary_add, dx, scratch, dx),
        ):
            primitive = combine.binary(b.device, alg, first.desc, second.desc, layer=self._layer)
            b.call(primitive, {Arg.SRC: first, Arg.SRC_1: second, Arg.DST: target})
