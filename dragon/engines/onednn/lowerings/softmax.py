"""Softmax, and SoftmaxWithLoss: the probabilities by a primitive, the loss and its gradient at the labels only.

Along an axis that is not the innermost one oneDNN has the reference kernel: quirk "softmax along rows". So the data are
brought into a layout in which it is.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np

from dragon.bases.loss import class_labels
from dragon.engines.onednn.kernels import softmax
from dragon.engines.onednn.library.constants import Alg, Arg, DataType
from dragon.engines.onednn.library.descriptor import MemoryDesc, Shape
from dragon.engines.onednn.lowerings import lowers
from dragon.engines.onednn.lowerings.bounds import of_function
from dragon.engines.onednn.plan.builder import Backward, Builder, NotLoweredError
from dragon.engines.onednn.plan.values import logical
from dragon.graph.node import Node
from dragon.layers.softmax import softmax as reference
from dragon.layers.softmax import softmax_backward
from dragon.memory.blob import Blob
from dragon.memory.storage import Array

if TYPE_CHECKING:
    from dragon.layers.softmax import Softmax
    from dragon.layers.softmax_with_loss import SoftmaxWithLoss

__all__ = ["softmax_layer", "softmax_loss"]

TINY = float(np.finfo(np.float32).tiny)


def _softmax(axis: int, x: Array) -> Array:
    y = np.empty_like(x)
    reference(x, axis, y)
    return y


@lowers("Softmax")
def softmax_layer(b: Builder, node: Node) -> Backward | None:
    """Build Softmax."""
    layer = cast("Softmax", node.layer)
    bottom, top = node.bottoms[0], node.tops[0]
    if bottom.ndim > 6:
        raise NotLoweredError("more axes than oneDNN knows here")
    desc, bound = b.desc(bottom), b.value_of(bottom).bound
    forward = partial(softmax.forward, b.device, axis=layer.along, training=b.training, layer=layer.name)
    primitive = forward(desc)
    if primitive.is_reference:
        primitive = forward(MemoryDesc.axis_last(desc.dims, layer.along, desc.dtype))
    x = b.data(bottom, primitive[Arg.SRC])
    y = b.make(top, primitive[Arg.DST])
    b.call_guarded(primitive, {Arg.SRC: x, Arg.DST: y}, partial(_softmax, layer.along), bound=bound)
    of_function(b, bound, top, [(Alg.eltwise_clip, 0.0, 1.0)])  # as if clipped

    def backward() -> None:
        if node.propagate_down[0]:
            down = softmax.backward(b.device, primitive, layer.along, layer=layer.name)
            if down.is_reference and desc.dtype == DataType.f32:
                _backward_in_numpy(b, bottom, top, layer.along, y.desc)
                return
            dy = b.diff(top, down[Arg.DIFF_DST])
            dx = b.make_diff(bottom, down[Arg.DIFF_SRC])
            b.call(down, {Arg.DST: b.data(top, y.desc), Arg.DIFF_DST: dy, Arg.DIFF_SRC: dx})

    return backward


def _backward_in_numpy(b: Builder, bottom: Blob, top: Blob, axis: int, desc: MemoryDesc) -> None:
    """Append the gradient as array code, all in the layout `desc`: without AVX-512 there is only a reference kernel."""
    if not desc.is_plain:
        desc = MemoryDesc.plain(desc.dims)
    y, dy = b.data(top, desc).numpy(), b.diff(top, desc).numpy()
    dx = b.make_diff(bottom, desc).numpy()
    b.run(partial(softmax_backward, y, dy, axis, dx))


@lowers("SoftmaxWithLoss")
def softmax_loss(b: Builder, node: Node) -> Backward | None:
    """Build SoftmaxWithLoss. Forward touches every element by one primitive, backward by one multiplication."""
    layer = cast("SoftmaxWithLoss", node.layer)
    if layer.weights:
        raise NotLoweredError("classes have weights")
    (bottom, label), top = node.bottoms, node.tops[0]
    outer, classes, inner = layer.spans
    shape, dtype = logical(bottom.shape), b.desc(bottom).dtype
    classes_axis = layer.axis(layer.param.softmax_param.axis, bottom.ndim)

    def layout(of: Shape, axis: int, dtype: DataType = DataType.f32) -> MemoryDesc:
        return MemoryDesc.plain(of, dtype) if inner == 1 else MemoryDesc.axis_last(of, axis, dtype)

    spans, flat = (layout((outer, classes, inner), 1, kind) for kind in (DataType.f32, dtype))
    x = b.data(bottom, layout(shape, classes_axis, dtype))
    primitive = softmax.forward(b.device, flat, 1, dst=spans, training=b.training, layer=layer.name)
    prob = b.make(layer.prob, layout(shape, classes_axis)).view(spans)
    b.call_guarded(primitive, {Arg.SRC: x.view(flat), Arg.DST: prob}, partial(_softmax, 1))
    labels = b.data(label, MemoryDesc.plain(logical(label.shape))).numpy()
    loss = b.make(top, MemoryDesc.plain((1,))).numpy()
    values = prob.numpy()
    rows, columns = np.arange(outer)[:, None], np.arange(inner)

    def forward() -> None:
        indices, valid = class_labels(layer, labels.reshape(label.shape), classes, layer.ignore_label)
        picked = values[rows, indices.reshape(outer, inner), columns]
        np.log(np.maximum(picked, TINY, out=picked), out=picked)
        count = outer * inner
        if valid is not None:
            np.copyto(picked, 0, where=~valid.reshape(outer, inner))  # NaN does not count there
            count = int(valid.sum())
        layer.divisor = layer.normalizer(outer, inner, count)
        loss[0] = (0 - picked.sum()) / layer.divisor  # -0 where all labels are ignored would be seen in logs

    b.run(forward)

    def backward() -> None:
        layer.check_propagation(node.propagate_down)
        if not node.propagate_down[0]:
            return
        desc = layout(shape, classes_axis)
        prob = b.data(layer.prob, desc).view(spans).numpy()
        labels = b.data(label, MemoryDesc.plain(logical(label.shape))).numpy().reshape(label.shape)
        weight = b.diff(top).numpy()
        dx = b.make_diff(bottom, desc).view(spans).numpy()

        def step() -> None:
            indices, valid = class_labels(layer, labels, classes, layer.ignore_label)
            factor = np.float32(weight[0] / layer.divisor)
            np.multiply(prob, factor, out=dx)
            dx[rows, indices.reshape(outer, inner), columns] -= factor
            if valid is not None:
                np.copyto(dx, 0, where=~valid.reshape(outer, 1, inner))

        b.run(step)

    return backward
