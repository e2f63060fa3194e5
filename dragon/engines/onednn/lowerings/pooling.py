"""Pooling by maximum and average, with Caffe's window and divisor rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np

from dragon.bases.geometry import Window
from dragon.bases.pooling import maximum, maximum_backward
from dragon.engines.onednn.kernels import combine, pooling
from dragon.engines.onednn.library.constants import Alg, Arg, DataType
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.lowerings import int8, lowers
from dragon.engines.onednn.lowerings.bounds import may_measure, pass_on
from dragon.engines.onednn.lowerings.pooling_mask import write_mask
from dragon.engines.onednn.plan.builder import Backward, Builder, NotLoweredError
from dragon.engines.onednn.plan.guarded import fetch, store
from dragon.graph.node import Node
from dragon.memory.scratch import Scratch
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb

if TYPE_CHECKING:
    from dragon.layers.pooling import Pooling

__all__ = ["pool", "pooling_layer"]


@lowers("Pooling")
def pooling_layer(b: Builder, node: Node) -> Backward | None:
    """Build a pooling by itself."""
    return pool(b, node)


def pool(
    b: Builder,
    node: Node,
    top_diff: Callable[[MemoryDesc], Memory] | None = None,
    source: Memory | None = None,
) -> Backward | None:
    """Build a pooling.

    top_diff: gives the gradient to start from in a wanted layout, if it is not the top's. source: what to pool in the
    place of the bottom, for the sake of backward alone: the top stays as it is.
    """
    layer = cast("Pooling", node.layer)
    bottom, tops = node.bottoms[0], node.tops
    if layer.method == pb.PoolingParameter.STOCHASTIC or bottom.ndim > 5:
        raise NotLoweredError("pooling by chance")
    with_mask = len(tops) > 1
    if with_mask and (top_diff is not None or source is not None):
        raise NotLoweredError("the mask is of what stands before the pooling")
    window, top = layer.window, tops[0]
    spec = pooling.PoolSpec(
        bottom.shape, top.shape, window.kernel, window.stride, window.before, Alg.pooling_max, b.dtype
    )
    correct = False
    if layer.method == pb.PoolingParameter.AVE:
        if layer.counts_padding:
            spec = replace(spec, behind=layer.pad_after)
            alg, correct = pooling.average_alg(spec)
        else:
            alg = Alg.pooling_avg_exclude_padding
        spec = replace(spec, alg=alg)
    rounded = b.range_of(bottom)
    if rounded is not None and spec.alg == Alg.pooling_max and not with_mask:
        int8.pool(b, node, spec, rounded)
        return None
    present = b.desc(bottom) if source is None else source.desc
    if present.dtype != spec.dtype:
        raise NotLoweredError("a source of another type")
    primitive = pooling.forward(b.device, spec, src=present, training=b.training or with_mask, layer=layer.name)
    arguments: dict[int, Memory] = {Arg.SRC: source or b.data(bottom, primitive[Arg.SRC])}
    workspace = primitive.outputs.get(Arg.WORKSPACE)
    if workspace is not None:
        arguments[Arg.WORKSPACE] = Memory(b.device, workspace)
    out = primitive[Arg.DST]
    bound = b.value_of(bottom).bound if source is None else None
    arguments[Arg.DST] = b.make(top, out) if source is None else Memory(b.device, out)
    guarded = None
    if spec.alg == Alg.pooling_max:
        exact = partial(_maximum, window, top.shape)
        guarded = b.call_guarded(primitive, arguments, exact, bound=bound)
        if with_mask:
            write_mask(b, guarded, window, tops[1])
    else:
        b.call(primitive, arguments)
    factor = _factor(b, spec, out) if correct else None
    if factor is not None:
        scale = combine.binary(b.device, Alg.binary_mul, out, factor.desc, layer=layer.name)
        b.call(scale, {Arg.SRC: arguments[Arg.DST], Arg.SRC_1: factor, Arg.DST: arguments[Arg.DST]})
    if source is None:
        pass_on(b, [bound], top)
        may_measure(b, top)

    def backward() -> None:
        if not node.propagate_down[0]:
            return
        # in the layout of the bottom: quirk "layout of a pooling's gradient"
        down = pooling.backward(b.device, spec, primitive, diff_src=primitive[Arg.SRC], layer=layer.name)
        diff = (top_diff or (lambda desc: b.diff(top, desc)))(down[Arg.DIFF_DST])
        if factor is not None:
            scaled, factors = Memory(b.device, diff.desc), _factor(b, spec, diff.desc)
            scale = combine.binary(b.device, Alg.binary_mul, diff.desc, factors.desc, layer=layer.name)
            b.call(scale, {Arg.SRC: diff, Arg.SRC_1: factors, Arg.DST: scaled})
            diff = scaled
        down_arguments = {Arg.DIFF_DST: diff, Arg.DIFF_SRC: b.make_diff(bottom, down[Arg.DIFF_SRC])}
        if Arg.WORKSPACE in arguments:
            down_arguments[Arg.WORKSPACE] = arguments[Arg.WORKSPACE]
        if guarded is None:
            b.call(down, down_arguments)
            return
        # with a ReLU moved behind it the pooling has read what came before the ReLU, and the bottom is not there
        alone = source is None and top_diff is None
        x = b.data(bottom, primitive[Arg.SRC]) if alone else arguments[Arg.SRC]
        b.call_guarded_as(guarded, down, down_arguments, lambda dy: _maximum_backward(window, fetch(x), dy))

    return backward


def _maximum(window: Window, shape: tuple[int, ...], x: Array) -> Array:
    y = np.empty(shape, x.dtype)
    maximum(x, window, y, _stages(x, shape))
    return y


def _maximum_backward(window: Window, x: Array, dy: Array) -> Array:
    dx, stages = np.empty_like(x), _stages(x, dy.shape)
    best = np.empty_like(dy)
    maximum(x, window, best, stages)
    maximum_backward(x, stages, best, dy, window, dx, Scratch())
    return dx


def _stages(x: Array, shape: tuple[int, ...]) -> list[Array]:
    return [np.empty((*x.shape[:axis], *shape[axis:]), x.dtype) for axis in range(len(shape) - 1, 2, -1)]


def _factor(b: Builder, spec: pooling.PoolSpec, desc: MemoryDesc) -> Memory:
    """The factors of all pixels, for data in the layout `desc`: for one image in blocks, of all channels as well."""
    values = np.ascontiguousarray(pooling.average_correction(spec))
    if spec.dst[0] > 1 or spec.dtype != DataType.f32 or desc.is_row_major or desc.is_channels_last:
        return Memory.wrap(b.device, values, DataType.f32)
    whole = Memory(b.device, desc)  # quirk "operand of a blocked tensor"
    store(np.broadcast_to(values, spec.dst), whole)
    return whole
