"""Kernels, strides and padding of ONNX's convolutions and poolings, and how Caffe says them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dragon.bases.geometry import Window
from dragon.counting import how_many
from dragon.importing.graph import Node, NoForm

__all__ = ["read_window", "sides"]


def read_window(node: Node, kernel: Sequence[int], size: Sequence[int]) -> Window:
    """The window of a Conv or a pooling over an image of `size`. Raises NoForm for settings that do not fit."""
    count = len(kernel)
    stride = node.integers("strides") or (1,) * count
    dilation = node.integers("dilations") or (1,) * count
    pads = node.integers("pads") or (0,) * (2 * count)
    if not (len(stride) == len(dilation) == len(size) == count and len(pads) == 2 * count):
        raise NoForm(f"its kernel has {how_many(count, 'axis')}, its strides, dilations, pads or input another number")
    if min((*kernel, *stride, *dilation), default=1) < 1:
        raise NoForm("a kernel, stride or dilation is below 1")
    before, after = pads[:count], pads[count:]
    mode = node.text("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        need = [
            max(0, (-(-n // s) - 1) * s + d * (k - 1) + 1 - n)
            for n, s, d, k in zip(size, stride, dilation, kernel, strict=True)
        ]
        less, more = tuple(v // 2 for v in need), tuple(v - v // 2 for v in need)
        before, after = (less, more) if mode == "SAME_UPPER" else (more, less)
    elif mode == "VALID":
        before = after = (0,) * count
    if min((*before, *after), default=0) < 0:
        raise NoForm("its padding is negative: a Slice before it removes the border")
    return Window(tuple(kernel), tuple(stride), before, after, tuple(dilation))


def sides(name: str, short: str, values: Sequence[int], default: int | None) -> dict[str, Any]:
    """One setting of a window: `name` where all axes agree, else SHORT_h and SHORT_w, or SHORT_shape of other than two.

    Nothing for the default.
    """
    if all(value == values[0] for value in values):
        return {} if values[0] == default else {name: values[0]}
    if len(values) != 2:
        return {f"{short}_shape": {"dim": values}}
    return {f"{short}_h": values[0], f"{short}_w": values[1]}
