"""The products of a convolution, by cuDNN or cuBLAS.

cuDNN computes those over one or two axes, where it is installed. cuBLAS multiplies images that convolution.cu or
volume.cu has unfolded; those of a pointwise convolution need no unfolding. Where both can, the faster does it.

Named as in bases/convolution.py: a convolution maps `wide` images to `narrow` ones, a deconvolution the other way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any
from typing import cast as typed

from dragon.engines.cuda.device.checking import Check, Way
from dragon.engines.cuda.device.cudnn import Convolver, Geometry
from dragon.engines.cuda.device.cudnn_frontend import forward_product
from dragon.engines.cuda.kernels import cast, elementwise
from dragon.engines.cuda.kernels import convolution as kernels
from dragon.engines.cuda.kernels.kernel import MOST
from dragon.engines.cuda.lowerings import products_first, products_last
from dragon.engines.cuda.lowerings.channels import Channels, channel_gradient
from dragon.engines.cuda.lowerings.elementwise import element_wise
from dragon.engines.cuda.lowerings.lowering import Lowering, aligned
from dragon.engines.cuda.lowerings.windows import MOST_AXES, at_least_2d, axes_of, named, spread_out, window_sizes
from dragon.memory.blob import Blob

__all__ = ["NO_SLOPE", "Filtering", "add_bias", "learn_bias"]

NO_SLOPE = {"a": 0.0, "b": 0.0, "c": 0.0}  # settings of the kernels of ReLU
COLUMN_BYTES = 1 << 29  # limit for the columns of the images that are unfolded at a time
MOST_TIMED = 1 << 28  # bytes of columns up to which unfolding is timed beside cuDNN
CUDNN, CUBLAS = "cuDNN", "cuBLAS"  # ways to compute a product
BY_IMAGE = "cuBLAS for each image"

Arrays = tuple[Any, Any, Any]  # wide, weight or its gradient, narrow
ByCudnn = Callable[[Convolver, Geometry, Any, Any, Any], bool]  # whether it ran
Own = Callable[[Any, Any, Any], "bool | None"]  # False: it did not run, which the one by CUBLAS always does


def add_bias(lowering: Lowering, y: Any, bias: Any) -> None:
    """Compute y (N, C, ...) += bias (C)."""
    _, c, s = lowering.by_channel(y.shape)
    vectors = (c if s == 1 else s) % (16 // y.dtype.itemsize) == 0 and aligned(y)
    lowering.launch(kernels.add_bias, y=y, bias=bias, count=y.size, channels=c, spatial=s, vectors=vectors)


def learn_bias(lowering: Lowering, dy: Any, bias: Blob) -> None:
    """Add the sums of dy (N, C, ...) to the gradient of the bias (C)."""
    at = Channels.of(lowering.device, *lowering.by_channel(dy.shape))
    channel_gradient(lowering.device, at, dy, bias.diff, unscale=lowering.unscale, add=lowering.adds(bias))


class Filtering(Lowering):
    """The lowering of a layer that moves a window over images."""

    half = True
    writes_gradients = True
    is_timing: bool = False  # whether arrays are those of a timing
    turned: Any = None  # the weights of a timing whose copy with channels last is made: in a run the update makes it

    @classmethod
    def takes(cls, layer: Any, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        """Whether the kernels can. Over three axes, where only cuBLAS can, they have to count an unfolded image."""
        if not (len(layer.window.kernel) <= MOST_AXES and bottom[0].count > 0 and top[0].count > 0):
            return False
        return axes_of(layer.window) == 2 or cls._unfolded(layer) <= MOST

    @classmethod
    def _unfolded(cls, layer: Any) -> int:
        """Elements of one image's columns; 0 where these are a blob of the layer, whose size is checked anyway."""
        return 0

    def window_of(self, wide: Any, narrow: Any) -> dict[str, int]:
        """The kernels' arguments for images with at least two spatial axes."""
        window = at_least_2d(self.layer.window)
        return {**window_sizes(window, wide, narrow), **named("dilation_", window.dilation)}

    def chunks(self, wide: Any, narrow: Any) -> Iterator[slice]:
        """The images whose columns are unfolded at a time."""
        images = wide.shape[0]
        each = wide.shape[1] * math.prod(self.layer.window.kernel) * math.prod(narrow.shape[2:])
        limit = min(COLUMN_BYTES // wide.dtype.itemsize, 2**31 - 1)
        step = max(1, min(images, limit // max(1, each)))
        for start in range(0, images, step):
            yield slice(start, min(start + step, images))

    # -- the choice between cuDNN and cuBLAS --------------------------------------------------------------------
    def _geometry(self, wide: Any, weight: Any, narrow: Any) -> Geometry | None:
        """The convolution as cuDNN's interfaces take it; None where they cannot."""
        w = at_least_2d(self.layer.window)
        if w.before != w.after or len(w.kernel) != 2:
            return None
        if _is_one_pixel(wide, narrow):  # its strides fit both layouts; on a card such products were wrong
            return None
        if w.reaching(wide.shape[2:], narrow.shape[2:]) is not w:  # cuDNN knows no window beyond the padding
            return None
        before, stride, dilation = (typed("tuple[int, int]", each) for each in (w.before, w.stride, w.dilation))
        return Geometry(
            wide.shape, (*weight.shape[:2], *w.kernel), narrow.shape, before, stride, dilation, self.layer.group,
            wide.dtype.name, self.device.tf32, self.channels_last,
        )  # fmt: skip

    def _compute(self, product: str, arrays: Arrays, by_cudnn: ByCudnn, own: Mapping[str, Own]) -> None:
        """Compute a product of (wide, weight, narrow) by the first of cuDNN's interfaces that can, or by one of `own`.

        own: by name; one is CUBLAS. The fastest way is used. Where nothing is timed, CUBLAS computes pointwise
        products, cuDNN others.
        """
        g = self._geometry(*arrays) if self.device.convolvers else None
        chosen = self._fastest(product, g, arrays, by_cudnn, own)
        if chosen == CUDNN and g is not None:
            for one in self.device.convolvers:
                if one.serves(product, g) and by_cudnn(one, g, *arrays):
                    return
        if own.get(chosen, own[CUBLAS])(*arrays) is False:
            own[CUBLAS](*arrays)

    def _fastest(
        self, product: str, g: Geometry | None, arrays: Arrays, by_cudnn: ByCudnn, own: Mapping[str, Own]
    ) -> str:  # fmt: skip
        """The fastest way: a name in `own`, or CUDNN."""
        pointwise = at_least_2d(self.layer.window).is_pointwise
        usual = CUBLAS if g is None or pointwise else CUDNN
        in_parts = product.startswith("forward_")  # by `own`
        is_small = self._column_bytes(*arrays) <= MOST_TIMED
        if not self.device.timed_plans or not (pointwise or in_parts or is_small or len(own) > 1):
            return usual
        if g is None and len(own) == 1:
            return usual

        def ways() -> Iterator[Way]:
            one = next((one for one in self.device.convolvers if g is not None and one.serves(product, g)), None)
            if g is not None and one is not None:
                yield CUDNN, partial(by_cudnn, one, g)
            yield from own.items()

        key = type(self), product, self.layer.window, self.layer.group, self.device.tf32, self.channels_last
        operands = [(array.shape, array.dtype) for array in arrays]
        shapes = tuple((shape, dtype.name) for shape, dtype in operands)
        check = Check(f"{product} of {shapes}", {"data": 0, "weight": 1}.get(product, 2), CUBLAS)
        buffers, outside = dict(self._buffers), (self.is_timing, self.turned, self.memory)
        self.is_timing, self.turned, self.memory = True, None, None
        try:
            chosen = self.device.fastest((*key, *shapes), operands, ways, check)
        finally:
            self._buffers = buffers  # without those in memory that was only lent for the timing
            self.is_timing, self.turned, self.memory = outside
        return usual if chosen is None else chosen

    def _column_bytes(self, wide: Any, weight: Any, narrow: Any) -> int:
        elements = wide.shape[1] * math.prod(self.layer.window.kernel) * wide.shape[0] * math.prod(narrow.shape[2:])
        return int(elements * wide.dtype.itemsize)

    # -- products -----------------------------------------------------------------------------------------------
    def _own(self, wide: Any, narrow: Any) -> ModuleType:
        """The products by cuBLAS for the present layout. A pixel's channels are a row of a matrix in either one."""
        rows = self.channels_last or (self.layer.window.is_pointwise and _is_one_pixel(wide, narrow))
        return products_last if rows else products_first

    def narrow_from_wide(self, wide: Any, weight: Any, narrow: Any, bias: Any = None, relu: bool = False) -> None:
        """Compute narrow = W columns(wide) + bias, for every group; with `relu` max(that, 0)."""

        def by_cudnn(one: Convolver, g: Geometry, x: Any, w: Any, y: Any) -> bool:
            return one.narrow_from_wide(g, x, self._in_order(w), y, bias, relu)

        def own(x: Any, w: Any, y: Any) -> None:
            if relu:
                self.narrow_from_wide(x, w, y, bias)
                element_wise(self, elementwise.relu.forward, {"x": y, "out": y}, NO_SLOPE)
            elif bias is not None:
                self.narrow_from_wide(x, w, y)
                add_bias(self, y, bias)
            else:
                self._own(x, y).narrow_from_wide(self, x, w, y)

        product = forward_product(bias is not None, relu)

        def padded(to: int, x: Any, w: Any, y: Any) -> bool:
            for one, g in self._padded(product, to, x, w, y):
                px = products_last.pad_channels(self, "padded wide", x, g.wide)
                pw = products_last.pad_channels(self, "padded weight", self._in_order(w), g.weight)
                if one.narrow_from_wide(g, px, pw, y, bias, relu):
                    return True
            return False

        self._compute(product, (wide, weight, narrow), by_cudnn, {CUBLAS: own, **self._each_padding(wide, padded)})

    def wide_from_narrow(self, narrow: Any, weight: Any, wide: Any, bias: Any = None) -> None:
        """Compute wide = fold(W^T narrow) + bias, for every group."""

        def by_cudnn(one: Convolver, g: Geometry, x: Any, w: Any, y: Any) -> bool:
            if not one.wide_from_narrow(g, y, self._in_order(w), x):
                return False
            if bias is not None:
                add_bias(self, x, bias)
            return True

        def own(x: Any, w: Any, y: Any) -> None:
            self._own(x, y).wide_from_narrow(self, y, w, x, bias)
            if bias is not None and self.layer.window.is_pointwise:
                add_bias(self, x, bias)

        self._compute("data", (wide, weight, narrow), by_cudnn, {CUBLAS: own})

    def weight_gradient(self, wide: Any, narrow: Any, weight: Blob) -> None:
        """Add the sum over images of narrow columns(wide)^T, for every group, to the gradient of the weights."""
        diff, add = weight.diff, self.adds(weight)

        def by_cudnn(one: Convolver, g: Geometry, x: Any, dw: Any, y: Any) -> bool:
            as_it_lies = not self.channels_last or products_last.is_flat(dw)
            if x.dtype == dw.dtype and as_it_lies and (one.accumulates or not add):
                return one.weight_gradient(g, x, y, dw, add=add)
            found = self.buffer("gradient", dw.shape, x.dtype)  # all three of one type, as cuDNN requires
            if not one.weight_gradient(g, x, y, found, add=False):
                return False
            if self.channels_last:
                products_last.accumulate_weight(self, found, dw, add)
            else:
                self.launch(cast.accumulate, x=found, y=dw, count=dw.size, factor=self.unscale, add=add)
            return True

        def own(x: Any, dw: Any, y: Any) -> None:
            self._own(x, y).weight_gradient(self, x, y, dw, add)

        def by_image(x: Any, dw: Any, y: Any) -> None:
            products_first.weight_gradient_by_image(self, x, y, dw, add)

        def padded(to: int, x: Any, dw: Any, y: Any) -> bool:
            for one, g in self._padded("weight", to, x, dw, y):
                px = products_last.pad_channels(self, "padded wide", x, g.wide)
                found = self.buffer("padded weight", g.weight, x.dtype)
                if one.weight_gradient(g, px, y, found, add=False):
                    found = products_last.pad_channels(self, "gradient", found, dw.shape)
                    products_last.accumulate_weight(self, found, dw, add)
                    return True
            return False

        each = self.layer.window.is_pointwise and not self.channels_last and wide.shape[0] * diff.nbytes <= MOST_TIMED
        ways: dict[str, Own] = {
            CUBLAS: own,
            **({BY_IMAGE: by_image} if each else {}),
            **self._each_padding(wide, padded),
        }
        self._compute("weight", (wide, diff, narrow), by_cudnn, ways)

    # -- few channels, as of images of colours ------------------------------------------------------------------
    def _pads(self, wide: Any) -> list[int]:
        """Numbers of channels with which cuDNN may take wide images, zeros behind them, so that tensor cores do."""
        c = wide.shape[1]
        if self.layer.group > 1 or not (self.channels_last and self.device.convolvers):
            return []
        multiples = products_last.PADDED_TO[wide.dtype.itemsize]
        return sorted({-(-c // multiple) * multiple for multiple in multiples} - {c})

    def _each_padding(self, wide: Any, padded: Callable[..., bool]) -> dict[str, Own]:
        """`padded` for each number of channels that cuDNN may take, by name."""
        return {f"{CUDNN} with {channels} channels": partial(padded, channels) for channels in self._pads(wide)}

    def _padded(
        self, product: str, channels: int, wide: Any, weight: Any, narrow: Any
    ) -> Iterator[tuple[Convolver, Geometry]]:
        """The interfaces that can compute a product with so many wide channels, and its geometry."""
        g = self._geometry(wide, weight, narrow)
        if g is None:
            return
        g = replace(g, wide=_with_channels(g.wide, channels), weight=_with_channels(g.weight, channels))
        for one in self.device.convolvers:
            if one.serves(product, g):
                yield one, g

    def _in_order(self, weight: Any) -> Any:
        """Weights in the order of axes that the images have."""
        return products_last.weight_last(self, weight) if self.channels_last else weight

    def sizes(self, wide: Any, narrow: Any) -> tuple[int, int, int]:
        """(groups, narrow channels of a group, wide channels of a group times the kernel's size)."""
        g = self.layer.group
        return g, narrow.shape[1] // g, wide.shape[1] // g * math.prod(self.layer.window.kernel)

    def _images(self, bottom: Any, top: Any) -> tuple[Any, Any]:
        """Arrays of a bottom and a top, with at least two spatial axes."""
        return spread_out(bottom, self.layer.bottom_view), spread_out(top, self.layer.top_view)

    def _learn_bias(self, dy: Any) -> None:
        if self.layer.bias is not None:
            learn_bias(self, dy, self.layer.bias)


def _is_one_pixel(*images: Any) -> bool:
    return all(math.prod(each.shape[2:]) == 1 for each in images)


def _with_channels(shape: tuple[int, ...], channels: int) -> tuple[int, ...]:
    return shape[0], channels, *shape[2:]
