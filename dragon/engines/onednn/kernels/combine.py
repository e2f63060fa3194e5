"""Primitives that combine or copy tensors: binary, sum, concatenation, reduction, reorder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dragon.engines.onednn.library.binding import floats
from dragon.engines.onednn.library.constants import Alg, Arg
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.primitive import Attributes, PostOp, Primitive, binary_operands, handles

__all__ = ["binary", "concat", "reduction", "reorder", "sum_of", "weighted_sum"]


def binary(
    device: Device,
    alg: Alg,
    src0: MemoryDesc,
    src1: MemoryDesc,
    *,
    dst: MemoryDesc | None = None,
    post_ops: Sequence[PostOp] = (),
    runtime_scales: Iterable[int] = (),
    layer: str = "",
) -> Primitive:
    """SRC, SRC_1 -> DST; src1 is broadcast along its dimensions of 1, and DST may be SRC.

    ``runtime_scales`` lists the sources that a one-element float32 memory, passed as
    ``Arg.runtime_scale(source)``, scales at each run: a new learning rate needs no new primitive.
    """
    return Primitive(
        device,
        "binary_primitive_desc_create",
        [alg, src0, src1, dst or src0],
        [Arg.SRC, Arg.SRC_1, *binary_operands(post_ops)],
        [Arg.DST],
        attributes=Attributes(post_ops, dict.fromkeys(runtime_scales, 0)),
        layer=layer,
    )


def weighted_sum(
    device: Device,
    sources: Sequence[MemoryDesc],
    weights: Sequence[float] | None = None,
    *,
    dst: MemoryDesc | None = None,
    layer: str = "",
) -> Primitive:
    """MULTIPLE_SRC + i -> DST = sum of weights[i] times source i; layouts of the sources may differ."""
    factors = floats(weights or [1.0] * len(sources))
    return Primitive(
        device,
        "sum_primitive_desc_create",
        [dst or sources[0], len(sources), factors, handles(sources)],
        [Arg.MULTIPLE_SRC + i for i in range(len(sources))],
        [Arg.DST],
        layer=layer,
    )


def sum_of(
    device: Device,
    sources: Sequence[MemoryDesc],
    weights: Sequence[float] | None = None,
    *,
    dst: MemoryDesc | None = None,
    layer: str = "",
) -> tuple[Primitive, list[int]]:
    """The fastest primitive for a weighted sum, and the arguments that its sources are, in their order.

    Two sources of one layout are added by a binary operation: quirk "sum".
    """
    alike = all(source == (dst or sources[0]) for source in sources)
    if len(sources) == 2 and alike and all(weight == 1 for weight in weights or ()):
        return binary(device, Alg.binary_add, *sources, layer=layer), [Arg.SRC, Arg.SRC_1]
    primitive = weighted_sum(device, sources, weights, dst=dst, layer=layer)
    return primitive, [Arg.MULTIPLE_SRC + i for i in range(len(sources))]


def concat(
    device: Device,
    sources: Sequence[MemoryDesc],
    axis: int = 1,
    *,
    dst: MemoryDesc | None = None,
    layer: str = "",
) -> Primitive:
    """MULTIPLE_SRC + i -> DST, in the library's layout where ``dst`` is not given."""
    return Primitive(
        device,
        "concat_primitive_desc_create",
        [dst, len(sources), axis, handles(sources)],
        [Arg.MULTIPLE_SRC + i for i in range(len(sources))],
        [Arg.DST],
        layer=layer,
    )


def reduction(device: Device, alg: Alg, src: MemoryDesc, dst: MemoryDesc, *, layer: str = "") -> Primitive:
    """SRC -> DST, summed (or averaged) along the axes where dst has 1."""
    create = "reduction_primitive_desc_create"
    return Primitive(device, create, [alg, src, dst, 0.0, 0.0], [Arg.SRC], [Arg.DST], layer=layer)


def reorder(device: Device, src: MemoryDesc, dst: MemoryDesc, *, scaled: bool = False, layer: str = "") -> Primitive:
    """SRC -> DST: another layout, another element type, or a copy.

    scaled: multiplied by the one-element float32 memory ``Arg.runtime_scale(Arg.SRC)``. Integers are the nearest ones,
    of a tie the even one, and saturate.
    """
    return Primitive(
        device,
        "reorder_primitive_desc_create",
        [src, device.engine, dst, device.engine],
        [Arg.SRC],
        [Arg.DST],
        prefix=[],
        attributes=Attributes((), {Arg.SRC: 0}) if scaled else None,
        layer=layer,
    )
