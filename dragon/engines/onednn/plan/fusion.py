"""Which layers run together: chains in which each layer reads what the one before it made, and nobody else does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeGuard

from dragon.bases.batch_statistics import BatchStatistics
from dragon.engines.onednn.lowerings import Lowering
from dragon.engines.onednn.lowerings.activated import activated
from dragon.engines.onednn.lowerings.folding import WeightChain, fold_weights
from dragon.engines.onednn.lowerings.normalization import Chain, normalize_chain
from dragon.engines.onednn.lowerings.relu_pool import relu_pool
from dragon.layers.convolution import Convolution
from dragon.layers.inner_product import InnerProduct
from dragon.normalization.settings import Form
from dragon.proto import dragon_pb2 as pb

if TYPE_CHECKING:
    from dragon.bases.layer import Layer
    from dragon.graph.net import Net

__all__ = ["find_groups"]


def find_groups(net: Net, training: bool) -> Iterator[tuple[int, int, Lowering | None]]:
    """First and last layer of each group in order, with the lowering of a fused one."""
    i = 0
    while i < len(net.layers):
        last, lowering = (
            _relu_pool(net, i) or _normalization(net, i, training) or _weighted(net, i, training) or (i, None)
        )
        yield i, last, lowering
        i = last + 1


def _follows(net: Net, index: int) -> bool:
    """Whether layer `index` reads, alone, the only top of the layer before it, which adds nothing to the loss."""
    if index >= len(net.layers) or len(net.tops[index - 1]) != 1 or any(net.layers[index - 1].loss_weights):
        return False
    names = net.bottom_names_of(index)
    return names == net.top_names_of(index - 1) and len(net.tops[index]) == 1


def _is_scale(net: Net, index: int) -> bool:
    """A learned scale of each channel."""
    if not _follows(net, index) or net.layers[index].type != "Scale":
        return False
    channels = net.bottoms[index][0].shape[1:2]
    p = net.layers[index].param.scale_param
    return net.layers[index].blobs[0].shape == channels and p.axis in (1, 1 - net.bottoms[index][0].ndim)


def _is_relu(net: Net, index: int, leaky: bool = False) -> bool:
    if not _follows(net, index) or net.layers[index].type != "ReLU":
        return False
    p = net.layers[index].param.relu_param
    return not p.relu6 and (p.negative_slope == 0 or leaky) and not _overwritten(net, index)


def _overwritten(net: Net, index: int) -> bool:
    """Whether later layers work in place on a ReLU's top and change signs, which its own backward would see."""
    storage = net.tops[index][0].data_storage
    return any(
        top.data_storage is storage and not (layer.keeps_signs or layer.passes_memory)
        for layer, tops in zip(net.layers[index + 1 :], net.tops[index + 1 :], strict=True)
        for top in tops
    )


def _is_normalization(layer: Layer | None) -> TypeGuard[BatchStatistics]:
    """A layer that one normalisation primitive computes."""
    return isinstance(layer, BatchStatistics) and layer.normalization.form is not Form.RENORM


def _relu_pool(net: Net, i: int) -> tuple[int, Lowering] | None:
    """A ReLU in place before a maximum pooling."""
    if i == 0 or not _is_relu(net, i) or net.tops[i][0] is not net.bottoms[i][0] or not _follows(net, i + 1):
        return None
    pool: Any = net.layers[i + 1]
    if pool.type != "Pooling" or pool.method != pb.PoolingParameter.MAX:
        return None
    return i + 1, lambda b, node: relu_pool(b, node, net.nodes[i + 1])


def _normalization(net: Net, i: int, training: bool) -> tuple[int, Lowering] | None:
    """A normalisation with the Scale and the ReLU behind it."""
    layer = net.layers[i]
    if not _is_normalization(layer):
        return None
    last, scale, relu = i, None, None
    if layer.affine is None and _is_scale(net, last + 1):
        scale = last = last + 1
    if _is_relu(net, last + 1) and _relu_pool(net, last + 1) is None:
        relu = last = last + 1
    if last == i:
        return None
    chain = Chain(i, scale, relu)
    return last, lambda b, node: normalize_chain(b, chain)


def _weighted(net: Net, i: int, training: bool) -> tuple[int, Lowering] | None:
    """A convolution or inner product: in training with a neuron in place, in TEST with all that follows it."""
    if not isinstance(net.layers[i], (Convolution, InnerProduct)) or len(net.bottoms[i]) != 1:
        return None
    if training:
        neuron = i + 1
        if not _follows(net, neuron) or net.tops[neuron][0] is not net.tops[i][0] or _relu_pool(net, neuron):
            return None
        if not net.layers[neuron].from_result:
            return None
        return neuron, lambda b, node: activated(b, node, net.nodes[neuron])
    last, norm, scale, total, relu = i, None, None, None, None
    follower = net.layers[i + 1] if _follows(net, i + 1) else None
    if _is_normalization(follower) and follower.use_global:
        norm = last = last + 1
    if _is_scale(net, last + 1):
        scale = last = last + 1
    if _is_sum(net, last + 1):
        total = last = last + 1
    if _is_relu(net, last + 1, leaky=True):
        relu = last = last + 1
    if last == i:
        return None
    chain = WeightChain(i, norm, scale, total, relu)
    return last, lambda b, node: fold_weights(b, chain)


def _is_sum(net: Net, index: int) -> bool:
    """The plain sum of what the layer before made, which nobody else reads, and something older."""
    if index >= len(net.layers) or net.layers[index].type != "Eltwise" or any(net.layers[index - 1].loss_weights):
        return False
    layer: Any = net.layers[index]
    names, made = net.bottom_names_of(index), net.top_names_of(index - 1)
    return bool(
        layer.operation == pb.EltwiseParameter.SUM
        and layer.coeff == [1, 1]
        and len(made) == 1
        and names.count(made[0]) == 1
    )
