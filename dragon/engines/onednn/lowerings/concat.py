"""Concat and Slice: copies into and out of parts of one memory (quirk "parts of a tensor").

In TEST the bottoms of a Concat along the channels of one image lie in their parts at once (`plan/places.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, cast

import numpy as np

from dragon.engines.onednn.kernels import combine
from dragon.engines.onednn.library.constants import Arg
from dragon.engines.onednn.library.descriptor import MemoryDesc, Shape
from dragon.engines.onednn.library.layouts import like
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.lowerings import int8, lowers
from dragon.engines.onednn.lowerings.bounds import may_measure, pass_on
from dragon.engines.onednn.plan.builder import Backward, Builder, NotLoweredError
from dragon.engines.onednn.plan.places import Place
from dragon.engines.onednn.plan.values import reorder
from dragon.errors import EngineError
from dragon.graph.node import Node

if TYPE_CHECKING:
    from dragon.layers.concat import Concat
    from dragon.layers.slice import Slice
    from dragon.memory.blob import Blob

__all__ = ["concat", "slice_layer"]

Get = Callable[[MemoryDesc | None], Memory]
Make = Callable[[MemoryDesc], Memory]


@lowers("Concat")
def concat(b: Builder, node: Node) -> Backward | None:
    """Build Concat."""
    layer = cast("Concat", node.layer)
    bottoms, top = node.bottoms, node.tops[0]
    if int8.concat(b, node, layer.along):
        return None
    bounds = [b.value_of(bottom).bound for bottom in bottoms]
    place = b.places.get(top.data_storage)
    if place is None:
        _join(b, layer.name, layer.along, bottoms, b.data, b.desc, lambda desc: b.make(top, desc))
    else:
        _gather(b, bottoms, top, place)
    pass_on(b, bounds, top, how=np.max)
    may_measure(b, top)

    def backward() -> None:
        wanted = node.propagate_down
        targets = [
            (lambda desc, blob=blob: b.make_diff(blob, desc)) if want else None
            for blob, want in zip(bottoms, wanted, strict=True)
        ]
        shapes = [blob.shape for blob in bottoms]
        _split(b, layer.along, shapes, lambda desc: b.diff(top, desc), targets)

    return backward


@lowers("Slice")
def slice_layer(b: Builder, node: Node) -> Backward | None:
    """Build Slice."""
    layer = cast("Slice", node.layer)
    bottom, tops = node.bottoms[0], node.tops
    if bottom.ndim > 5:
        raise NotLoweredError("more axes than oneDNN knows here")
    makers = [lambda desc, top=top: b.make(top, desc) for top in tops]
    bound = b.value_of(bottom).bound
    _split(b, layer.along, [top.shape for top in tops], lambda desc: b.data(bottom, desc), makers)
    for top in tops if b.ahead else ():
        pass_on(b, [bound], top)

    def backward() -> None:
        if node.propagate_down[0]:
            _join(b, layer.name, layer.along, tops, b.diff, b.diff_desc, lambda desc: b.make_diff(bottom, desc))

    return backward


def _gather(b: Builder, bottoms: Sequence[Blob], top: Blob, whole: Place) -> None:
    """Copy the bottoms into their places that do not lie there yet."""
    channel = 0
    for blob in bottoms:
        place, source = Place(blob.shape, whole.block, whole, channel), b.data(blob)
        if place.holds(source):
            b.protect(source)
        else:
            b.run(reorder(b.device, source, place.memory(b.device)))
        b.places.pop(blob.data_storage, None)
        channel += blob.shape[1]
    b.protect(b.make(top, whole.desc, whole.memory(b.device)))
    b.remark = "in place"


def _join(
    b: Builder,
    name: str,
    axis: int,
    blobs: Sequence[Blob],
    get: Callable[[Blob, MemoryDesc | None], Memory],
    desc_of: Callable[[Blob], MemoryDesc],
    make: Make,
) -> None:
    """Append the blobs' memories, one after another along `axis`, into what `make` gives."""
    if blobs[0].ndim > 5:
        raise NotLoweredError("more axes than oneDNN knows here")
    dtype = desc_of(blobs[0]).dtype
    parts = [get(blob, None if desc_of(blob).dtype == dtype else MemoryDesc.plain(blob.shape, dtype)) for blob in blobs]
    whole = combine.concat(b.device, [part.desc for part in parts], axis, layer=name)
    memories = {Arg.MULTIPLE_SRC + i: part for i, part in enumerate(parts)}
    b.call(whole, memories | {Arg.DST: make(whole[Arg.DST])})


def _split(b: Builder, axis: int, shapes: Sequence[Shape], get: Get, targets: Sequence[Make | None]) -> None:
    """Append copies of the parts of a memory, except for targets that are None."""
    whole = get(None)
    starts = accumulate((shape[axis] for shape in shapes[:-1]), initial=0)
    for shape, start, make in zip(shapes, starts, targets, strict=True):
        if make is None:
            continue
        offsets = tuple(start if i == axis else 0 for i in range(len(shape)))
        source = whole
        try:
            part = source.desc.submemory(shape, offsets)
        except EngineError:  # a block lies across the edge
            source = get(MemoryDesc.plain(whole.desc.dims, whole.desc.dtype))
            part = source.desc.submemory(shape, offsets)
        target = make(like(source.desc, shape))
        b.run(reorder(b.device, source.view(part), target))
