"""Quirks of oneDNN that the engine works around, and a check of each: `python -m benchmarks.onednn_quirks`.

Run it when the version of oneDNN in pyproject.toml changes, and set WHEEL to that version. If a quirk is gone, the
work-around in the files of `where` can be removed; comments there mention the name of the quirk. Times depend on the
CPU: those in the list were measured with one thread of an AVX-512 CPU (Zen 4).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from dragon.engines.onednn.kernels import batch_norm, combine, convolution, lrn, pooling, softmax
from dragon.engines.onednn.library.binding import library
from dragon.engines.onednn.library.constants import Alg, Arg, DataType, Norm, Prop, Tag
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import BinaryPost, Call, EltwisePost, Primitive, SumPost
from dragon.engines.onednn.library.threads import set_threads
from dragon.engines.onednn.plan.places import blocks
from dragon.errors import EngineError

__all__ = ["QUIRKS", "VERSION", "WHEEL", "Quirk", "main"]

WHEEL = "2023.2.0"  # of onednn-cpu-gomp, for which the list was checked last
VERSION = (3, 2)  # of oneDNN in that wheel


@dataclass(frozen=True)
class Quirk:
    """A defect or an unexpected slowness of oneDNN.

    name: used by comments in the code. where: the files with a work-around, under dragon/engines/onednn. check: returns
    whether the quirk is there, and what was measured.
    """

    name: str
    what: str
    where: tuple[str, ...]
    check: Callable[[Device], tuple[bool, str]]


def seconds(call: Callable[[], object], duration: float = 0.02) -> float:
    """The shortest time of a call, in seconds, among repeated calls for about `duration` seconds."""
    call()
    shortest, end = float("inf"), time.perf_counter() + duration
    while True:
        begin = time.perf_counter()
        call()
        now = time.perf_counter()
        shortest = min(shortest, now - begin)
        if now > end:
            return shortest


def _slower(plain: Callable[[], object], around: Callable[[], object], times: float = 3) -> tuple[bool, str]:
    """Whether `plain` takes more than `times` as long as the work-around `around`, and both times in words."""
    first, second = seconds(plain), seconds(around)
    return first > times * second, f"{first * 1e6:,.0f} us against {second * 1e6:,.0f} us"


def _call(primitive: Primitive) -> Call:
    device = primitive.device
    return Call(primitive, {arg: Memory(device, desc) for arg, desc in (primitive.inputs | primitive.outputs).items()})


def _operand_of_blocked(device: Device) -> tuple[bool, str]:
    shape, operand = (8, 64, 28, 28), (1, 64, 1, 1)
    dtype = MemoryDesc.plain(shape).dtype
    x = MemoryDesc.tagged(shape, dtype, Tag.aBcd16b)
    plain = combine.binary(device, Alg.binary_mul, x, MemoryDesc.plain(operand))
    spec = batch_norm.NormSpec(1e-12, global_stats=True, scale=True)
    return _slower(_call(plain), _call(batch_norm.forward(device, spec, x)))


def _operand_of_post_op(device: Device) -> tuple[bool, str]:
    shape = (2, 3, 1, 1)
    random = np.random.default_rng(0)
    x, factor = random.random(shape, np.float32), random.random((1, 3, 1, 1), np.float32)
    shift = random.random((1, 3, 1, 1), np.float32)
    over = MemoryDesc.plain(factor.shape)
    desc = MemoryDesc.plain(shape)
    primitive = combine.binary(device, Alg.binary_mul, desc, over, post_ops=[BinaryPost(Alg.binary_add, over)])
    y = np.zeros_like(x)
    memories = {Arg.SRC: x, Arg.SRC_1: factor, Arg.post_op(0): shift, Arg.DST: y}
    Call(primitive, {arg: Memory.wrap(device, array) for arg, array in memories.items()})()
    error = float(np.abs(y - (x * factor + shift)).max())
    return error > 1e-5, f"off by {error:.2g}"


def _reduction(device: Device) -> tuple[bool, str]:
    outer, inner = (combine.reduction(device, Alg.reduction_sum, MemoryDesc.plain(a), MemoryDesc.plain(b))
                    for a, b in (((512, 512), (1, 512)), ((512, 512), (512, 1))))  # fmt: skip
    return _slower(_call(outer), _call(inner))


def _layer_norm(device: Device) -> tuple[bool, str]:
    src, rows = MemoryDesc.plain((8, 16)), MemoryDesc.plain((8,))
    flags = Norm.use_scale | Norm.use_shift
    create = "layer_normalization_{}_primitive_desc_create"
    forward = Primitive(
        device, create.format("forward"), [Prop.forward_training, src, src, rows, 1e-5, flags], [Arg.SRC], [Arg.DST]
    )
    arguments = [Prop.backward_data, src, src, src, rows, 1e-5, flags, forward.desc]
    try:
        found = Primitive(device, create.format("backward"), arguments, [Arg.SRC], [Arg.DIFF_SRC])
    except EngineError as error:
        return True, str(error)
    return False, found.implementation


def _frozen_scale(device: Device) -> tuple[bool, str]:
    spec, src = batch_norm.NormSpec(1e-5, scale=True, shift=True), MemoryDesc.plain((4, 16, 5, 5))
    down = batch_norm.backward(device, spec, batch_norm.forward(device, spec, src), parameters=False)
    call = Call(down, {arg: Memory(device, desc) for arg, desc in {**down.inputs, **down.outputs}.items()})
    try:
        call()
    except EngineError as error:
        return True, str(error)
    return False, down.implementation


def _sums_of_a_normalisation(device: Device) -> tuple[bool, str]:
    src = MemoryDesc.plain((32, 16, 32, 32))
    call = _call(batch_norm.forward(device, batch_norm.NormSpec(1e-5), src))
    x = call.memories[Arg.SRC].numpy()
    x[...] = np.random.default_rng(0).standard_normal(x.shape) + 3
    call()
    error = np.abs(call.memories[Arg.MEAN].numpy() - x.mean((0, 2, 3), dtype=np.float64)).max()
    return bool(error > 2e-6), f"mean 3 of 32,768 values is off by {error:.0e}"


def _pooling_layout(device: Device) -> tuple[bool, str]:
    spec = pooling.PoolSpec((4, 3, 24, 24), (4, 3, 1, 1), (24, 24), (1, 1), (0, 0), Alg.pooling_max)
    forward = pooling.forward(device, spec, src=MemoryDesc.channels_last(spec.src))
    free = pooling.backward(device, spec, forward).implementation
    same = pooling.backward(device, spec, forward, diff_src=forward[Arg.SRC]).implementation
    return free.startswith("ref") and not same.startswith("ref"), f"{free} against {same}"


def _blocks(device: Device) -> tuple[bool, str]:
    spec = convolution.ConvSpec((16, 20, 24, 24), (16, 20, 20, 20), (5, 5), (1, 1), (0, 0), (1, 1))
    src, dst = MemoryDesc.channels_last(spec.src), MemoryDesc.channels_last(spec.dst)
    own, last = convolution.forward(device, spec), convolution.forward(device, spec, src=src, dst=dst)
    return _slower(_call(own), _call(last), 1.1)


def _parts(device: Device) -> tuple[bool, str]:
    spec = convolution.ConvSpec((1, 64, 28, 28), (1, 32, 28, 28), (3, 3), (1, 1), (1, 1), (1, 1))
    whole = MemoryDesc.channels_last((1, 64, 28, 28))
    part = whole.submemory(spec.dst, (0, 32, 0, 0))
    src = MemoryDesc.channels_last(spec.src)
    try:
        found = convolution.forward(device, spec, src=src, dst=part, training=False)
    except EngineError as error:
        return True, str(error)
    return found.implementation.startswith("ref"), found.implementation


def _sum(device: Device) -> tuple[bool, str]:
    x = MemoryDesc.plain((8, 64, 28, 28))
    total, added = combine.weighted_sum(device, [x, x]), combine.binary(device, Alg.binary_add, x, x)
    return _slower(_call(total), _call(added), 1.3)


def _large_images(device: Device) -> tuple[bool, str]:
    if not device.native_bf16:
        return True, "not tried: this CPU has no bf16"
    images = MemoryDesc.channels_last((16, 224, 56, 56), DataType.bf16)
    spec = batch_norm.NormSpec(1e-5, global_stats=True, scale=True, shift=True, relu=True)
    whole, rows = (
        batch_norm.forward(device, spec, desc, training=False) for desc in (images, batch_norm.by_rows(images))
    )
    return _slower(_call(whole), _call(rows), 1.1)


def _operand_in_float32(device: Device) -> tuple[bool, str]:
    if not device.native_bf16:
        return True, "not tried: this CPU has no bf16"
    shape = (2, 24, 3, 3)
    x, y = MemoryDesc.channels_last(shape, DataType.bf16), MemoryDesc.plain(shape)
    call = _call(combine.binary(device, Alg.binary_add, x, y))
    call.memories[Arg.SRC_1].numpy()[...] = 1
    sums, found = call.memories[Arg.DST].elements(), []
    for other in (np.exp, np.sort, np.exp, np.sort):
        other(np.linspace(0, 1, 1000, dtype=np.float32))
        call()
        found.append(int((sums == 0x3F80).sum()))
    return min(found) < sums.size, f"{min(found)} of {sums.size} sums 0 + 1 are right"


def _response_of_large_values(device: Device) -> tuple[bool, str]:
    x = np.full((1, 16, 4, 4), 1e9, np.float32)
    y = np.zeros_like(x)
    spec = lrn.LrnSpec(5, alpha=1e-4, beta=0.75)
    primitive = lrn.forward(device, spec, MemoryDesc.plain(x.shape), training=False)
    Call(primitive, {Arg.SRC: Memory.wrap(device, x), Arg.DST: Memory.wrap(device, y)})()
    expected = 1e9 / (1 + 1e-4 * 1e18) ** 0.75
    return bool(abs(float(y[0, 8, 2, 2]) / expected - 1) > 1e-3), f"{y[0, 8, 2, 2]:g}, expected {expected:g}"


def _running_sums(device: Device) -> tuple[bool, str]:
    x = np.ones((1, 16, 4, 4), np.float32)
    x[0, 2] = 1e4
    y = np.zeros_like(x)
    primitive = lrn.forward(device, lrn.LrnSpec(5, alpha=0.5, beta=0.75), MemoryDesc.plain(x.shape), training=False)
    Call(primitive, {Arg.SRC: Memory.wrap(device, x), Arg.DST: Memory.wrap(device, y)})()
    expected = (1 + 0.5) ** -0.75
    return bool(abs(float(y[0, 8, 2, 2]) / expected - 1) > 1e-3), f"{y[0, 8, 2, 2]:g}, expected {expected:g}"


def _logistic_of_nan(device: Device) -> tuple[bool, str]:
    spec = convolution.ConvSpec((1, 1, 1, 1), (1, 8, 1, 1), (3, 3), (1, 1), (1, 1), (1, 1), bias=False)
    src, dst = MemoryDesc.plain(spec.src), MemoryDesc.channels_last(spec.dst)
    plain = convolution.forward(device, spec, src=src, dst=dst)
    call = _call(plain.with_post_ops([EltwisePost(Alg.eltwise_logistic)]))
    call.memories[Arg.SRC].numpy()[...] = np.nan
    call()
    found = call.memories[Arg.DST].elements()[0]
    return not np.isnan(found), f"{found:g} by {call.primitive.implementation}"


def _response_gradient(device: Device) -> tuple[bool, str]:
    spec, desc = lrn.LrnSpec(5, alpha=1e-4, beta=0.75), MemoryDesc.plain((4, 64, 28, 28))
    used = lrn.backward(device, spec, lrn.forward(device, spec, desc), desc).implementation
    return used.startswith("ref"), used


def _softmax_along_rows(device: Device) -> tuple[bool, str]:
    shape = (2, 21, 64)
    rows, last = MemoryDesc.plain(shape), MemoryDesc.plain(shape, strides=(21 * 64, 1, 21))
    slow, fast = (softmax.forward(device, desc, 1).implementation for desc in (rows, last))
    return slow.startswith("ref") and not fast.startswith("ref"), f"{slow} against {fast}"


def _padded_point(device: Device) -> tuple[bool, str]:
    spec = convolution.ConvSpec((1, 16, 7, 7), (1, 16, 9, 9), (1, 1), (1, 1), (1, 1), (1, 1))
    src, dst = (blocks(shape, device.block) for shape in (spec.src, spec.dst))
    slow = convolution.forward(device, spec, src=src, dst=dst).implementation
    fast = convolution.forward(device, spec).implementation
    return slow.startswith("ref") and not fast.startswith("ref"), f"{slow} against {fast}"


def _narrow_groups(device: Device) -> tuple[bool, str]:
    shape, ones = (1, 32, 9, 9), (1, 1)
    narrow = convolution.ConvSpec(shape, shape, (3, 3), ones, ones, ones, groups=8)
    slow, fast = (convolution.forward(device, replace(narrow, groups=n)).implementation for n in (8, 4))
    return "gemm" in slow and "gemm" not in fast, f"{slow} against {fast}"


def _sum_with_factor_0(device: Device) -> tuple[bool, str]:
    desc = MemoryDesc.plain((16,))
    call = _call(combine.binary(device, Alg.binary_mul, desc, desc, post_ops=[SumPost(0.0)]))
    result = call.memories[Arg.DST].numpy()
    result[:] = np.nan
    call()
    return not np.isnan(result).any(), f"{result[0]} where NaN was"


QUIRKS = (
    Quirk(
        "operand of a blocked tensor",
        "A binary operation of a blocked tensor and a row-major operand that is broadcast runs one element at a time.",
        ("lowerings/pooling.py", "lowerings/scale.py", "lowerings/pairwise.py", "kernels/channel_parts.py"),
        _operand_of_blocked,
    ),
    Quirk(
        "operand in float32",
        "A binary operation of a bf16 tensor and a float32 one of the same extents and another layout leaves out parts "
        "of the latter, depending on the vector code that ran before.",
        ("lowerings/scale.py",),
        _operand_in_float32,
    ),
    Quirk(
        "operand of a post-op",
        "A binary post-op takes wrong elements of its operand where all spatial extents are 1.",
        ("lowerings/scale.py", "lowerings/norm_gradients.py"),
        _operand_of_post_op,
    ),
    Quirk(
        "reduction",
        "A reduction has a fast kernel for the innermost axes of a row-major tensor only.",
        ("lowerings/scale.py", "lowerings/pairwise.py"),
        _reduction,
    ),
    Quirk(
        "gradients of scale and shift",
        "Backward of a layer normalisation with scale and shift cannot leave out their gradients.",
        ("kernels/layer_norm.py",),
        _layer_norm,
    ),
    Quirk(
        "frozen scale and shift",
        "Backward of a batch normalisation with scale and shift is made without their gradients, and does not run.",
        ("kernels/batch_norm.py", "lowerings/normalization.py", "lowerings/scale.py"),
        _frozen_scale,
    ),
    Quirk(
        "sums of a normalisation",
        "A batch normalisation adds all values of a channel in one float32 register.",
        ("kernels/channel_parts.py",),
        _sums_of_a_normalisation,
    ),
    Quirk(
        "layout of a pooling's gradient",
        "Backward of a pooling over the whole map chooses a layout by itself that only the reference kernel has.",
        ("lowerings/pooling.py",),
        _pooling_layout,
    ),
    Quirk(
        "channels fill blocks",
        "A convolution fills channels up to blocks of 16 by itself, even where channels-last is faster.",
        ("lowerings/convolution.py",),
        _blocks,
    ),
    Quirk(
        "parts of a tensor",
        "A convolution whose source or destination is a part of a larger tensor has the reference kernel only.",
        ("lowerings/concat.py",),
        _parts,
    ),
    Quirk(
        "normalisation of large images",
        "A normalisation of bf16 images of 56 x 56 by given statistics takes 1.2 times as long as one of their rows as "
        "images, and that of one image 2.5 times as long with two threads.",
        ("kernels/batch_norm.py",),
        _large_images,
    ),
    Quirk(
        "response of large values",
        "LRN over channels with beta 0.75 gives 0 where k + alpha / n sum x^2 is over 7e12, the cube of which "
        "overflows, in some kernels, and over 4.8e25 in others. Not worked around: another exponent has the reference "
        "kernel only, and another scale takes a further pass.",
        ("lowerings/lrn.py",),
        _response_of_large_values,
    ),
    Quirk(
        "response by running sums",
        "LRN over channels of row-major data adds a square and subtracts it again: behind a large value all further "
        "channels of its pixel are wrong, and NaN behind NaN or infinity.",
        ("lowerings/lrn.py",),
        _running_sums,
    ),
    Quirk(
        "logistic of NaN",
        "The logistic function as a post-op of a convolution by unfolded images, or of the reference, makes 0 of NaN.",
        ("kernels/weighted.py",),
        _logistic_of_nan,
    ),
    Quirk(
        "sum with factor 0",
        "A sum with factor 0 as a post-op does not read its operand, so NaN there do not become part of the result.",
        ("kernels/solver.py",),
        _sum_with_factor_0,
    ),
    Quirk(
        "gradient of a response",
        "Without AVX-512 the gradient of LRN has the reference kernel only, which takes 36 times as long as average "
        "pooling and products of the same values.",
        ("lowerings/response_gradient.py",),
        _response_gradient,
    ),
    Quirk(
        "softmax along rows",
        "A softmax along an axis that is not the innermost one has the reference kernel only: 30 times the time.",
        ("lowerings/softmax.py",),
        _softmax_along_rows,
    ),
    Quirk(
        "point with padding",
        "A 1 x 1 convolution with padding has only the reference kernel in blocks of channels; it took seconds in "
        "SqueezeNet v1.0.",
        ("lowerings/convolution.py",),
        _padded_point,
    ),
    Quirk(
        "narrow groups",
        "Without AVX-512 a convolution whose groups have fewer channels than a vector unfolds images, in twice the "
        "time of one with twice the channels in a group.",
        ("lowerings/merged_groups.py",),
        _narrow_groups,
    ),
    Quirk(
        "sum",
        "The sum of two tensors takes twice as long as their binary addition.",
        ("kernels/combine.py",),
        _sum,
    ),
)


def main() -> None:
    """Try each quirk with one thread, and print whether it is there."""
    set_threads(1)
    device = Device()
    print(f"oneDNN {'.'.join(map(str, library().version))}; checked last for {'.'.join(map(str, VERSION))}")
    for quirk in QUIRKS:
        there, seen = quirk.check(device)
        print(f"{'there' if there else 'GONE '}  {quirk.name}: {quirk.what} ({seen}; {', '.join(quirk.where)})")


if __name__ == "__main__":
    main()
