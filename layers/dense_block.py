"""The layer type DenseBlock: several layers of a DenseNet in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dragon.bases.coordinates import IDENTITY, Coordinates
from dragon.bases.geometry import Window
from dragon.bases.layer import TEST, TRAIN, Context, Layer, register
from dragon.bases.window_products import WindowProducts
from dragon.counting import how_many
from dragon.layers.dropout import draw_mask
from dragon.memory.blob import Blob
from dragon.memory.scratch import Scratch
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of
from dragon.normalization.arithmetic import (
    affine_diffs,
    backward_batch,
    backward_global,
    by_channel,
    centre,
    inverse_std,
    scale_shift,
    subtract_mean,
)
from dragon.normalization.rules import Averaging
from dragon.proto import dragon_pb2 as pb
from dragon.share import Total

__all__ = ["EPS", "DenseBlock", "Stage"]

EPS = 1e-5  # of the normalisations: cuDNN's smallest, which the fork takes
_KERNEL = {"pad_h": 1, "pad_w": 1, "conv_verticalStride": 1, "conv_horizentalStride": 1, "filter_H": 3, "filter_W": 3}


@dataclass(frozen=True)
class Stage:
    """Batch normalisation, scale, shift and ReLU, then a convolution by a square kernel. The indices of its blobs."""

    kernel: int
    filter: int
    gamma: int
    beta: int
    mean: int
    variance: int


@dataclass
class _Statistics:
    """What one run normalised with: mean and 1 / deviation of each channel, and what adds up over the ranks."""

    mean: Array
    inverse: Array
    over: tuple[Total, int] | None


@register()
class DenseBlock(Layer):
    """Each of `numTransition` layers adds `growthRate` channels, computed from all channels before it.

    A layer is a batch normalisation with scale and shift, a ReLU and a 3 x 3 convolution without a bias (Huang et al.
    2017, section 3). With `use_BC` the same with a 1 x 1 convolution to 4 growthRate channels comes before it, and with
    `use_dropout` TRAIN drops values that it adds. The variance is that of the batch in TRAIN, the running one in TEST.

    bottom: (N, C, H, W). top: (N, C + numTransition growthRate, H, W), the bottom's channels first. Blobs, in the order
    of Tongcheng's fork, each for all T layers: kernels, scales, shifts, running means, running variances; with use_BC
    the same of the 1 x 1 convolutions, whose normalisation is that of their tops; last the weight of the averages, one
    element. As cuDNN's mode CONVOLUTION in that fork, the kernels are mirrored: position (0, 0) of a kernel meets the
    value below to the right. Raises PrototxtError for bad settings, ShapeError for a bottom that is empty or has other
    channels.
    """

    type = "DenseBlock"
    settings = ("denseblock_param",)
    defaults: ClassVar[Mapping[str, str]] = {"BN_Scaler_Filler": "1"}
    family = "convolution"

    def __init__(self, param: pb.LayerParameter, phase: int = TRAIN, context: Context | None = None) -> None:
        super().__init__(param, phase, context)
        n = param.denseblock_param.numTransition
        groups = 10 if param.denseblock_param.use_BC else 5
        running = [3, 4, 8, 9] if groups == 10 else [3, 4]
        self.buffers = frozenset(group * n + i for group in running for i in range(n)) | {groups * n}

    @classmethod
    def coordinates(cls, param: pb.LayerParameter) -> Coordinates:
        return IDENTITY

    @classmethod
    def explain_blobs(cls, count: int) -> str:
        return "early versions of the fork have blobs in another order, which is not read" if count % 5 != 1 else ""

    # -- settings and blobs -----------------------------------------------------------------------------------
    @property
    def ratio(self) -> float:
        """Probability that TRAIN drops a value."""
        p = self.param.denseblock_param
        return p.dropout_amount if p.use_dropout else 0.0

    @property
    def averaging(self) -> Averaging:
        """The rule of the running averages: exponential, of variances with the factor m / (m - 1)."""
        newest = self.param.denseblock_param.moving_average_fraction
        return Averaging(momentum=1 - newest, new=newest, unbiased=True, full=True)

    @classmethod
    def differs_by_phase(cls, param: pb.LayerParameter) -> bool:
        return True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.denseblock_param
        for field in ("numTransition", "growthRate"):
            if getattr(p, field) < 1:
                self.bad_param(f"{field} must be at least 1, got {getattr(p, field)}")
        for field, offered in _KERNEL.items():
            if getattr(p, field) != offered:
                self.bad_param(f"offers {field} {offered} only, got {getattr(p, field)}")
        if not 0 <= self.ratio < 1:
            self.bad_param(f"dropout_amount must be at least 0 and less than 1, got {self.ratio:g}")
        if not 0 <= p.moving_average_fraction <= 1:
            self.bad_param(f"moving_average_fraction must be between 0 and 1, got {p.moving_average_fraction:g}")
        if bottom[0].ndim != 4:
            self.bad_shape(f"needs a bottom of shape (N, C, H, W), got {bottom[0].shape}")
        self.growth, self.count = p.growthRate, p.numTransition
        self.channels = bottom[0].shape[1]
        widths = [self.channels + i * self.growth for i in range(self.count)]
        narrow = 4 * self.growth
        if p.use_BC:
            self._add_blobs([(self.growth, narrow, 3, 3)] * self.count, widths)
            self._add_blobs([(narrow, width, 1, 1) for width in widths], [narrow] * self.count)
        else:
            self._add_blobs([(self.growth, width, 3, 3) for width in widths], widths)
        self.add_blob((1,), pb.FillerParameter(), "weight of the averages")
        self._products = {kernel: _products(kernel) for kernel in ([1, 3] if p.use_BC else [3])}
        self._scratch = Scratch()

    def _add_blobs(self, kernels: Sequence[tuple[int, ...]], channels: Sequence[int]) -> None:
        p, zero, one = self.param.denseblock_param, pb.FillerParameter(), pb.FillerParameter(value=1)
        for kernel in kernels:
            self.add_blob(kernel, p.Filter_Filler, "kernel")
        scale = p.BN_Scaler_Filler if p.HasField("BN_Scaler_Filler") else one
        fillers = {"scale": scale, "shift": p.BN_Bias_Filler, "mean": zero, "variance": one}
        for what, filler in fillers.items():
            for n in channels:
                self.add_blob((1, n, 1, 1), filler, what)

    def stages(self, i: int) -> list[Stage]:
        """What layer i of the block consists of, in order."""
        n = self.count
        first = (n + i, 2 * n + i, 3 * n + i, 4 * n + i)
        if not self.param.denseblock_param.use_BC:
            return [Stage(3, i, *first)]
        return [Stage(1, 5 * n + i, *first), Stage(3, i, 6 * n + i, 7 * n + i, 8 * n + i, 9 * n + i)]

    def all_stages(self) -> list[Stage]:
        """What the layers of the block consist of, in order."""
        return [stage for i in range(self.count) for stage in self.stages(i)]

    def kernel_of(self, stage: Stage) -> Array:
        """The weight of a convolution as Convolution has it, (outputs, inputs, kernel, kernel)."""
        return _mirrored(self.blobs[stage.filter].data)

    def running(self, stage: Stage) -> tuple[Array, Array]:
        """The running mean and variance, each (C,), that TEST normalises with."""
        return self.averaging.read(self._averages(stage), self.blobs[-1].data)

    def _averages(self, stage: Stage) -> tuple[Array, Array]:
        return self.blobs[stage.mean].data.reshape(-1), self.blobs[stage.variance].data.reshape(-1)

    def _divide_averages(self) -> None:
        """Divide sums, which the fork's code for the CPU keeps, by their weight: the last blob is 0 from then on."""
        weight = self.blobs[-1].data
        if isinstance(weight, np.ndarray) and not weight.any():
            return
        factor = 1 / xp_of(weight).where(weight == 0, 1, weight)
        for stage in self.all_stages():
            for average in self._averages(stage):
                average *= factor
        weight[...] = 0

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) != 4 or shape[1] != self.channels:
            self.bad_shape(f"has weights for {how_many(self.channels, 'channel')}, got a bottom of shape {shape}")
        if top[0] is bottom[0]:
            self.bad_param("cannot work in place")
        if bottom[0].count == 0 and self.phase == TRAIN:
            self.bad_shape(f"cannot take statistics of an empty bottom of shape {shape}")
        self._size = shape[2:]
        top[0].reshape(shape[0], self.channels + self.count * self.growth, *self._size)

    def multiply_adds(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        n, _, height, width = top[0].shape
        return n * height * width * sum(self.blobs[stage.filter].count for stage in self.all_stages())

    @property
    def reads_top(self) -> bool:
        return True

    # -- computation ------------------------------------------------------------------------------------------
    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        y = top[0].data
        y[:, : self.channels] = bottom[0].data
        self._by_running = self.phase == TEST
        self._found: dict[Stage, _Statistics] = {}
        if not self._by_running:
            self._divide_averages()
        for i in range(self.count):
            added = self._layer(i, y)
            if not self._by_running and self.ratio:
                mask = self._scratch.get(f"mask{i}", added.shape, added)
                draw_mask(self.rng, self.ratio, 1 / (1 - self.ratio), mask)
                added *= mask
            y[:, self._added(i)] = added

    def _layer(self, i: int, y: Array) -> Array:
        """The channels that layer i adds, before dropout."""
        value = y[:, : self._added(i).start]
        for stage in self.stages(i):
            centred, self._found[stage] = self._centre(stage, value)
            value = self._convolve(stage, i, self._activate(stage, centred))
        return value

    def _centre(self, stage: Stage, x: Array) -> tuple[Array, _Statistics]:
        """The difference from the mean, and the statistics; TRAIN adds those of the batch to the running ones."""
        x = by_channel(x)
        d = self._scratch.get(f"centred{stage.kernel}", x.shape, x)
        if self._by_running:
            mean, variance = self.running(stage)
            subtract_mean(x, mean, d)
            return d, _Statistics(mean, inverse_std(variance, EPS), None)
        total = self.context.share.total if self.context.share.synchronised else None
        mean, variance, count = centre(x, d, total)
        self.averaging.accumulate(self._averages(stage), None, (mean, variance), count)
        return d, _Statistics(mean, inverse_std(variance, EPS), None if total is None else (total, count))

    def _again(self, stage: Stage, x: Array) -> Array:
        """What `_centre` gave, computed again for backward."""
        x = by_channel(x)
        d = self._scratch.get(f"centred{stage.kernel}", x.shape, x)
        subtract_mean(x, self._found[stage].mean, d)
        return d

    def _activate(self, stage: Stage, d: Array) -> Array:
        """The ReLU of the scaled and shifted d."""
        a = self._scratch.get(f"active{stage.kernel}", d.shape, d)
        gamma, beta = (self.blobs[i].data.reshape(-1) for i in (stage.gamma, stage.beta))
        scale_shift(d, self._found[stage].inverse * gamma, beta, a)
        xp_of(a).maximum(a, 0, out=a)
        return a

    def _convolve(self, stage: Stage, i: int, active: Array) -> Array:
        """The convolution of (N, C, H W), in a work array (N, C', H, W) that backward still has if it reads it."""
        n, outputs = active.shape[0], self.blobs[stage.filter].shape[0]
        kept = stage.kernel == 1 and not self.param.denseblock_param.BC_ultra_space_efficient
        maps = self._scratch.get(f"maps{stage.kernel}" + f" {i}" * kept, (n, outputs, *self._size), active)
        self._products[stage.kernel].convolve(self._image(active), self.kernel_of(stage), maps)
        return maps

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        y, dy = top[0].data, top[0].diff
        sums = self._scratch.get("diff", dy.shape, dy)  # of all channels, from the layers behind
        sums[...] = dy
        for i in reversed(range(self.count)):
            sums[:, : self._added(i).start] += self._layer_backward(i, y, sums)
        if propagate_down[0]:
            bottom[0].diff[...] = sums[:, : self.channels]

    def _layer_backward(self, i: int, y: Array, sums: Array) -> Array:
        """Add to the diffs of the blobs of layer i; the diff of what it reads, a work array."""
        value = y[:, : self._added(i).start]
        diff = self._scratch.get("added", (len(y), self.growth, *self._size), y)
        diff[...] = sums[:, self._added(i)]
        if not self._by_running and self.ratio:
            diff *= self._scratch.get(f"mask{i}", diff.shape, diff)
        stages = self.stages(i)
        values = [value, *(self._bottleneck(stage, i, value) for stage in stages[:-1])]
        for stage, x in zip(reversed(stages), reversed(values), strict=True):
            diff = self._stage_backward(stage, x, diff)
        return diff

    def _bottleneck(self, stage: Stage, i: int, value: Array) -> Array:
        """The top of the 1 x 1 convolution of layer i: as forward kept it, or computed again."""
        if self.param.denseblock_param.BC_ultra_space_efficient:
            return self._convolve(stage, i, self._activate(stage, self._again(stage, value)))
        shape = (len(value), 4 * self.growth, *self._size)
        return self._scratch.get(f"maps1 {i}", shape, value)

    def _stage_backward(self, stage: Stage, x: Array, dy: Array) -> Array:
        products, found = self._products[stage.kernel], self._found[stage]
        d = self._again(stage, x)
        active = self._activate(stage, d)
        self.blobs[stage.filter].diff[...] += _mirrored(products.weight_gradient(self._image(active), dy))
        dx = self._scratch.get(f"diff{stage.kernel}", active.shape, active)
        products.convolve_transposed(dy, self.kernel_of(stage), self._image(dx))
        dx *= active > 0
        gamma = self.blobs[stage.gamma].data.reshape(-1)
        if self._by_running:
            dgamma, dbeta = affine_diffs(dx, d, found.inverse)
            backward_global(dx, found.inverse, gamma, dx)
        else:
            dgamma, dbeta = backward_batch(dx, d, found.inverse, gamma, dx, found.over)
        for index, diff in ((stage.gamma, dgamma), (stage.beta, dbeta)):
            self.blobs[index].diff[...] += diff.reshape(1, -1, 1, 1)
        return self._image(dx)

    def _added(self, i: int) -> slice:
        """The channels that layer i adds."""
        start = self.channels + i * self.growth
        return slice(start, start + self.growth)

    def _image(self, x: Array) -> Array:
        """(N, C, H W) as (N, C, H, W)."""
        return x.reshape(*x.shape[:2], *self._size)


def _products(kernel: int) -> WindowProducts:
    pad = kernel // 2
    return WindowProducts(Window((kernel, kernel), (1, 1), (pad, pad), (pad, pad), (1, 1)))


def _mirrored(weight: Array) -> Array:
    """A weight with its kernels turned by half a circle."""
    turned: Array = weight[:, :, ::-1, ::-1]
    return turned
