"""Scale and Bias by channel, through batch_norm.cu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dragon.engines.cuda.kernels.batch_norm import bn_affine
from dragon.engines.cuda.lowerings.channels import Channels, Partial, channel_gradient, channel_sums, totals
from dragon.engines.cuda.lowerings.lowering import Lowering, by_channel, lowers
from dragon.memory.blob import Blob

__all__ = ["BiasLowering", "ScaleLowering", "affine", "learn"]


def affine(lowering: Lowering, at: Channels, x: Any, gamma: Any, beta: Any, y: Any, copy: Any = None) -> None:
    """Launch y = x * gamma + beta and copy = x; each of gamma, beta and copy may be None."""
    of = at.geometry(lowering.device, x, y, copy)
    lowering.launch(
        bn_affine, grid=of.grid, x=x, mean_inv=None, gamma=gamma, beta=beta, y=y, copy=copy, **of.sizes,
        rectify=False, slope=0.0,
    )  # fmt: skip


def learn(lowering: Lowering, at: Channels, sums: Partial, bias: Blob | None, scale: Blob | None) -> None:
    """Add the total sums to the gradients of a bias and a scale, each of which may be None, or write them."""
    dbias, dscale = (None if blob is None else blob.diff for blob in (bias, scale))
    add_bias, add_scale = lowering.adds(bias), lowering.adds(scale)
    if bias is None or scale is None or add_bias == add_scale:
        launches = [(dbias, dscale, add_bias and add_scale)]
    else:
        launches = [(dbias, None, add_bias), (None, dscale, add_scale)]
    for one, other, add in launches:
        totals(lowering.device, at, sums, one, other, unscale=lowering.unscale, add=add)


class _Affine(Lowering):
    """Scale and Bias, whose operand is learned or a second bottom."""

    half = True
    float32_bottoms = (1,)
    writes_gradients = True

    @classmethod
    def takes(cls, layer: Any, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return bottom[0].count > 0

    @classmethod
    def takes_channels_last(cls, layer: Any, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return bool(layer.spans == by_channel(bottom[0].shape))

    def affine(self, x: Any, gamma: Any, beta: Any, y: Any, copy: Any = None) -> None:
        """As the function of this name, for the bottom's channels."""
        affine(self, self._channels(), x, gamma, beta, y, copy)

    def _channels(self) -> Channels:
        n, c, s = self.layer.spans
        return Channels.of(self.device, n * s, c, 1) if self.channels_last else Channels.of(self.device, n, c, s)


@lowers("Scale")
class ScaleLowering(_Affine):
    """Scale: y = x * scale + bias by channel."""

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        layer, x = self.layer, bottom[0].data
        bias, scale = layer.bias_blob, layer.scale_blob(bottom)
        copy = self.buffer("x", x.shape, self.stored) if top[0] is bottom[0] and self.learns else None
        self.affine(x, scale.data, None if bias is None else bias.data, top[0].data, copy)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        layer, dy = self.layer, top[0].diff
        at, bias, scale = self._channels(), layer.bias_blob, layer.scale_blob(bottom)
        learns = len(bottom) == 1 or propagate_down[1]
        if learns or bias is not None:
            x = self.buffer("x", dy.shape, self.stored) if top[0] is bottom[0] else bottom[0].data
            sums = channel_sums(self.device, at, dy, x)
            own = len(bottom) == 1
            learn(self, at, sums, bias, scale if own else None)
            if learns and not own:  # the scale's gradient is a bottom's
                totals(self.device, at, sums, None, scale.diff, unscale=self.unscale, add=False)
        if propagate_down[0]:
            self.affine(dy, scale.data, None, bottom[0].diff)


@lowers("Bias")
class BiasLowering(_Affine):
    """Bias: y = x + bias by channel."""

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.affine(bottom[0].data, None, self.layer.bias_blob(bottom).data, top[0].data)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy, at = top[0].diff, self._channels()
        if len(bottom) == 1 or propagate_down[1]:
            bias = self.layer.bias_blob(bottom)
            add = len(bottom) == 1 and self.adds(bias)
            channel_gradient(self.device, at, dy, bias.diff, unscale=self.unscale, add=add)
        if propagate_down[0] and top[0] is not bottom[0]:
            self.affine(dy, None, None, bottom[0].diff)
