"""Windows that slide over the spatial axes: their settings, output sizes, unfolding and folding.

Unfolding (im2col) copies the content of every window to a column; folding (col2im), its transpose, adds columns back.
Both go axis by axis: the first steps move little data, the last one moves long contiguous runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dragon.bases.layer import Layer
from dragon.counting import how_many
from dragon.memory.scratch import Scratch
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of
from dragon.proto import dragon_pb2 as pb

__all__ = ["Window", "fold", "read_window", "unfold"]


@dataclass(frozen=True)
class Window:
    """A window: kernel, stride, padding before and after the image, and dilation; one entry per spatial axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def extent(self) -> tuple[int, ...]:
        """Elements that a window spans: dilation * (kernel - 1) + 1."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    def padded(self, size: Sequence[int]) -> tuple[int, ...]:
        """`size` with the padding on both sides."""
        return tuple(n + b + a for n, b, a in zip(size, self.before, self.after, strict=True))

    def positions(self, size: Sequence[int]) -> tuple[int, ...]:
        """Number of positions of the window on an input of `size`; 0 or less where there is none.

        As in Caffe, whose division rounds towards zero: a window that is less than a stride too large has one position,
        and what it has behind the padding counts as padding too.
        """
        each = zip(self.padded(size), self.extent, self.stride, strict=True)
        return tuple((n - e) // s + 1 if n >= e else 1 - (e - n) // s for n, e, s in each)

    def reaching(self, size: Sequence[int], positions: Sequence[int]) -> Window:
        """The window with padding behind the image up to the end of its last position, if it does not reach so far."""
        each = zip(size, positions, self.stride, self.extent, self.before, self.after, strict=True)
        after = tuple(max(a, s * (p - 1) + e - n - b) for n, p, s, e, b, a in each)
        return self if after == self.after else replace(self, after=after)

    def covered(self, positions: Sequence[int]) -> tuple[int, ...]:
        """Size, without the padding, of what `positions` windows cover: the output of a deconvolution."""
        each = zip(positions, self.stride, self.extent, self.before, self.after, strict=True)
        return tuple(s * (n - 1) + e - b - a for n, s, e, b, a in each)

    @property
    def is_pointwise(self) -> bool:
        """Whether the windows are the elements of the input, in order: there is nothing to unfold."""
        return (
            all(k == 1 for k in self.kernel)
            and all(s == 1 for s in self.stride)
            and not any(self.before)
            and not any(self.after)
        )


def read_window(layer: Layer, p: pb.ConvolutionParameter | pb.LocalParameter, n_spatial: int) -> Window:
    """The window of such a message for `n_spatial` axes. Raises PrototxtError for bad or ambiguous settings."""

    def each(name: str, default: int | None, least: int) -> tuple[int, ...]:
        short = name.removesuffix("_size")
        given = list(getattr(p, name))
        by_name = [] if name == "dilation" else [f"{short}_h", f"{short}_w"]
        if any(p.HasField(side) for side in by_name):
            if given:
                layer.bad_param(f"give {name} or {short}_h and {short}_w, not both")
            if n_spatial != 2:
                layer.bad_param(f"{short}_h and {short}_w need 2 spatial axes, the bottom has {n_spatial}")
            for side in by_name:
                if p.HasField(side):
                    given.append(getattr(p, side))
                elif default is None:
                    layer.bad_param(f"{side} is missing")
                else:
                    given.append(default)
        if not given:
            if default is None and n_spatial:
                layer.bad_param(f"{name} is missing")
            given = [default or 0]
        if len(given) not in (1, n_spatial) and n_spatial:
            layer.bad_param(f"{name} is given {how_many(len(given), 'time')} for {how_many(n_spatial, 'spatial axis')}")
        if n_spatial and min(given) < least:
            layer.bad_param(f"{name} must be at least {least}, got {min(given)}")
        return tuple(given * n_spatial if len(given) == 1 else given[:n_spatial])

    kernel = each("kernel_size", None, 1)
    stride = each("stride", 1, 1)
    pad = each("pad", 0, 0)
    before, after = list(pad), list(pad)
    if isinstance(p, pb.LocalParameter):
        return Window(kernel, stride, tuple(before), tuple(after), (1,) * len(kernel))
    dilation = each("dilation", 1, 1)
    if p.pad_t or p.pad_b or p.pad_l or p.pad_r:
        if n_spatial != 2:
            layer.bad_param(f"pad_t, pad_b, pad_l and pad_r need 2 spatial axes, the bottom has {n_spatial}")
        before = [before[0] + p.pad_t, before[1] + p.pad_l]
        after = [after[0] + p.pad_b, after[1] + p.pad_r]
    return Window(kernel, stride, tuple(before), tuple(after), dilation)


def unfold(x: Array, window: Window, out: Array, scratch: Scratch) -> None:
    """Copy the windows of x (N, C, *size) into `out` (N, C, *kernel, *positions)."""
    if window.is_pointwise:
        out[...] = x.reshape(out.shape)
        return
    n_spatial = len(window.kernel)
    window = window.reaching(x.shape[2:], out.shape[2 + n_spatial :])
    if any(window.before) or any(window.after):
        x = _pad(x, window, scratch)
    strided = xp_of(x).lib.stride_tricks.as_strided
    positions = out.shape[2 + n_spatial :]
    for axis in reversed(range(n_spatial)):
        k, s, d, n = window.kernel[axis], window.stride[axis], window.dilation[axis], positions[axis]
        if k == 1 and s == 1 and axis:
            x = x[:, :, None]
            continue
        at = x.ndim - n_spatial + axis
        view = strided(
            x,
            (*x.shape[:2], k, *x.shape[2:at], n, *x.shape[at + 1 :]),
            (*x.strides[:2], d * x.strides[at], *x.strides[2:at], s * x.strides[at], *x.strides[at + 1 :]),
        )
        x = out if axis == 0 else scratch.get(f"unfold{axis}", view.shape, x)
        x[...] = view


def fold(columns: Array, window: Window, out: Array, scratch: Scratch) -> None:
    """Overwrite `out` (N, C, *size) with the sums of the columns (N, C, *kernel, *positions) at their positions."""
    if window.is_pointwise:
        out[...] = columns.reshape(out.shape)
        return
    n_spatial = len(window.kernel)
    window = window.reaching(out.shape[2:], columns.shape[2 + n_spatial :])
    padded = window.padded(out.shape[2:])
    has_padding = padded != tuple(out.shape[2:])
    x = columns
    for axis in range(n_spatial):
        k, s, d, n = (
            window.kernel[axis],
            window.stride[axis],
            window.dilation[axis],
            columns.shape[2 + n_spatial + axis],
        )
        at = x.ndim - n_spatial + axis - 1
        shape = (*x.shape[:2], *x.shape[3 : at + 1], padded[axis], *x.shape[at + 2 :])
        last = axis == n_spatial - 1 and not has_padding
        target = out if last else scratch.get(f"fold{axis}", shape, out)
        target[...] = 0
        ahead = (slice(None),) * at
        for i in range(k):
            place = target[(*ahead, slice(i * d, i * d + s * (n - 1) + 1, s))]
            place += x[:, :, i]
        x = target
    if has_padding:
        out[...] = x[_inside(window, out.shape[2:])]


def _inside(window: Window, size: Sequence[int]) -> tuple[slice, ...]:
    each = zip(window.before, size, strict=True)
    return (slice(None), slice(None), *(slice(b, b + n) for b, n in each))


def _pad(x: Array, window: Window, scratch: Scratch) -> Array:
    padded = scratch.get("padded", (*x.shape[:2], *window.padded(x.shape[2:])), x)
    padded[...] = 0
    padded[_inside(window, x.shape[2:])] = x
    return padded
