"""The layer type Pooling."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dragon.bases.coordinates import Coordinates, of_positions
from dragon.bases.geometry import Window, fold, unfold
from dragon.bases.layer import TRAIN, Layer, register
from dragon.bases.pooling import average, average_backward, divisors, maximum, maximum_backward, maximum_index
from dragon.counting import how_many
from dragon.memory.blob import Blob
from dragon.memory.scratch import Scratch, parts
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of
from dragon.proto import dragon_pb2 as pb

__all__ = ["Pooling"]

_SHAPES = {"kernel": "kernel_shape", "stride": "stride_shape", "pad": "pad_shape"}


@register()
class Pooling(Layer):
    """The maximum, the average or a random element of each window.

    The output size is (size + 2 pad - kernel) / stride + 1, rounded up (or down, as `round_mode` or forks' `ceil_mode`
    say), less a last window that would start beyond the image; Caffe keeps that one where nothing is padded, and its
    average is NaN. An average divides by the part of the window that lies on the image and its padding; by the part on
    the image alone with `pool: AVE_EXC_PAD` (Synopsys Caffe, AVE_TF in its older files) and with `avg_include_pad:
    false` (Intel Caffe). pad_t, pad_b, pad_l and pad_r pad each side of an image by its own width, in place of pad, as
    in Synopsys Caffe.

    Windows whose axes differ have kernel_shape, stride_shape and pad_shape, one value for each spatial axis, in place
    of kernel_size, stride and pad. Reading a net moves C3D's (Pooling3D: kernel_depth, temporal_stride) and Intel
    Caffe's (kernel_size_3d, stride_3d, pad_3d) there.

    Ties of a maximum go to the first element, row by row. A second top of MAX holds the index of each maximum within
    the image of its channel. STOCHASTIC takes an element with a probability in proportion to its value, which must not
    be negative; in TEST it is the mean under those probabilities.
    """

    type = "Pooling"
    settings = ("pooling_param",)
    family = "pooling"
    tops = (1, 2)
    window: Window  # for the current shapes; its padding after the image reaches to the end of the last window
    pad_after: tuple[int, ...]  # padding after the image on each spatial axis, as set

    @classmethod
    def coordinates(cls, param: pb.LayerParameter) -> Coordinates | None:
        """The map of the windows; None with global_pooling, where one window covers the whole image."""
        p = param.pooling_param
        return None if p.global_pooling else of_positions(p, 1)

    @property
    def method(self) -> int:
        """PoolMethod: MAX, AVE or STOCHASTIC; `counts_padding` tells the two averages apart."""
        p = self.param.pooling_param
        return pb.PoolingParameter.AVE if p.pool == pb.PoolingParameter.AVE_EXC_PAD else p.pool

    @property
    def counts_padding(self) -> bool:
        """Whether an average counts the padding as zeros; otherwise it divides by the elements of the image alone."""
        p = self.param.pooling_param
        return p.avg_include_pad and p.pool != pb.PoolingParameter.AVE_EXC_PAD

    @property
    def rounds_up(self) -> bool:
        """Whether the output size is rounded up."""
        p = self.param.pooling_param
        return p.ceil_mode if p.HasField("ceil_mode") else p.round_mode == pb.PoolingParameter.CEIL

    @classmethod
    def differs_by_phase(cls, param: pb.LayerParameter) -> bool:
        return param.pooling_param.pool == pb.PoolingParameter.STOCHASTIC

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.pooling_param
        n_spatial = bottom[0].ndim - 2
        if n_spatial < 1:
            self.bad_shape(f"needs a bottom (N, C, spatial axes), got one of shape {bottom[0].shape}")
        if p.HasField("ceil_mode") and p.HasField("round_mode"):
            self.bad_param("give round_mode or ceil_mode, not both")
        if len(top) > 1 and p.pool != pb.PoolingParameter.MAX:
            self.bad_param("a second top, the mask, needs pool: MAX")
        sides = ("h", "w")
        by_side = any(p.HasField(f"{name}_{side}") for name in ("kernel", "stride", "pad") for side in sides)
        if by_side and n_spatial != 2:
            self.bad_param(f"settings for h and w need 2 spatial axes, the bottom has {n_spatial}")
        if p.pool == pb.PoolingParameter.AVE_EXC_PAD and p.HasField("avg_include_pad") and p.avg_include_pad:
            self.bad_param("pool: AVE_EXC_PAD is a mean without the padding, avg_include_pad: true one with it")
        self._scratch = Scratch()
        self._stride = self._each("stride", "stride", n_spatial)
        self._pad_before, self.pad_after = self._padding(n_spatial)
        if p.global_pooling:
            if any(map(p.HasField, ("kernel_size", "kernel_h", "kernel_w", "kernel_shape"))):
                self.bad_param("global_pooling takes the whole image: do not give a kernel")
            if any(self._pad_before) or any(self.pad_after) or any(s != 1 for s in self._stride):
                self.bad_param("global_pooling needs pad 0 and stride 1")
            return
        self._kernel = self._each("kernel", "kernel_size", n_spatial)
        if min(self._kernel) < 1 or min(self._stride) < 1:
            self.bad_param("kernel_size (or kernel_h and kernel_w, or kernel_shape) and stride must be at least 1")
        for padding in (self._pad_before, self.pad_after):
            if any(pad >= k for pad, k in zip(padding, self._kernel, strict=True)):
                self.bad_param(f"pad {padding} must be smaller than the kernel {self._kernel}")

    def _padding(self, n_spatial: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The padding before and after the image on each spatial axis."""
        p = self.param.pooling_param
        if not (p.pad_t or p.pad_b or p.pad_l or p.pad_r):
            pad = self._each("pad", "pad", n_spatial)
            return pad, pad
        if any(map(p.HasField, ("pad", "pad_h", "pad_w", "pad_shape"))):
            self.bad_param("give pad (or pad_h and pad_w) or pad_t, pad_b, pad_l and pad_r, not both")
        if n_spatial != 2:
            self.bad_param(f"pad_t, pad_b, pad_l and pad_r need 2 spatial axes, the bottom has {n_spatial}")
        return (p.pad_t, p.pad_l), (p.pad_b, p.pad_r)

    def _each(self, short: str, name: str, n_spatial: int) -> tuple[int, ...]:
        p = self.param.pooling_param
        sides = [f"{short}_h", f"{short}_w"]
        given = [side for side in sides if p.HasField(side)]
        shape = _SHAPES[short]
        if p.HasField(shape):
            values: tuple[int, ...] = tuple(getattr(p, shape).dim)
            if given or p.HasField(name):
                self.bad_param(f"give {shape} or {given[0] if given else name}, not both")
            if len(values) != n_spatial or min(values) < 0:
                self.bad_param(f"{shape} needs {how_many(n_spatial, 'size')} for the spatial axes, got {list(values)}")
            return values
        if not given:
            return (getattr(p, name),) * n_spatial
        if p.HasField(name):
            self.bad_param(f"give {name} or {sides[0]} and {sides[1]}, not both")
        if len(given) == 1 and short != "pad":
            missing = sides[1 - sides.index(given[0])]
            self.bad_param(f"{missing} is missing")
        return getattr(p, sides[0]), getattr(p, sides[1])

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        size = shape[2:]
        if len(size) != len(self._stride):
            self.bad_shape(f"needs {how_many(len(self._stride), 'spatial axis')}, got a bottom of shape {shape}")
        if bottom[0] is top[0]:
            self.bad_param("cannot work in place")
        kernel = size if self.param.pooling_param.global_pooling else self._kernel
        positions, window_after = [], []
        for n, k, s, before, after in zip(size, kernel, self._stride, self._pad_before, self.pad_after, strict=True):
            left = n + before + after - k  # below 0 for a window beyond the padding, which Caffe clips
            count = (-(-left // s) if self.rounds_up else left // s) + 1
            if count < 1 or n < 1:
                self.bad_shape(f"a kernel of {tuple(kernel)} does not fit into a bottom of shape {shape}")
            while (count - 1) * s >= n + before:
                count -= 1
            positions.append(count)
            window_after.append(max(0, (count - 1) * s + k - n - before))
        self._size, self._positions = size, tuple(positions)
        ones = (1,) * len(size)
        self.window = Window(tuple(kernel), self._stride, self._pad_before, tuple(window_after), ones)
        for blob in top:
            blob.reshape(*shape[:2], *positions)

    @property
    def counted(self) -> list[tuple[int, int]]:
        """For each axis the first position that an average counts and one past the last; the image begins at 0."""
        if not self.counts_padding:
            return [(0, n) for n in self._size]
        each = zip(self._pad_before, self._size, self.pad_after, strict=True)
        return [(-before, n + after) for before, n, after in each]

    @property
    def divisors(self) -> list[list[int]]:
        """What an average divides by, as a product over the axes: for each axis a number for each position."""
        return divisors(self.window, self.counted, self._positions)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = bottom[0].data, top[0].data
        if self.method == pb.PoolingParameter.MAX:
            # backward must know the maxima and where they were, whatever scripts or layers write into top and bottom
            maxima = self._scratch.get("maxima", y.shape, y)
            self._scratch.get("bottom", x.shape, x)[...] = x
            for part in parts(x):
                maximum(x[part], self.window, maxima[part], self._stages(y.shape, x, part))
            y[...] = maxima
            if len(top) > 1:
                maximum_index(x, self.window, top[1].data)
        elif self.method == pb.PoolingParameter.AVE:
            factor = self._factor(x)
            for part in parts(x):
                average(x[part], self.window, factor, y[part], self._scratch)
        else:
            self._stochastic(x, y)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        dy, dx = top[0].diff, bottom[0].diff
        if self.method == pb.PoolingParameter.MAX:
            x = self._scratch.get("bottom", dx.shape, dx)
            maxima = self._scratch.get("maxima", dy.shape, dy)
            for part in parts(x):
                stages = self._stages(dy.shape, x, part)
                maximum_backward(x[part], stages, maxima[part], dy[part], self.window, dx[part], self._scratch)
        elif self.method == pb.PoolingParameter.AVE:
            factor = self._factor(dy)
            for part in parts(dx):
                average_backward(dy[part], self.window, factor, dx[part], self._scratch)
        else:
            self._stochastic_backward(bottom[0].data, dy, dx)

    def _stages(self, out: Sequence[int], x: Array, part: slice) -> list[Array]:
        """Buffers for the maxima over the last axis, over the last two, ...; backward reads what forward wrote."""
        stages = []
        for axis in range(len(out) - 1, 2, -1):
            shape = (*x.shape[:axis], *out[axis:])
            stages.append(self._scratch.get(f"max{axis}", shape, x)[part])
        return stages

    def _factor(self, like: Array) -> Array:
        product = np.ones(())
        for axis in self.divisors:
            product = product[..., None] * np.array(axis)
        factor: Array = xp_of(like).asarray((1 / product).astype(like.dtype))
        return factor

    # -- stochastic -------------------------------------------------------------------------------------------
    def _columns(self, x: Array, y: Array) -> Array:
        """The unfolded windows, (N, C, elements of the window, *positions)."""
        columns = self._scratch.get("columns", (*x.shape[:2], *self.window.kernel, *y.shape[2:]), x)
        unfold(x, self.window, columns, self._scratch)
        return columns.reshape(*x.shape[:2], math.prod(self.window.kernel), *y.shape[2:])

    def _stochastic(self, x: Array, y: Array) -> None:
        xp = xp_of(x)
        columns = self._columns(x, y)
        self._chosen: Array | None = None
        if self.phase != TRAIN:
            total = columns.sum(axis=2)
            y[...] = (columns * columns).sum(axis=2) / xp.where(total > 0, total, 1)
            return
        running = columns.cumsum(axis=2, dtype="float64")
        uniform = xp.asarray(self.rng.raw32(y.size)).reshape(y.shape) * 2.0**-32
        chosen = (running <= (uniform * running[:, :, -1])[:, :, None]).sum(axis=2)
        self._chosen = xp.minimum(chosen, columns.shape[2] - 1)[:, :, None]
        y[...] = xp.take_along_axis(columns, self._chosen, axis=2)[:, :, 0]

    def _stochastic_backward(self, x: Array, dy: Array, dx: Array) -> None:
        xp = xp_of(x)
        columns = self._columns(x, dy)
        if self._chosen is None:
            total = columns.sum(axis=2)[:, :, None]
            total = xp.where(total > 0, total, 1)
            mean = (columns * columns).sum(axis=2)[:, :, None] / total
            diff = (2 * columns - mean) / total * dy[:, :, None]
        else:
            elements = xp.arange(columns.shape[2]).reshape(-1, *[1] * (dy.ndim - 2))
            diff = (elements == self._chosen) * dy[:, :, None]
        fold(diff.reshape(*x.shape[:2], *self.window.kernel, *dy.shape[2:]), self.window, dx, self._scratch)
