"""LRN in both regions. oneDNN divides alpha by the number of values in the window, as Caffe does.

Values over about 6e8, with alpha 1e-4 and beta 0.75, can give 0: the quirk "response of large values".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from dragon.engines.onednn.kernels import lrn
from dragon.engines.onednn.library.constants import Alg, Arg
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.layouts import BLOCKED
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.lowerings import lowers
from dragon.engines.onednn.lowerings.bounds import pass_on
from dragon.engines.onednn.lowerings.response_gradient import composes, response_gradient
from dragon.engines.onednn.plan.builder import Backward, Builder, NotLoweredError
from dragon.graph.node import Node

if TYPE_CHECKING:
    from dragon.layers.lrn import LRN

__all__ = ["local_response"]


@lowers("LRN")
def local_response(b: Builder, node: Node) -> Backward | None:
    """Build LRN."""
    layer = cast("LRN", node.layer)
    bottom, top = node.bottoms[0], node.tops[0]
    if not 3 <= bottom.ndim <= 5:
        raise NotLoweredError("axes other than (N, C, 1 to 3 spatial)")
    alg = Alg.lrn_across_channels if layer.across else Alg.lrn_within_channel
    spec = lrn.LrnSpec(layer.local_size, layer.alpha, layer.beta, layer.k, alg)
    x = b.kept_source(bottom, top)
    primitive = lrn.forward(b.device, spec, x.desc, training=b.training, layer=layer.name)
    if layer.across and bottom.ndim == 4 and x.desc.is_row_major and not primitive.is_reference:
        x = b.data(bottom, _otherwise(x.desc))
        primitive = lrn.forward(b.device, spec, x.desc, training=b.training, layer=layer.name)
    backwards = b.training and node.propagate_down[0]
    down = lrn.backward(b.device, spec, primitive, x.desc, layer=layer.name) if backwards else None
    composed = down is not None and composes(spec, down)
    if composed:  # which needs no workspace
        primitive = lrn.forward(b.device, spec, x.desc, training=False, layer=layer.name)
    workspace = primitive.outputs.get(Arg.WORKSPACE)
    memories = {Arg.WORKSPACE: Memory(b.device, workspace)} if workspace else {}
    bound = b.value_of(bottom).bound
    b.call(primitive, memories | {Arg.SRC: x, Arg.DST: b.make(top, primitive[Arg.DST])})
    if layer.k >= 1 and layer.alpha >= 0 and layer.beta >= 0:  # then it divides by 1 or more
        pass_on(b, [bound], top)
    if down is None:
        return None

    def backward() -> None:
        dy = b.diff(top, down[Arg.DIFF_DST])
        dx = b.make_diff(bottom, down[Arg.DIFF_SRC])
        source = b.source_again(bottom, x, top)
        if composed:
            response_gradient(b, spec, source, dy, dx, layer.name)
        else:
            b.call(down, memories | {Arg.SRC: source, Arg.DIFF_DST: dy, Arg.DIFF_SRC: dx})

    return backward


def _otherwise(desc: MemoryDesc) -> MemoryDesc:
    """Channels last; maps of one pixel, which are row-major then, in blocks (quirk "response by running sums")."""
    last = MemoryDesc.channels_last(desc.dims, desc.dtype)
    return MemoryDesc.tagged(desc.dims, desc.dtype, BLOCKED[8][4]) if last.is_row_major else last
