"""Plain float64 NumPy formulas of the primitives, written from their definitions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.engines.onednn.kernels.convolution import ConvSpec
from dragon.engines.onednn.kernels.pooling import PoolSpec
from dragon.engines.onednn.library.constants import Alg

Array = NDArray[np.float64]
ALL = slice(None)


def _taps(spec: ConvSpec) -> Iterator[tuple[Any, Any]]:
    """For each kernel position: where it reads in the padded image, and its index in the weights."""
    outputs = spec.dst[2:]
    for tap in product(*(range(k) for k in spec.kernel)):
        starts = [t * d for t, d in zip(tap, spec.dilation, strict=True)]
        window = tuple(
            slice(start, start + (out - 1) * stride + 1, stride)
            for start, out, stride in zip(starts, outputs, spec.stride, strict=True)
        )
        yield (ALL, ALL, *window), (..., *tap)


def _padded(x: Array, spec: ConvSpec) -> Array:
    reach = [
        (o - 1) * s + (k - 1) * d + 1
        for o, s, k, d in zip(spec.dst[2:], spec.stride, spec.kernel, spec.dilation, strict=True)
    ]
    right = [max(0, r - n - p) for r, n, p in zip(reach, spec.src[2:], spec.pad, strict=True)]
    return np.pad(x, [(0, 0), (0, 0), *zip(spec.pad, right, strict=True)])


def convolution(x: Array, w: Array, spec: ConvSpec) -> Array:
    """Caffe's order of weights: (outputs, inputs / groups, kernel)."""
    image = _padded(x, spec)
    n, groups = x.shape[0], spec.groups
    y = np.zeros((n, groups, spec.dst[1] // groups, *spec.dst[2:]))
    grouped = w.reshape(groups, spec.dst[1] // groups, spec.src[1] // groups, *spec.kernel)
    for window, tap in _taps(spec):
        patch = image[window].reshape(n, groups, -1, *spec.dst[2:])
        y += np.einsum("ngi...,goi->ngo...", patch, grouped[tap])
    return y.reshape(spec.dst)


def convolution_gradients(x: Array, w: Array, dy: Array, spec: ConvSpec) -> tuple[Array, Array]:
    """The gradients dx and dw."""
    image = _padded(x, spec)
    d_image = np.zeros_like(image)
    n, groups = x.shape[0], spec.groups
    grouped = w.reshape(groups, spec.dst[1] // groups, spec.src[1] // groups, *spec.kernel)
    dw = np.zeros_like(grouped)
    dz = dy.reshape(n, groups, -1, prod(spec.dst[2:]))
    for window, tap in _taps(spec):
        patch = image[window].reshape(n, groups, -1, prod(spec.dst[2:]))
        dw[tap] = np.einsum("ngos,ngis->goi", dz, patch)
        back = np.einsum("ngos,goi->ngis", dz, grouped[tap])
        d_image[window] += back.reshape(n, spec.src[1], *spec.dst[2:])
    inner = tuple(slice(p, p + size) for p, size in zip(spec.pad, spec.src[2:], strict=True))
    return d_image[(ALL, ALL, *inner)], dw.reshape(w.shape)


def _windows(spec: PoolSpec) -> Iterator[tuple[Any, Any, int]]:
    """Output position, the part of its window inside the image, and Caffe's divisor."""
    for position in product(*(range(n) for n in spec.dst[2:])):
        inside: list[slice] = []
        divisor = 1
        for i, place in enumerate(position):
            start = place * spec.stride[i] - spec.pad[i]
            end = min(start + spec.kernel[i], spec.src[i + 2] + spec.pad[i])
            divisor *= end - start
            inside.append(slice(max(start, 0), min(end, spec.src[i + 2])))
        yield (ALL, ALL, *position), (ALL, ALL, *inside), divisor


def pooling(x: Array, spec: PoolSpec) -> Array:
    y = np.zeros(spec.dst)
    axes = tuple(range(2, x.ndim))
    for position, inside, divisor in _windows(spec):
        part = x[inside]
        value = part.max(axes) if spec.alg == Alg.pooling_max else part.sum(axes) / divisor
        y[position] = value
    return y


def pooling_gradient(x: Array, dy: Array, spec: PoolSpec) -> Array:
    """The first maximum in row-major order takes the gradient of its window."""
    dx = np.zeros(spec.src)
    for position, inside, divisor in _windows(spec):
        flow = dy[position]
        if spec.alg != Alg.pooling_max:
            dx[inside] += (flow / divisor).reshape(*flow.shape, *[1] * (len(inside) - 2))
            continue
        window = x[inside]
        first = window.reshape(*flow.shape, -1).argmax(-1)
        chosen = np.zeros((*flow.shape, prod(window.shape[2:])))
        np.put_along_axis(chosen, first[..., None], flow[..., None], -1)
        dx[inside] += chosen.reshape(window.shape)
    return dx


def lrn(x: Array, size: int, alpha: float, beta: float, k: float, across: bool) -> Array:
    half = (size - 1) // 2
    square = x * x
    total = np.zeros_like(x)
    if across:
        for c in range(x.shape[1]):
            total[:, c] = square[:, max(0, c - half) : c + half + 1].sum(1)
        count = size
    else:
        for i, j in product(range(x.shape[2]), range(x.shape[3])):
            block = square[:, :, max(0, i - half) : i + half + 1, max(0, j - half) : j + half + 1]
            total[:, :, i, j] = block.sum((2, 3))
        count = size * size
    return np.asarray(x * (k + alpha / count * total) ** -beta)
