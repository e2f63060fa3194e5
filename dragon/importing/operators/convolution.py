"""Convolutions and transposed convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dragon.bases.geometry import Window
from dragon.counting import how_many
from dragon.importing.context import Context
from dragon.importing.graph import Array, NoForm
from dragon.importing.registry import operator
from dragon.importing.windows import read_window, sides

__all__ = ["convolution_settings", "copying_convolution"]


@operator("Conv")
def convolution(c: Context) -> None:
    """Convolution; a Pad before it, or zeros in its kernel, where the padding of two sides differs."""
    weight, shape = _weight(c), c.shape()
    window = read_window(c.node, c.node.integers("kernel_shape") or weight.shape[2:], shape[2:])
    group = c.node.integer("group", 1)
    if weight.shape[2:] != window.kernel or weight.shape[1] * group != shape[1] or weight.shape[0] % group:
        raise NoForm(
            f"its weight of shape {weight.shape} with {how_many(group, 'group')} does not fit an input of shape {shape}"
        )
    blob, pads = c.blob(), window.before
    if window.before != window.after:
        if len(pads) == 2 and not c.bvlc:
            blob, pads = _padded(c, blob, window), (0, 0)
        else:
            lead = tuple(a - b for b, a in zip(window.before, window.after, strict=True))
            if any(width % step for width, step in zip(lead, window.dilation, strict=True)):
                blob = copying_convolution(c, blob, shape[1], (0, *window.before), (0, *window.after))
                pads = (0,) * len(pads)
            else:
                weight = _with_zeros(weight, lead, window.dilation)
                pads = tuple(map(max, window.before, window.after))
    settings = convolution_settings(weight.shape[0], weight.shape[2:], window.stride, pads, window.dilation, group)
    c.result(_write(c, "Convolution", blob, weight, settings))


@operator("ConvTranspose")
def transposed_convolution(c: Context) -> None:
    """Deconvolution; with zeros in its kernel for output_padding and for padding that differs between two sides."""
    weight, shape = _weight(c), c.shape()
    kernel = c.node.integers("kernel_shape") or weight.shape[2:]
    group, count = c.node.integer("group", 1), len(kernel)
    stride = c.node.integers("strides") or (1,) * count
    dilation = c.node.integers("dilations") or (1,) * count
    if weight.shape[2:] != kernel or weight.shape[0] != shape[1] or not len(stride) == len(dilation) == count:
        raise NoForm(f"its weight of shape {weight.shape} does not fit an input of shape {shape}")
    before, after = _removed(c, kernel, stride, dilation)
    # zeros in front move the window, zeros behind enlarge the output: both sides then lose the same
    lead = tuple(a - b for b, a in zip(before, after, strict=True))
    pads = tuple(map(max, before, after))
    if min(pads, default=0) < 0:
        raise NoForm("its output is larger on both sides than its windows cover")
    weight = _with_zeros(weight, lead, dilation)
    settings = convolution_settings(weight.shape[1] * group, weight.shape[2:], stride, pads, dilation, group)
    c.result(_write(c, "Deconvolution", c.blob(), weight, settings))


def _removed(
    c: Context, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What is taken off before and behind of what the windows cover; below 0 where the output reaches further."""
    count = len(kernel)
    pads = c.node.integers("pads") or (0,) * (2 * count)
    extra = c.node.integers("output_padding") or (0,) * count
    before, after = pads[:count], tuple(a - e for a, e in zip(pads[count:], extra, strict=True))
    mode, wanted = c.node.text("auto_pad", "NOTSET"), c.node.integers("output_shape")
    if mode == "VALID":
        return (0,) * count, tuple(-e for e in extra)
    if wanted is None and mode == "NOTSET":
        return before, after
    size, out = c.shape()[2:], c.output_shape()[2:]
    covered = [s * (n - 1) + d * (k - 1) + 1 for n, s, d, k in zip(size, stride, dilation, kernel, strict=True)]
    total = [have - want for have, want in zip(covered, out, strict=True)]
    half, rest = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
    return (half, rest) if mode == "SAME_UPPER" else (rest, half)


