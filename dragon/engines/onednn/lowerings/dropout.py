"""Dropout: the mask comes from the layer's stream, as on the reference, and is multiplied by a primitive."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from dragon.bases.layer import TRAIN
from dragon.engines.onednn.kernels import combine
from dragon.engines.onednn.library.constants import Alg, Arg
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.lowerings import lowers
from dragon.engines.onednn.lowerings.bounds import pass_on
from dragon.engines.onednn.plan.builder import Backward, Builder, NotLoweredError
from dragon.engines.onednn.plan.values import logical, reorder
from dragon.graph.node import Node

if TYPE_CHECKING:
    from dragon.layers.dropout import Dropout

__all__ = ["dropout"]


@lowers("Dropout")
def dropout(b: Builder, node: Node) -> Backward | None:
    """Build Dropout; in TEST it is a copy, or nothing in place."""
    layer = cast("Dropout", node.layer)
    bottom, top = node.bottoms[0], node.tops[0]
    in_place = top is bottom
    if layer.phase != TRAIN and not layer.scales_train:
        raise NotLoweredError("a scale in TEST")
    if layer.phase != TRAIN or layer.ratio == 0:
        if not in_place:
            bound = b.value_of(bottom).bound
            b.copy_data(bottom, top)
            pass_on(b, [bound], top)
        if in_place or not node.propagate_down[0]:
            return None
        return lambda: b.copy_diff(top, bottom)
    x = b.data(bottom)
    if x.desc.size and bottom.ndim > 6:
        raise NotLoweredError("more axes than oneDNN knows here")
    row_major_mask = Memory(b.device, MemoryDesc.plain(logical(bottom.shape)))
    values = row_major_mask.numpy().reshape(-1)
    scale = np.float32(layer.scale)

    def make_mask() -> None:
        np.multiply(layer.rng.raw32(values.size) >= layer.threshold, scale, out=values)

    b.run(make_mask)
    mask = row_major_mask
    if x.desc != row_major_mask.desc:
        mask = Memory(b.device, x.desc)
        b.run(reorder(b.device, row_major_mask, mask))
    primitive = combine.binary(b.device, Alg.binary_mul, x.desc, mask.desc, layer=layer.name)
    bound = b.value_of(bottom).bound
    y = b.make(top, x.desc, x if in_place and b.owns(bottom) else None)
    b.call(primitive, {Arg.SRC: x, Arg.SRC_1: mask, Arg.DST: y})
    pass_on(b, [bound], top, float(scale))

    def backward() -> None:
        if not node.propagate_down[0]:
            return
        dy = b.diff(top, x.desc)
        dx = b.make_diff(bottom, x.desc, dy if in_place and b.owns_diff(top) else None)
        b.call(primitive, {Arg.SRC: dy, Arg.SRC_1: mask, Arg.DST: dx})

    return backward
