"""Normalisations: of batches, by running statistics, and of single samples."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dragon.counting import how_many
from dragon.importing.context import Context
from dragon.importing.graph import Array, NoForm
from dragon.importing.operators.convolution import convolution_settings
from dragon.importing.registry import operator


@operator("BatchNormalization")
def batch_normalization(c: Context) -> None:
    """BatchNorm and Scale."""
    if c.node.integer("training_mode", 0) or c.node.integer("is_test", 1) == 0:
        raise NoForm("it is in training mode: export the model in evaluation mode")
    gamma, beta, mean, variance = (
        c.needed_constant(k, what) for k, what in ((1, "scale"), (2, "bias"), (3, "mean"), (4, "variance"))
    )
    eps = c.node.number("epsilon", 1e-5)
    blob = c.blob()
    shape = c.shape()
    if len(shape) < 2 or not gamma.size == beta.size == mean.size == variance.size == shape[1]:
        raise NoForm(f"its statistics do not fit an input of shape {shape}")
    settings = {"use_global_stats": True} | ({} if _is_default(eps) else {"eps": eps})
    normal = c.layer("BatchNorm", blob, arrays=[mean, variance, np.ones(1)], batch_norm_param=settings)
    c.result(_scaled_in_place(c, normal, [gamma, beta]))


def _is_default(eps: float) -> bool:
    return math.isclose(eps, 1e-5, rel_tol=1e-6)


def _scaled_in_place(c: Context, blob: str, arrays: Sequence[Array]) -> str:
    scaled = c.layer("Scale", blob, "scale", arrays=arrays, scale_param={"bias_term": True})
    c.let_work_in_place(blob, scaled)
    return blob


@operator("InstanceNormalization")
def instance_normalization(c: Context) -> None:
    """InstanceNorm; with --bvlc MVN, Reduction, Power and Scale."""
    gamma, beta = c.needed_constant(1, "scale"), c.needed_constant(2, "bias")
    eps, shape = c.node.number("epsilon", 1e-5), c.shape()
    if c.bvlc:
        normal = _normalised(c, c.blob(), shape, shape[0] * shape[1], eps)
        c.result(_scaled_in_place(c, normal, [gamma, beta]))
        return
    settings = {"scale_bias": True} | ({} if _is_default(eps) else {"eps": eps})
    c.result(c.layer("InstanceNorm", c.blob(), arrays=[gamma, beta], instance_norm_param=settings))


@operator("GroupNormalization")
def group_normalization(c: Context) -> None:
    """GroupNorm; with --bvlc MVN, Reduction, Power and Scale."""
    gamma, beta = c.needed_constant(1, "scale").reshape(-1), c.needed_constant(2, "bias").reshape(-1)
    eps, shape, groups = c.node.number("epsilon", 1e-5), c.shape(), c.node.integer("num_groups", 1)
    if groups < 1 or len(shape) < 2 or shape[1] % groups:
        raise NoForm(f"{how_many(groups, 'group')} cannot divide the channels of an input of shape {shape}")
    if gamma.size == groups != shape[1]:  # operator sets 18 to 20
        gamma, beta = np.repeat(gamma, shape[1] // groups), np.repeat(beta, shape[1] // groups)
    if c.bvlc:
        normal = _normalised(c, c.blob(), shape, shape[0] * groups, eps)
        c.result(_scaled_in_place(c, normal, [gamma, beta]))
        return
    settings: dict[str, float] = {"num_groups": groups} | ({} if _is_default(eps) else {"eps": eps})
    c.result(c.layer("GroupNorm", c.blob(), arrays=[gamma, beta], group_norm_param=settings))


@operator("LayerNormalization")
def layer_normalization(c: Context) -> None:
    """LayerNorm; with --bvlc MVN, Reduction, Power and Scale."""
    if c.node.has_output(1) or c.node.has_output(2):
        raise NoForm("its mean or deviation is read: Caffe's layers give the result alone")
    shape = c.shape()
    axis, eps = c.axis(c.node.integer("axis", -1)), c.node.number("epsilon", 1e-5)
    gamma = c.needed_constant(1, "scale")
    beta = c.needed_constant(2, "bias") if c.node.has_input(2) else np.zeros(shape[axis:])
    gamma, beta = (np.broadcast_to(array, shape[axis:]) for array in (gamma, beta))
    if c.bvlc:
        normal = _normalised(c, c.blob(), shape, math.prod(shape[:axis]), eps)
        place = {"axis": axis, "num_axes": len(shape) - axis, "bias_term": True}
        c.result(c.layer("Scale", normal, "scale", arrays=[gamma, beta], scale_param=place))
        return
    settings: dict[str, float] = ({} if axis == 1 else {"axis": axis}) | ({} if _is_default(eps) else {"eps": eps})
    c.result(c.layer("LayerNorm", c.blob(), arrays=[gamma, beta], layer_norm_param=settings))


@operator("ChannelNormalization")
def channel_normalization(c: Context) -> None:
    """LayerNorm between two Permute, for layer normalisation over channels; with --bvlc Convolution and products."""
    shape, eps = c.shape(), c.node.number("epsilon", 1e-5)
    gamma = c.needed_constant(1, "scale")
    beta = c.needed_constant(2, "bias") if c.node.has_input(2) else np.zeros(shape[1])
    gamma, beta = (np.broadcast_to(array, shape[1:2]) for array in (gamma, beta))
    if not c.bvlc:
        settings = {"axis": 3} | ({} if _is_default(eps) else {"eps": eps})
        rows = c.permute(c.blob(), shape, (0, 2, 3, 1), "channels_last")
        normal = c.layer("LayerNorm", rows, arrays=[gamma, beta], layer_norm_param=settings)
        c.result(c.permute(normal, [shape[axis] for axis in (0, 2, 3, 1)], (0, 3, 1, 2), "channels_first"))
        return
    count = shape[1]
    mean = np.full((count, count), 1 / count)
    centred = _mixed(c, c.blob(), np.eye(count) - mean, "centred")
    variance = _mixed(c, c.linear(centred, power=2, suffix="square"), mean, "variance")  # for all channels at once
    normal = c.eltwise([centred, c.linear(variance, 1, eps, -0.5, "factor")], "PROD", "divide")
    c.result(_scaled_in_place(c, normal, [gamma, beta]))


def _mixed(c: Context, blob: str, matrix: Array, suffix: str) -> str:
    """The channels of each position times a matrix."""
    settings = convolution_settings(len(matrix), [1, 1], [1, 1], [0, 0], [1, 1], 1) | {"bias_term": False}
    return c.layer("Convolution", blob, suffix, arrays=[matrix[:, :, None, None]], convolution_param=settings)


def _normalised(c: Context, blob: str, shape: Sequence[int], rows: int, eps: float) -> str:
    """Rows of a blob less their mean, divided by sqrt(variance + eps), of BVLC's layers: its MVN adds eps elsewhere."""
    flat = (rows, math.prod(shape) // max(1, rows))
    mvn = {"normalize_variance": False, "across_channels": True}
    centred = c.layer("MVN", c.reshape(blob, shape, flat, "rows"), mvn_param=mvn)
    settings = {"operation": "SUMSQ", "axis": 1, "coeff": 1 / max(1, flat[1])}
    variance = c.layer("Reduction", centred, reduction_param=settings)
    factor = c.linear(variance, 1, eps, -0.5, "factor")
    return c.reshape(c.layer("Scale", [centred, factor], "divide", scale_param={"axis": 0}), flat, shape, "axes")


@operator("LRN")
def local_response_normalization(c: Context) -> None:
    """LRN, across channels."""
    size = c.node.integer("size", 0)
    if size % 2 == 0:
        raise NoForm(f"it sums over {how_many(size, 'channel')}, Caffe's LRN over an odd number")
    settings = {
        "local_size": size,
        "alpha": c.node.number("alpha", 1e-4),
        "beta": c.node.number("beta", 0.75),
        "k": c.node.number("bias", 1.0),
    }
    c.result(c.layer("LRN", c.blob(), lrn_param=settings))


@operator("MeanVarianceNormalization")
def mean_variance_normalization(c: Context) -> None:
    """MVN, for means of each channel or of each item."""
    shape = c.shape()
    axes = sorted(axis % len(shape) for axis in c.node.integers("axes") or (0, 2, 3))
    spatial = list(range(2, len(shape)))
    if axes not in (spatial, [1, *spatial]):
        raise NoForm(f"its axes are {axes}: Caffe's MVN takes each channel or each item alone")
    c.result(c.layer("MVN", c.blob(), mvn_param={"across_channels": True} if axes != spatial else {}))


@operator("LpNormalization")
def lp_normalization(c: Context) -> None:
    """Normalize, for a norm of 2; with --bvlc products with 1 / norm."""
    shape = c.shape()
    axis = c.axis(c.node.integer("axis", -1))
    if c.node.integer("p", 2) != 2:
        raise NoForm("its norm is that of absolute values: Caffe's Normalize has the norm 2")
    eps = c.node.number("eps", 0.0)  # under the root, as patterns give it
    scale = np.ones(()) if not c.node.has_input(1) else c.needed_constant(1, "scale").reshape(-1)
    count, inner = shape[axis], math.prod(shape[axis + 1 :])
    rows = tuple(shape) if axis == 1 else (math.prod(shape[:axis]), count, *([inner] if inner > 1 else []))
    blob = c.reshape(c.blob(), shape, rows, "rows")
    if not c.bvlc:
        settings = {"across_spatial": False, "channel_shared": scale.ndim == 0, "eps": eps}
        found = c.layer("Normalize", blob, arrays=[scale], norm_param=settings)
    else:
        found = _normalized_by_products(c, blob, rows, inner, eps)
        if scale.ndim:
            found = c.layer("Scale", found, "scale", arrays=[scale])
    c.result(c.reshape(found, rows, shape, "axes"))


def _normalized_by_products(c: Context, blob: str, rows: Sequence[int], inner: int, eps: float) -> str:
    """Rows (N, C) or positions (N, C, ...) of a blob, divided by the norm over their channels."""
    if inner == 1:
        squares = c.layer("Reduction", blob, reduction_param={"operation": "SUMSQ", "axis": 1})
        return c.layer("Scale", [blob, c.linear(squares, 1, eps, -0.5, "factor")], "divide", scale_param={"axis": 0})
    plane = (*rows[:2], inner, 1)
    flat = blob if len(rows) == 4 else c.reshape(blob, rows, plane, "plane")
    sums = _mixed(c, c.linear(flat, power=2, suffix="square"), np.ones((rows[1], rows[1])), "sums")
    found = c.eltwise([flat, c.linear(sums, 1, eps, -0.5, "factor")], "PROD", "divide")
    return found if len(rows) == 4 else c.reshape(found, plane, rows, "line")
