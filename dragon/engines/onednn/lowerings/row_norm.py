"""LayerNorm, GroupNorm and InstanceNorm: rows of a row-major tensor, each normalised by itself.

A scale and shift as long as a row go into the primitive. Those of the channels are operations of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from dragon.engines.onednn.kernels import combine, layer_norm
from dragon.engines.onednn.library.constants import Alg, Arg
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.lowerings import lowers
from dragon.engines.onednn.lowerings.scale import kept_row_major, learn
from dragon.engines.onednn.plan.builder import Backward, Builder, NotLoweredError
from dragon.engines.onednn.plan.values import logical
from dragon.graph.node import Node

if TYPE_CHECKING:
    from dragon.bases.row_norm import RowNorm

__all__ = ["row_norm"]


@lowers("LayerNorm", "GroupNorm", "InstanceNorm")
def row_norm(b: Builder, node: Node) -> Backward | None:
    """Build LayerNorm, GroupNorm or InstanceNorm."""
    return _RowNorm(b, node).forward()


class _RowNorm:
    """One layer: its memories, and its steps."""

    def __init__(self, b: Builder, node: Node) -> None:
        self.b = b
        self.layer = cast("RowNorm", node.layer)
        self.name = self.layer.name
        self.bottom, self.top = node.bottoms[0], node.tops[0]
        self.wanted = node.propagate_down[0]
        if self.bottom.ndim > 5:
            raise NotLoweredError("more axes than oneDNN knows here")
        self.plain = MemoryDesc.plain(logical(self.bottom.shape), b.desc(self.bottom).dtype)
        self.rows = MemoryDesc.plain(self.layer.view, self.plain.dtype)
        # as long as a row, which then is all that the scale is laid over
        self.inside = self.layer.learns and self.layer.type == "LayerNorm"
        self.outside = self.layer.learns and not self.inside
        self.over = MemoryDesc.plain(self.layer.affine_view) if self.outside else self.plain

    def forward(self) -> Backward | None:
        b, bottom, top = self.b, self.bottom, self.top
        self.x = kept_row_major(b, bottom, top)
        b.watch(bottom)
        self.primitive = layer_norm.forward(
            b.device, self.rows, self.layer.eps, self.inside, training=b.training, layer=self.name
        )
        self.arguments = {Arg.SRC: self.x.view(self.rows)}
        self.arguments |= {arg: Memory(b.device, self.primitive[arg]) for arg in (Arg.MEAN, Arg.VARIANCE) if b.training}
        affine = self._affine()
        if not self.outside:
            y = b.make(top, self.plain)
            b.call(self.primitive, {**self.arguments, **affine, Arg.DST: y.view(self.rows)})
            return self.backward
        self.normal = Memory(b.device, self.plain)
        b.call(self.primitive, {**self.arguments, Arg.DST: self.normal.view(self.rows)})
        gamma, beta = (b.host_vector(blob).view(self.over) for blob in self.layer.blobs)
        y = b.make(top, self.plain)
        self._binary(Alg.binary_mul, self.normal, gamma, y)
        self._binary(Alg.binary_add, y, beta, y)
        return self.backward

    def _affine(self) -> dict[int, Memory]:
        """Scale and shift as they are now, if the primitive takes them."""
        if not self.inside:
            return {}
        scale, shift = (self.b.host_vector(blob) for blob in self.layer.blobs)
        return {Arg.SCALE: scale, Arg.SHIFT: shift}

    def _binary(self, alg: Alg, first: Memory, second: Memory, out: Memory) -> None:
        primitive = combine.binary(self.b.device, alg, first.desc, second.desc, layer=self.name)
        self.b.call(primitive, {Arg.SRC: first, Arg.SRC_1: second, Arg.DST: out})

    def backward(self) -> None:
        b, layer = self.b, self.layer
        learns = layer.param_propagate_down if layer.learns else []
        dy = b.diff(self.top, self.plain)
        if self.outside:
            scale, shift = layer.blobs
            if learns[1]:
                learn(b, self.name, dy, shift, self.over)
            if learns[0]:
                product = Memory(b.device, self.plain)
                self._binary(Alg.binary_mul, dy, self.normal, product)
                learn(b, self.name, product, scale, self.over)
            if not self.wanted:
                return
            scaled = Memory(b.device, self.plain)
            self._binary(Alg.binary_mul, dy, b.host_vector(scale).view(self.over), scaled)
            dy = scaled
        if not self.wanted and not any(learns):
            return
        down = layer_norm.backward(b.device, self.primitive, layer.eps, self.inside, layer=self.name)
        arguments = {**self.arguments, **self._affine(), Arg.DIFF_DST: dy.view(self.rows)}
        adds = []
        if self.inside:
            for arg, blob, learned in zip((Arg.DIFF_SCALE, Arg.DIFF_SHIFT), layer.blobs, learns, strict=True):
                arguments[arg], add = b.weight_diff(blob, down[arg], down[arg])
                adds += [add] if learned else []
        dx = b.make_diff(self.bottom, self.plain) if self.wanted else Memory(b.device, self.plain)
        b.call(down, {**arguments, Arg.DIFF_SRC: dx.view(self.rows)})
        for add in adds:
            add()
