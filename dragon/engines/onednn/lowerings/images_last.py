"""Convolution on small maps with the images as its innermost axis.

oneDNN's loops run along a row of one image. On a map of 2 x 2 a row fills little of a register or a tile, padding is
most of what is multiplied, and all weights pass by for each image. So data are reordered to (channels, height, width,
images), and the layer becomes one of a single image with one more axis, along which the kernel is 1 long: the same
products and sums, of which none multiplies padding. The reordering takes a twentieth of the time that it saves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from math import prod

from dragon.engines.onednn.kernels import combine
from dragon.engines.onednn.kernels.convolution import ConvSpec
from dragon.engines.onednn.library.constants import Arg, DataType
from dragon.engines.onednn.library.descriptor import MemoryDesc, Shape
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import Primitive
from dragon.engines.onednn.lowerings.filtering import Slot
from dragon.engines.onednn.lowerings.row_products import meetings
from dragon.engines.onednn.plan.builder import Builder

__all__ = ["Order", "Pass", "is_faster", "takes_rows"]


class Pass(Enum):
    """What is computed: the top, the gradient of the weights, or that of the bottom."""

    top = 1
    weights = 2
    bottom = 3


@dataclass(frozen=True)
class Order:
    """The order of the axes in which one pass of a convolution runs.

    spec: the geometry of the layer. last: whether images are the last axis.
    """

    spec: ConvSpec
    last: bool = False

    @property
    def ordered(self) -> ConvSpec:
        """The geometry as the primitives see it."""
        s = self.spec
        if not self.last:
            return s

        def moved(shape: Shape) -> Shape:
            return (1, *shape[1:], shape[0])

        return ConvSpec(
            src=moved(s.src),
            dst=moved(s.dst),
            kernel=(*s.kernel, 1),
            stride=(*s.stride, 1),
            pad=(*s.pad, 0),
            dilation=(*s.dilation, 1),
            bias=s.bias,
            dtype=s.dtype,
        )

    def of_blob(self, desc: MemoryDesc) -> MemoryDesc:
        """What a primitive's layout of a source or destination is for the blob, whose first axis are the images."""
        if not self.last:
            return desc
        *others, images = desc.dims[1:]
        axes = len(others)
        return desc.reshape((*others, images)).permuted((axes, *range(axes)))

    def read(self, get: Callable[[MemoryDesc], Memory]) -> Callable[[MemoryDesc], Memory]:
        """`get`, which gives a blob's data or diff in a layout, as a function of a primitive's layout."""
        return lambda desc: get(self.of_blob(desc)).view(desc) if self.last else get(desc)

    def written(self, b: Builder, made: Memory, primitive: Primitive, arg: int) -> tuple[Memory, Callable[[], None]]:
        """Memory for the primitive to write, and what to call after it, so that the result is in `made`."""
        if not self.last:
            return made, lambda: None
        desc = primitive[arg]
        staged = b.scratch(self.of_blob(desc), Slot.rows)

        def reorder() -> None:
            call = combine.reorder(b.device, staged.desc, made.desc)
            b.call(call, {Arg.SRC: staged, Arg.DST: made})

        return b.part(staged, desc), reorder


FEWEST = 16  # images, of which there are as many as numbers in a register or rows in a tile
BLOCK = 16  # channels
WORTH = 0.9  # of the time in the order of the blob
NARROW = 2  # pixels: the maps for which oneDNN has no kernel for the weights' gradient in float32
CALL = 3000  # ns for a call of a primitive, beside its work
LARGE = 1_500_000  # bytes of weights that leave no room in a core's cache of 2 MB


def is_faster(device: Device, spec: ConvSpec, wanted: Pass) -> bool:
    """Whether a pass is expected to be faster with the images as last axis."""
    if spec.transposed or spec.groups != 1 or len(spec.kernel) > 2 or max(spec.kernel) == 1:
        return False
    if spec.src[0] < FEWEST or spec.src[1] % BLOCK or spec.dst[1] % BLOCK:
        return False
    if spec.dtype == DataType.f32:
        if wanted == Pass.weights and not device.has_avx512 and not takes_rows(spec, wanted):
            return False  # it would unfold images
        first, last = _in_float32(spec, wanted)
    elif device.has_amx:
        first, last = _in_tiles(spec, wanted)
    else:  # other kernels of bf16 lose time by small maps only here
        return wanted == Pass.weights and spec.dst[-1] <= 2
    moved = sum(prod(shape) for shape in (spec.src, spec.dst)) * (4 if spec.dtype == DataType.f32 else 2)
    return last + moved / 20 + 2 * CALL < WORTH * first  # 20 bytes in a ns


def takes_rows(spec: ConvSpec, wanted: Pass) -> bool:
    """Whether a pass with the images last is a row of matrix products, `add_row_products`."""
    return wanted == Pass.weights and spec.dtype == DataType.f32 and min(spec.src[2:]) <= NARROW


# The following give the time in the order of the blob and with the images last, on one thread, in ns. Numbers were
# fitted to the CPU time of oneDNN 3.2 on a Sapphire Rapids core, for kernels of 2 to 5 at maps of 1 x 1 to 14 x 14,
# strides of 1 and 2, 64, 256 and 512 channels, 16 and 100 images. Estimates and measurements differ by up to a third,
# mostly by a tenth. With AVX2 all rates are lower, and the two orders differ as much or more.


def _in_float32(spec: ConvSpec, wanted: Pass) -> tuple[float, float]:
    """A row costs as if it were longer by some pixels, and its padding is multiplied."""
    pairs = [_pairs(spec, axis) for axis in range(len(spec.kernel))]
    channels = spec.src[0] * spec.src[1] * spec.dst[1]
    wide, strided = spec.dst[-1], spec.stride[-1] > 1
    if wanted == Pass.weights:
        rate, longer = 76.0, max(16 / wide**2, 1.5 if strided else 0.0)
    else:
        rate, longer = 93.0, 3.5 if strided and wanted == Pass.bottom else 0.6
    first = channels * prod(pairs[:-1]) * spec.kernel[-1] * (wide + longer) / rate
    if takes_rows(spec, wanted):
        return first, channels * prod(pairs) / 70.0 + prod(pairs[:-1]) * spec.kernel[-1] * CALL
    return first, channels * prod(pairs) / rate


def _in_tiles(spec: ConvSpec, wanted: Pass) -> tuple[float, float]:
    """In bf16 on AMX: products, and the weights' way through memory, for each image or for each pixel of a top."""
    images, products, weights = spec.src[0], _products(spec), prod(spec.weights)
    strided = spec.stride[-1] > 1
    if wanted == Pass.weights:  # which are added up in memory
        return products / 400 + images * weights * 0.144, products / (235 if strided else 330)
    size = 2 * weights  # bytes
    large = size > LARGE
    first = products / (300 if strided and wanted == Pass.bottom else 800) + images * size / (28 if large else 130)
    return first, products / 560 + prod(spec.dst[2:]) * size / (50 if large else 130)


def _products(spec: ConvSpec) -> int:
    return prod((spec.src[0], spec.src[1], spec.dst[1], *(_pairs(spec, axis) for axis in range(len(spec.kernel)))))


def _pairs(spec: ConvSpec, axis: int) -> int:
    """The number of pairs of a place in the top and a tap that lies within the bottom, along a spatial axis."""
    return len(meetings(spec, axis))