def _weight(c: Context) -> Array:
    weight = c.needed_constant(1, "weight")
    if weight.ndim != len(c.shape()) or weight.ndim < 3:
        raise NoForm(f"its weight has shape {weight.shape}, its input {c.shape()}")
    return weight.astype(np.float32)


def _padded(c: Context, blob: str, window: Window) -> str:
    (top, left), (bottom, right) = window.before, window.after
    pads = {"pad_t": top, "pad_b": bottom, "pad_l": left, "pad_r": right}
    return c.layer("Pad", blob, pad_param={name: value for name, value in pads.items() if value})


def _with_zeros(weight: Array, lead: Sequence[int], dilation: Sequence[int]) -> Array:
    """A kernel with zeros before its elements, or behind them where `lead` is below 0, so many image elements wide."""
    added = [(0, 0), (0, 0)]
    for width, step in zip(lead, dilation, strict=True):
        if width % step:
            raise NoForm(f"its padding differs by {abs(width)} between two sides, its dilation is {step}")
        count = abs(width) // step
        added.append((count, 0) if width > 0 else (0, count))
    return np.pad(weight, added)


def convolution_settings(
    outputs: int, kernel: Sequence[int], stride: Sequence[int], pad: Sequence[int], dilation: Sequence[int], group: int
) -> dict[str, Any]:
    """The fields of a convolution_param."""
    settings: dict[str, Any] = {"num_output": outputs}
    if len(kernel) == 2:
        settings |= sides("kernel_size", "kernel", kernel, None) | sides("stride", "stride", stride, 1)
        settings |= sides("pad", "pad", pad, 0)
    else:
        settings |= _listed("kernel_size", kernel, None) | _listed("stride", stride, 1) | _listed("pad", pad, 0)
    settings |= _listed("dilation", dilation, 1) | ({} if group == 1 else {"group": group})
    return {
        name: [v] if name in ("kernel_size", "stride", "pad") and isinstance(v, int) else v
        for name, v in settings.items()
    }


def copying_convolution(c: Context, blob: str, channels: int, before: Sequence[int], after: Sequence[int]) -> str:
    """A Convolution that copies each channel, with zeros around it and channels of zeros before and behind."""
    outputs = before[0] + channels + after[0]
    alone = outputs == channels
    pads = [max(b, a) for b, a in zip(before[1:], after[1:], strict=True)]
    kernel = [abs(b - a) + 1 for b, a in zip(before[1:], after[1:], strict=True)]
    place = tuple(k - 1 if a > b else 0 for k, b, a in zip(kernel, before[1:], after[1:], strict=True))
    weight = np.zeros((outputs, 1 if alone else channels, *kernel), np.float32)
    for channel in range(channels):
        weight[(before[0] + channel, 0 if alone else channel, *place)] = 1
    ones = [1] * len(kernel)
    settings = convolution_settings(outputs, kernel, ones, pads, ones, channels if alone else 1)
    return c.layer("Convolution", blob, arrays=[weight], convolution_param={**settings, "bias_term": False})


def _listed(name: str, values: Sequence[int], default: int | None) -> dict[str, Any]:
    if all(value == values[0] for value in values):
        return {} if values[0] == default else {name: [values[0]]}
    return {name: list(values)}


def _write(c: Context, kind: str, blob: str, weight: Array, settings: dict[str, Any]) -> str:
    if not c.node.has_input(2):
        return c.layer(kind, blob, arrays=[weight], convolution_param={**settings, "bias_term": False})
    bias = c.needed_constant(2, "bias").reshape(-1)
    if bias.size != settings["num_output"]:
        raise NoForm(f"its bias has {how_many(bias.size, 'value')} for {how_many(settings['num_output'], 'channel')}")
    return c.layer(kind, blob, arrays=[weight, bias], convolution_param=settings)
