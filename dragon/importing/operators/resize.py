"""Images of another size: every mode of ONNX is a matrix along each axis."""

from __future__ import annotations

import numpy as np

from dragon.files.onnx_package import onnx_module
from dragon.importing.context import Context
from dragon.importing.graph import Array, NoForm
from dragon.importing.operators.convolution import convolution_settings
from dragon.importing.operators.linear import matrix_along
from dragon.importing.registry import operator

_MOST = 1 << 15  # pixels along an axis: they are computed one by one


@operator("Resize", "Upsample")
def resize(c: Context) -> None:
    """Upsample (nearest), Interp (aligned corners), Deconvolution (whole factors), else a product for each axis."""
    shape, out = c.shape(), c.output_shape()
    if c.node.text("coordinate_transformation_mode") == "tf_crop_and_resize":
        raise NoForm("coordinate_transformation_mode tf_crop_and_resize: Caffe cuts and resizes by two layers")
    matrices = [_matrix(c, axis) if shape[axis] != out[axis] else None for axis in range(len(shape))]
    if any(matrix is not None for matrix in matrices[:2]):
        raise NoForm("it resizes the batch or the channels")
    blob = c.blob()
    if len(shape) == 4:
        special = _image(c, blob, shape, out, matrices)
        if special is not None:
            c.result(special)
            return
    size = list(shape)
    for axis, matrix in enumerate(matrices):
        if matrix is None:
            continue
        blob = matrix_along(c, blob, size, axis, matrix, "resize")
        size[axis] = out[axis]
    c.result(blob)


def _image(
    c: Context, blob: str, shape: tuple[int, ...], out: tuple[int, ...], matrices: list[Array | None]
) -> str | None:
    """One layer that gives the same, or two; None where there is none."""
    whole = [new // old if new % old == 0 else 0 for old, new in zip(shape[2:], out[2:], strict=True)]
    found = [np.eye(n) if m is None else m for n, m in zip(shape[2:], matrices[2:], strict=True)]
    if all(whole) and _equal(found, [np.repeat(np.eye(n), k, axis=0) for n, k in zip(shape[2:], whole, strict=True)]):
        if not c.bvlc:
            scale = {"scale": whole[0]} if whole[0] == whole[1] else {"scale_h": whole[0], "scale_w": whole[1]}
            return c.layer("Upsample", blob, upsample_param=scale)
        weight = np.ones((shape[1], 1, *whole), np.float32)
        settings = convolution_settings(shape[1], whole, whole, [0, 0], [1, 1], shape[1])
        return c.layer("Deconvolution", blob, arrays=[weight], convolution_param={**settings, "bias_term": False})
    if c.bvlc:
        return None
    if _equal(found, [_aligned(old, new) for old, new in zip(shape[2:], out[2:], strict=True)]):
        return c.layer("Interp", blob, interp_param={"height": out[2], "width": out[3]})
    if all(whole) and _equal(found, [_half_pixel(n, k) for n, k in zip(shape[2:], whole, strict=True)]):
        # the border repeated, so that a bilinear kernel finds a neighbour everywhere
        border = c.layer("Pad", blob, pad_param={"pad_t": 1, "pad_b": 1, "pad_l": 1, "pad_r": 1, "mode": "EDGE"})
        kernel = [2 * k - k % 2 for k in whole]
        rows, columns = (1 - np.abs(np.arange(n) - (n - 1) / 2) / k for n, k in zip(kernel, whole, strict=True))
        weight = np.broadcast_to(rows[:, None] * columns, (shape[1], 1, *kernel))
        pads = [(3 * k - k % 2) // 2 for k in whole]
        settings = convolution_settings(shape[1], kernel, whole, pads, [1, 1], shape[1])
        return c.layer("Deconvolution", border, arrays=[weight], convolution_param={**settings, "bias_term": False})
    return None


def _equal(found: list[Array], wanted: list[Array]) -> bool:
    return all(np.allclose(a, b, atol=1e-6) for a, b in zip(found, wanted, strict=True))


def _aligned(old: int, new: int) -> Array:
    """Linear interpolation with aligned corners, (new, old)."""
    return _linear(old, np.arange(new) * ((old - 1) / (new - 1) if new > 1 else 0.0))


def _half_pixel(old: int, factor: int) -> Array:
    """Linear interpolation by centres of pixels, (old * factor, old)."""
    return _linear(old, (np.arange(old * factor) + 0.5) / factor - 0.5)


def _linear(old: int, at: Array) -> Array:
    distance = np.abs(at.clip(0, old - 1)[:, None] - np.arange(old))
    matrix: Array = np.maximum(0, 1 - distance)
    return matrix


def _matrix(c: Context, axis: int) -> Array:
    """The matrix (new, old) of the operator along one axis: what it makes of each unit vector."""
    onnx, shape, out = onnx_module(), c.shape(), c.output_shape()
    old, new = shape[axis], out[axis]
    if new > _MOST:
        raise NoForm(f"it makes {new:,} pixels of {old} along an axis, more than {_MOST:,}")
    scales, sizes = (2, 3) if c.node.op == "Resize" and c.node.opset >= 11 else (1, 3)
    given = c.constant(scales)
    if given is None and "scales" in c.node.attributes:
        given = np.asarray(c.node.attributes["scales"], np.float32)
    if given is not None and given.size:
        named = c.node.integers("axes") or range(len(shape))
        scale = float(given.reshape(-1)[[a % len(shape) for a in named].index(axis)])
        inputs, values = ["x", "", "s"], {"s": np.array([1, scale], np.float32)}
    elif c.node.has_input(sizes):
        inputs, values = ["x", "", "", "s"], {"s": np.array([old, new], np.int64)}
    else:
        raise NoForm("it has neither scales nor sizes")
    skip = ("axes", "scales", "keep_aspect_ratio_policy")
    attributes = {name: value for name, value in c.node.attributes.items() if name not in skip}
    if c.node.op == "Upsample" or c.node.opset < 11:
        attributes = {"mode": c.node.text("mode", "nearest"), "coordinate_transformation_mode": "asymmetric"}
        attributes |= {"nearest_mode": "floor"}
    node = onnx.helper.make_node("Resize", inputs, ["y"], **attributes)
    unit = np.eye(old, dtype=np.float32)
    try:
        found = onnx_module("onnx.reference").ReferenceEvaluator(node, opsets={"": max(13, min(c.node.opset, 19))})
        result: Array = found.run(None, {"x": unit, **values})[0]
    except Exception as error:
        raise NoForm(f"its settings are not understood: {error}") from None
    if result.shape != (old, new):
        raise NoForm(f"it makes {result.shape[-1]} of {old} pixels where {new} were expected")
    return result.T
