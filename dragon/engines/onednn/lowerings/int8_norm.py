"""In int8: a normalisation by running statistics in front of a product, with the Scale and the ReLU behind it.

It is one pass, round(max(a x + c, 0)) with the scale of the integers in a and c, which takes as long as rounding alone.
"""

from __future__ import annotations

import numpy as np

from dragon.engines.int8.arithmetic import Range
from dragon.engines.onednn.kernels import combine
from dragon.engines.onednn.library.constants import Alg, Arg
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.layouts import like
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import BinaryPost, EltwisePost, PostOp
from dragon.engines.onednn.lowerings import int8
from dragon.engines.onednn.lowerings.folding import make_lazy
from dragon.engines.onednn.lowerings.normalization import Chain, Normalization, normalize_chain
from dragon.engines.onednn.plan.builder import Backward, Builder
from dragon.engines.onednn.plan.values import int8_type
from dragon.memory.storage import Array

__all__ = ["rounded_chain"]


def rounded_chain(b: Builder, chain: Chain) -> Backward | None:
    """Build the layers of a chain, to integers where all readers of its top want them."""
    of = int8.wanted(b, b.last, chain.nodes[-1].tops[0])
    exact = of is not None and (of.signed or chain.relu is not None)  # no reader misses a negative value
    source, *made = (blob.data_storage for blob in (chain.norm.bottoms[0], *(node.tops[0] for node in chain.nodes)))
    exact = exact and (source not in made or source is made[-1])  # else a skipped blob overwrites what it is made from
    if of is None or not exact or not chain.norm.layer.use_global:  # type: ignore[attr-defined]
        return normalize_chain(b, chain)
    _Rounded(b, chain).build_rounded(of)
    return None


class _Rounded(Normalization):
    def build_rounded(self, of: Range) -> None:
        """Build forward, to integers rounded for a range."""
        b = self.b
        self._copy_all()
        shape = (1, self.channels, *(1 for _ in self.bottom.shape[2:]))
        factor, shift = (np.empty(shape, np.float32) for _ in range(2))
        b.when_changed(self._blobs, lambda: self._set(factor, shift, of.scale))
        present = b.desc(self.bottom)  # in blocks of channels the primitive is slow
        src = present if present.is_plain else MemoryDesc.channels_last(self.bottom.shape)
        dst = like(src, src.dims, int8_type(of))
        vector = MemoryDesc.plain(shape)
        post: list[PostOp] = [BinaryPost(Alg.binary_add, vector)]
        if self.chain.relu is not None:
            post.append(EltwisePost(Alg.eltwise_relu))
        primitive = combine.binary(
            b.device, Alg.binary_mul, src, vector, dst=dst, post_ops=post, layer=self.chain.norm.name
        )
        arguments = {
            Arg.SRC: b.data(self.bottom, src),
            Arg.SRC_1: Memory.wrap(b.device, factor),
            Arg.post_op(0): Memory.wrap(b.device, shift),
        }
        b.call(primitive, arguments | {Arg.DST: b.make_int8(self.top, dst, of)})
        make_lazy(b, [self.chain], {self.top.data_storage})
        b.remark = "to int8"

    def _set(self, factor: Array, shift: Array, step: float) -> None:
        """Factors and shifts of the channels, in steps of the integers."""
        a, c = self._constants()
        factor[...], shift[...] = (a / step).reshape(factor.shape), (c / step).reshape(shift.shape)
