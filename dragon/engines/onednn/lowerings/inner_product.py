"""InnerProduct: a blocked image is taken as it is, the weights follow its layout."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from dragon.engines.onednn import inner_product as ip
from dragon.engines.onednn.builder import Backward, Builder, NotLoweredError
from dragon.engines.onednn.constants import Arg
from dragon.engines.onednn.lowerings import lowers
from dragon.engines.onednn.memory import Memory

if TYPE_CHECKING:
    from dragon.layers.inner_product import InnerProduct

__all__ = ["inner_product"]


@lowers("InnerProduct")
def inner_product(b: Builder, index: int) -> Backward | None:
    layer = cast("InnerProduct", b.net.layers[index])
    bottom, top = b.net.bottoms[index][0], b.net.tops[index][0]
    if layer.rows != bottom.shape[0] or not 2 <= bottom.ndim <= 5 or bottom.count == 0:
        raise NotLoweredError("axes other than (N, ...)")
    outputs = top.shape[-1]
    spec = ip.InnerProductSpec(bottom.shape, outputs, layer.bias is not None, layer.transposed, b.dtype)
    present = b.desc(bottom)
    primitive = ip.forward(
        b.device,
        spec,
        src=present if present.dtype == spec.dtype else None,
        training=b.training,
        layer=layer.name,
    )
    host = spec.host_weights()
    arguments: dict[int, Memory] = {
        Arg.SRC: b.data(bottom, primitive[Arg.SRC]),
        Arg.WEIGHTS: b.weights(layer.weight, primitive[Arg.WEIGHTS], host),
    }
    if layer.bias is not None:
        arguments[Arg.BIAS] = b.host_vector(layer.bias)
    arguments[Arg.DST] = b.make(top, primitive[Arg.DST])
    b.call(primitive, arguments)

    def backward() -> None:
        learns = layer.param_propagate_down
        if any(learns):
            grad = ip.backward_weights(b.device, spec, primitive, layer=layer.name)
            weights, add_weights = b.weight_diff(layer.weight, grad[Arg.DIFF_WEIGHTS], host)
            made = {Arg.DIFF_WEIGHTS: weights}
            add_bias = None
            if layer.bias is not None:
                bias = grad[Arg.DIFF_BIAS]
                made[Arg.DIFF_BIAS], add_bias = b.weight_diff(layer.bias, bias, bias)
            taken = {Arg.SRC: b.data(bottom, grad[Arg.SRC]), Arg.DIFF_DST: b.diff(top, grad[Arg.DIFF_DST])}
            b.call(grad, taken | made)
            if learns[0]:
                add_weights()
            if add_bias is not None and learns[1]:
                add_bias()
        if b.net.bottom_need_backward[index][0]:
            down = ip.backward_data(b.device, spec, primitive, layer=layer.name)
            b.call(
                down,
                {
                    Arg.DIFF_DST: b.diff(top, down[Arg.DIFF_DST]),
                    Arg.WEIGHTS: b.weights(layer.weight, down[Arg.WEIGHTS], host),
                    Arg.DIFF_SRC: b.make_diff(bottom, down[Arg.DIFF_SRC]),
                },
            )

    return backward
