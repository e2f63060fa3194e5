"""Windows that are larger than their bottoms: what Caffe's formulas give, as nets for every engine."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.layers.catalogue import Case

__all__ = ["CASES", "pooled"]

Array = NDArray[Any]


def _cases() -> dict[str, Case]:
    filler = 'weight_filler { type: "gaussian" std: 0.5 } bias_filler { value: 0.25 }'
    cases = {}
    for shape, (kernel, stride, pad) in product(
        [(2, 3, 1, 1), (2, 3, 1, 5), (2, 3, 2, 1)], [(2, 2, 0), (3, 3, 0), (3, 3, 1), (4, 3, 0)]
    ):
        if kernel - min(shape[2:]) - 2 * pad >= stride:
            continue
        window = f"kernel_size: {kernel} stride: {stride} pad: {pad}"
        name = f"kernel {kernel}, stride {stride}, pad {pad} on {shape[2]} x {shape[3]}"
        for pool in ("MAX", "AVE"):
            cases[f"{pool} {name}"] = Case("Pooling", f"pooling_param {{ pool: {pool} {window} }}", (shape,))
        if pad:
            continue
        cases[f"Convolution {name}"] = Case(
            "Convolution", f"convolution_param {{ num_output: 4 {window} {filler} }}", (shape,)
        )
        cases[f"Im2col {name}"] = Case("Im2col", f"convolution_param {{ {window} }}", (shape,))
    return cases


CASES = _cases()


def pooled(x: Array, kernel: int, stride: int, pad: int, average: bool) -> Array:
    """Caffe's pooling loop: windows are clipped at the image, an average divides by the part on image and padding."""
    height, width = x.shape[2:]
    out = [int(np.ceil((n + 2 * pad - kernel) / stride)) + 1 for n in (height, width)]
    if pad:
        out = [o - 1 if (o - 1) * stride >= n + pad else o for o, n in zip(out, (height, width), strict=True)]
    y = np.zeros((*x.shape[:2], *out))
    for row, column in product(range(out[0]), range(out[1])):
        top, left = row * stride - pad, column * stride - pad
        bottom, right = min(top + kernel, height + pad), min(left + kernel, width + pad)
        area = (bottom - top) * (right - left)
        part = x[:, :, max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
        y[:, :, row, column] = part.sum(axis=(2, 3)) / area if average else part.max(axis=(2, 3))
    return y
