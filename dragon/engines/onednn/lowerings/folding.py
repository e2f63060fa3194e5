"""In TEST: a convolution with the normalisation, scale and ReLU behind it as one convolution.

s = gamma / sqrt(variance + eps), W' = s W, b' = s (b - mean) + beta; computed again whenever a parameter may have
changed. Blobs between the layers are computed by running these layers by themselves when somebody reads one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np

from dragon.engines.onednn import conv
from dragon.engines.onednn.builder import Backward, Builder
from dragon.engines.onednn.constants import Alg, Arg
from dragon.engines.onednn.lowerings.convolution import spec_of
from dragon.engines.onednn.lowerings.neurons import function_of
from dragon.engines.onednn.memory import Memory
from dragon.engines.onednn.primitive import EltwisePost, PostOp
from dragon.engines.onednn.values import reorder
from dragon.storage import Array

if TYPE_CHECKING:
    from dragon.blob import Blob
    from dragon.layers._batch_statistics import BatchStatistics
    from dragon.layers._convolution import ConvolutionBase

__all__ = ["ConvChain", "fold_convolution"]


@dataclass(frozen=True)
class ConvChain:
    """Indices of a convolution and of what follows it."""

    conv: int
    norm: int | None = None
    scale: int | None = None
    relu: int | None = None

    @property
    def layers(self) -> list[int]:
        return [i for i in (self.conv, self.norm, self.scale, self.relu) if i is not None]


def fold_convolution(b: Builder, chain: ConvChain) -> Backward | None:
    """Build the one convolution; there is no backward."""
    net = b.net
    layer = cast("ConvolutionBase", net.layers[chain.conv])
    bottom, top = net.bottoms[chain.conv][0], net.tops[chain.layers[-1]][0]
    spec = spec_of(b, layer, bottom, net.tops[chain.conv][0])
    post: list[PostOp] = []
    if chain.relu is not None:
        alg, alpha, beta = function_of(net.layers[chain.relu])
        post.append(EltwisePost(Alg(alg), alpha, beta))
    fold = _Fold(b, chain, layer) if chain.norm is not None or chain.scale is not None else None
    if fold is not None:
        spec = replace(spec, bias=True)
    primitive = conv.forward(b.device, spec, training=False, post_ops=post, layer=layer.name)
    arguments = {Arg.SRC: b.data(bottom, primitive[Arg.SRC])}
    host = spec.host_weights()
    if fold is None:
        arguments[Arg.WEIGHTS] = b.weights(layer.weight, primitive[Arg.WEIGHTS], host)
        if layer.bias is not None:
            arguments[Arg.BIAS] = b.host_vector(layer.bias)
    else:
        plain = Memory.wrap(b.device, fold.weight).view(host)
        weights = Memory(b.device, primitive[Arg.WEIGHTS])
        convert = reorder(b.device, plain, weights)

        def refresh() -> None:
            fold.compute()
            convert()

        b.when_changed(fold.sources, refresh)
        arguments |= {Arg.WEIGHTS: weights, Arg.BIAS: Memory.wrap(b.device, fold.bias)}
    arguments[Arg.DST] = b.make(top, primitive[Arg.DST])
    b.call(primitive, arguments)
    _skipped(b, chain)
    return None


def _skipped(b: Builder, chain: ConvChain) -> None:
    """Let blobs between the layers be computed by the plan of single layers when they are read."""
    net = b.net
    last = {id(net.tops[i][0].data_storage): i for i in chain.layers}
    final = net.tops[chain.layers[-1]][0].data_storage
    for i in last.values():
        storage = net.tops[i][0].data_storage
        if storage is not final:
            b.make_lazy(storage, partial(b.materialize, chain.conv, i, storage))


@dataclass
class _Fold:
    """The folded weights of a chain."""

    b: Builder
    chain: ConvChain
    layer: ConvolutionBase
    weight: Array = field(init=False)
    bias: Array = field(init=False)

    def __post_init__(self) -> None:
        self.weight = np.zeros(self.layer.weight.shape, np.float32)
        self.bias = np.zeros(self.layer.num_output, np.float32)

    @property
    def sources(self) -> list[Blob]:
        return [blob for i in self.chain.layers for blob in self.b.net.layers[i].blobs]

    def compute(self) -> None:
        """W' and b' from the present parameters, in float64."""
        scale = np.ones(self.bias.size)
        shift = np.zeros(self.bias.size)
        if self.layer.bias is not None:
            shift += self.layer.bias.peek()
        net = self.b.net
        if self.chain.norm is not None:
            norm = cast("BatchStatistics", net.layers[self.chain.norm])
            mean, variance = norm.peek_running()
            inverse = 1 / np.sqrt(variance.astype(np.float64) + norm.eps)
            scale, shift = scale * inverse, (shift - mean) * inverse
            if norm.affine is not None:
                gamma, beta = (blob.peek().reshape(-1) for blob in norm.affine)
                scale, shift = scale * gamma, shift * gamma + beta
        if self.chain.scale is not None:
            blobs = net.layers[self.chain.scale].blobs
            gamma = blobs[0].peek()
            scale, shift = scale * gamma, shift * gamma
            if len(blobs) > 1:
                shift = shift + blobs[1].peek()
        source = self.layer.weight.peek()
        self.weight[...] = source * scale.reshape((-1,) + (1,) * (source.ndim - 1))
        self.bias[...] = shift
