"""The products of a convolution, by cuDNN or cuBLAS.

cuDNN computes those over one or two axes, where it is installed. Else cuBLAS multiplies images that convolution.cu or
volume.cu has unfolded; those of a pointwise convolution need no unfolding.

Named as in bases/convolution.py: a convolution maps `wide` images to `narrow` ones, a deconvolution the other way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from typing import cast as typed

from dragon.engines.cuda.device.cudnn import Convolver, Geometry
from dragon.engines.cuda.device.cudnn_frontend import forward_product
from dragon.engines.cuda.device.device import Matrix
from dragon.engines.cuda.kernels import cast, elementwise, volume
from dragon.engines.cuda.kernels import convolution as kernels
from dragon.engines.cuda.lowerings.channels import Channels, by_channel, channel_sums, totals
from dragon.engines.cuda.lowerings.elementwise import element_wise
from dragon.engines.cuda.lowerings.lowering import Lowering, aligned
from dragon.engines.cuda.lowerings.windows import MOST_AXES, at_least_2d, axes_of, named, spread_out, window_sizes
from dragon.memory.blob import Blob

__all__ = ["NO_SLOPE", "Filtering", "add_bias", "learn_bias"]

NO_SLOPE = {"a": 0.0, "b": 0.0, "c": 0.0}  # settings of the kernels of ReLU
COLUMN_BYTES = 1 << 29  # limit for the columns of the images that are unfolded at a time


def add_bias(lowering: Lowering, y: Any, bias: Any) -> None:
    """Compute y (N, C, ...) += bias (C)."""
    _, c, s = by_channel(y.shape)
    vectors = s % (16 // y.dtype.itemsize) == 0 and aligned(y)
    lowering.launch(kernels.add_bias, y=y, bias=bias, count=y.size, channels=c, spatial=s, vectors=vectors)


def learn_bias(lowering: Lowering, dy: Any, diff: Any) -> None:
    """Compute diff (C) += the sums of dy (N, C, ...)."""
    at = Channels.of(lowering.device, *by_channel(dy.shape))
    totals(lowering.device, at, channel_sums(lowering.device, at, dy), diff, None, unscale=lowering.unscale)


class Filtering(Lowering):
    """The lowering of a layer that moves a window over images."""

    half = True

    @classmethod
    def takes(cls, layer: Any, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return len(layer.window.kernel) <= MOST_AXES and bottom[0].count > 0 and top[0].count > 0

    def _window(self, wide: Any, narrow: Any) -> dict[str, int]:
        """The kernels' arguments for images with at least two spatial axes."""
        window = at_least_2d(self.layer.window)
        return {**window_sizes(window, wide, narrow), **named("dilation_", window.dilation)}

    def _chunks(self, wide: Any, narrow: Any) -> Iterator[slice]:
        images = wide.shape[0]
        each = wide.shape[1] * math.prod(self.layer.window.kernel) * math.prod(narrow.shape[2:])
        limit = min(COLUMN_BYTES // wide.dtype.itemsize, 2**31 - 1)
        step = max(1, min(images, limit // max(1, each)))
        for start in range(0, images, step):
            yield slice(start, min(start + step, images))

    def _columns(self, wide: Any, narrow: Any, more: int = 0) -> tuple[Any, Any]:
        """Workspace for the columns of some images, (wide channels * kernel, n, positions), and for `more` elements."""
        count = wide.shape[1] * math.prod(self.layer.window.kernel) * wide.shape[0] * math.prod(narrow.shape[2:])
        count = -(-count // 8) * 8
        memory = self.device.workspace(count + more, wide.dtype)
        return memory[:count], memory[count:]

    def _unfold(self, wide: Any, narrow: Any, columns: Any) -> None:
        """Write the columns of wide images into `columns`."""
        n, c = wide.shape[:2]
        count = c * math.prod(self.layer.window.kernel) * n * math.prod(narrow.shape[2:])
        self.launch(
            kernels.im2col if axes_of(self.layer.window) == 2 else volume.im2col_3d,
            x=wide, columns=columns, count=count, channels=c, images=n, **self._window(wide, narrow),
        )  # fmt: skip

    def _fold(self, columns: Any, bias: Any, wide: Any, narrow: Any) -> None:
        """Write the wide images whose columns these are into `wide`, plus the bias (None: none)."""
        n, c = wide.shape[:2]
        self.launch(
            kernels.col2im if axes_of(self.layer.window) == 2 else volume.col2im_3d,
            columns=columns, bias=bias, x=wide, count=wide.size, channels=c, images=n, **self._window(wide, narrow),
        )  # fmt: skip

    def _by_cudnn(
        self, product: str, wide: Any, weight: Any, narrow: Any, run: Callable[[Convolver, Geometry], bool]
    ) -> bool:
        """Compute a product by the first of cuDNN's interfaces that can; False where none can."""
        convolvers, w = self.device.convolvers, at_least_2d(self.layer.window)
        if not convolvers or w.is_pointwise or w.before != w.after or len(w.kernel) != 2:
            return False
        if w.reaching(wide.shape[2:], narrow.shape[2:]) is not w:  # cuDNN knows no window beyond the padding
            return False
        before, stride, dilation = (typed("tuple[int, int]", each) for each in (w.before, w.stride, w.dilation))
        g = Geometry(
            wide.shape, (*weight.shape[:2], *w.kernel), narrow.shape, before, stride, dilation, self.layer.group,
            wide.dtype.name, self.device.tf32,
        )  # fmt: skip
        return any(one.serves(product, g) and run(one, g) for one in convolvers)

    def narrow_from_wide(self, wide: Any, weight: Any, narrow: Any, bias: Any = None, relu: bool = False) -> None:
        """Compute narrow = W columns(wide) + bias, for every group; with `relu` max(that, 0)."""
        if bias is not None or relu:

            def all_at_once(one: Convolver, g: Geometry) -> bool:
                return one.narrow_from_wide(g, wide, weight, narrow, bias, relu)

            if self._by_cudnn(forward_product(bias is not None, relu), wide, weight, narrow, all_at_once):
                return
        if relu:
            self.narrow_from_wide(wide, weight, narrow, bias)
            element_wise(self, elementwise.relu.forward, {"x": narrow, "out": narrow}, NO_SLOPE)
            return
        self._multiply(wide, weight, narrow)
        if bias is not None:
            add_bias(self, narrow, bias)

    def _multiply(self, wide: Any, weight: Any, narrow: Any) -> None:
        def product(one: Convolver, g: Geometry) -> bool:
            return one.narrow_from_wide(g, wide, weight, narrow)

        if self._by_cudnn("forward", wide, weight, narrow, product):
            return
        for part in self._chunks(wide, narrow):
            x, y = wide[part], narrow[part]
            n, p = x.shape[0], math.prod(y.shape[2:])
            g, rows, inner = self._sizes(x, y)
            if self.layer.window.is_pointwise:
                columns, ld, step, of_group = x, p, inner * g * p, inner * p
            else:
                columns, _ = self._columns(x, y)
                self._unfold(x, y, columns)
                ld, step, of_group = n * p, p, inner * n * p
            for i in range(g):
                self.device.gemm(
                    rows, p, inner,
                    Matrix(weight, inner, 0, i * rows * inner),
                    Matrix(columns, ld, step, i * of_group),
                    Matrix(y, p, rows * g * p, i * rows * p),
                    batch=n,
                )  # fmt: skip

    def wide_from_narrow(self, narrow: Any, weight: Any, wide: Any, bias: Any = None) -> None:
        """Compute wide = fold(W^T narrow) + bias, for every group."""

        def product(one: Convolver, g: Geometry) -> bool:
            return one.wide_from_narrow(g, narrow, weight, wide)

        if self._by_cudnn("data", wide, weight, narrow, product):
            if bias is not None:
                add_bias(self, wide, bias)
            return
        for part in self._chunks(wide, narrow):
            x, y = wide[part], narrow[part]
            n, p = x.shape[0], math.prod(y.shape[2:])
            g, rows, inner = self._sizes(x, y)
            direct = self.layer.window.is_pointwise
            if direct:
                columns, ld, step, of_group = x, p, inner * g * p, inner * p
            else:
                columns, _ = self._columns(x, y)
                ld, step, of_group = n * p, p, inner * n * p
            for i in range(g):
                self.device.gemm(
                    inner, p, rows,
                    Matrix(weight, inner, 0, i * rows * inner, transposed=True),
                    Matrix(y, p, rows * g * p, i * rows * p),
                    Matrix(columns, ld, step, i * of_group),
                    batch=n,
                )  # fmt: skip
            if not direct:
                self._fold(columns, bias, x, y)
        if bias is not None and self.layer.window.is_pointwise:
            add_bias(self, wide, bias)

    def weight_gradient(self, wide: Any, narrow: Any, diff: Any) -> None:
        """Compute diff += the sum over images of narrow columns(wide)^T, one product for a group."""

        def product(one: Convolver, g: Geometry) -> bool:
            if one.accumulates and wide.dtype == diff.dtype:
                return one.weight_gradient(g, wide, narrow, diff, add=True)
            found = self.buffer("gradient", diff.shape, wide.dtype)  # all three of one type, as cuDNN requires
            if not one.weight_gradient(g, wide, narrow, found, add=False):
                return False
            self.launch(cast.accumulate, x=found, y=diff, count=diff.size, factor=self.unscale)
            return True

        if self._by_cudnn("weight", wide, diff, narrow, product):
            return
        for part in self._chunks(wide, narrow):
            x, y = wide[part], narrow[part]
            n, p = x.shape[0], math.prod(y.shape[2:])
            g, rows, inner = self._sizes(x, y)
            columns, narrow_first = self._columns(x, y, y.size)
            if self.layer.window.is_pointwise:
                self._channels_first(x, columns)
            else:
                self._unfold(x, y, columns)
            self._channels_first(y, narrow_first)
            for i in range(g):
                self.device.gemm(
                    rows, inner, n * p,
                    Matrix(narrow_first, n * p, 0, i * rows * n * p),
                    Matrix(columns, n * p, 0, i * inner * n * p, transposed=True),
                    Matrix(diff, inner, 0, i * rows * inner),
                    add=True, unscale=self.unscale,
                )  # fmt: skip

    def _channels_first(self, x: Any, out: Any) -> None:
        n, c, s = by_channel(x.shape)
        self.launch(kernels.channels_first, x=x, out=out, count=x.size, images=n, channels=c, spatial=s)

    def _sizes(self, wide: Any, narrow: Any) -> tuple[int, int, int]:
        """(groups, narrow channels of a group, wide channels of a group times the kernel's size)."""
        g = self.layer.group
        return g, narrow.shape[1] // g, wide.shape[1] // g * math.prod(self.layer.window.kernel)

    def _images(self, bottom: Any, top: Any) -> tuple[Any, Any]:
        """Arrays of a bottom and a top, with at least two spatial axes."""
        return spread_out(bottom, self.layer.bottom_view), spread_out(top, self.layer.top_view)

    def _learn_bias(self, dy: Any) -> None:
        if self.layer.bias is not None:
            learn_bias(self, dy, self.layer.bias.diff)
