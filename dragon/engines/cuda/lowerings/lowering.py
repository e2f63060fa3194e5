"""Lowering: how the kernels of this engine compute one layer. Called as the layer is, on arrays of the device."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from dragon.bases.layer import Layer
from dragon.bases.loading import load_files
from dragon.engines.cuda.device.device import Device
from dragon.engines.cuda.device.layout import Layout
from dragon.engines.cuda.device.precision import HalfPrecision
from dragon.engines.cuda.device.staging import Staged
from dragon.engines.cuda.kernels.kernel import MOST, Kernel
from dragon.graph.node import Node
from dragon.memory.blob import Blob
from dragon.memory.storage import Storage

__all__ = ["BufferSource", "Lowering", "aligned", "by_channel", "find", "lowered", "lowers", "runs_on_host"]

BufferSource = Callable[[str, int, "np.dtype[Any]"], Any]  # an array of so many elements, by its name


def aligned(*arrays: Any) -> bool:
    """Whether start and size of all arrays are multiples of 16 bytes, for 16-byte accesses. None is skipped."""
    return all(a is None or (a.data.ptr % 16 == 0 and a.nbytes % 16 == 0) for a in arrays)


def by_channel(shape: Sequence[int]) -> tuple[int, int, int]:
    """(N, C, S) of a blob's shape; a blob of one axis has one channel."""
    return shape[0], shape[1] if len(shape) > 1 else 1, math.prod(shape[2:])


def runs_on_host(layer: Any) -> bool:
    """Whether a layer runs on the host in any case: it says so, or it is a source that has no bytes to transform."""
    return bool(layer.host_only or (layer.is_source and not layer.gives_bytes))


class Lowering:
    """Launches the kernels of one layer. Arrays that must last from forward to backward are its own (`buffer`)."""

    half: ClassVar[bool] = False  # whether the kernels take 16-bit activations (see common.cuh)
    float32_bottoms: ClassVar[tuple[int, ...]] = ()  # with `half`, bottoms that stay float32: labels
    float32_tops: ClassVar[tuple[int, ...]] = ()
    one_type: ClassVar[bool] = False  # bottoms and tops must have one type, since values are only copied
    shares: ClassVar[bool] = False  # tops share the bottoms' memory, of either type
    any_layout: ClassVar[bool] = False  # the kernels compute each element by itself, wherever it lies
    gains_by_channels_last: ClassVar[bool] = False  # tensor cores read channels last

    weight_last: Callable[[Storage, Layout], Any] | None = None  # see Arrays.weight_last; None: no copies
    channels_last: bool = False  # whether blobs lie as (N, H, W, C), whose shape is still given as (N, C, H, W)

    out_of_range: Any = None  # int32 (1) on the device, set by the executor; see out_of_range_at in labels.cuh
    array_code: ClassVar[bool] = False  # it runs the layer's own code, which no graph can repeat
    overwrites_top_diff: bool = False  # whether backward changes the top's diff
    writes_gradients: ClassVar[bool] = False  # whether backward asks `adds` about each blob of the layer
    memory: BufferSource | None = None  # where `buffer` takes arrays from; None: each is an allocation of its own
    learns: bool = True  # whether backward may follow

    def __init__(self, device: Device, node: Node) -> None:
        self.device = device
        self.node = node
        self.layer: Any = node.layer
        self.dtype = node.layer.dtype  # of arithmetic and parameters
        self.stored = self.dtype  # of activations in memory
        self._half_precision: HalfPrecision | None = None
        self._buffers: dict[str, Any] = {}
        self._staged: dict[str, Staged] = {}
        self._constants: dict[str, tuple[float, ...]] = {}
        self.fresh: set[Storage] = set()  # gradients that hold nothing yet: `adds` has the next backward write them

    def on(self, device: Device) -> Lowering:
        """A new lowering of the same layers on another device. Overridden where the constructor takes more."""
        return type(self)(device, self.node)

    def use(self, half_precision: HalfPrecision | None) -> None:
        """Take 16-bit activations from now on; None: activations of the layer's type."""
        self._half_precision = half_precision
        self.stored = self.dtype if half_precision is None else half_precision.dtype

    def working(self, blob: Blob) -> Any:
        """A parameter's array in the type of the activations."""
        if self._half_precision is None:
            return blob.data
        return self._half_precision.working(blob.data_storage).reshape(blob.shape)

    @property
    def scale(self) -> Any:
        """The loss scale (1) on the device, by which gradients of 16-bit activations are multiplied; None: 1."""
        return None if self._half_precision is None else self._half_precision.scale

    @property
    def unscale(self) -> Any:
        """The inverse of `scale` (1) on the device, by which gradients of parameters are multiplied; None: 1."""
        return None if self._half_precision is None else self._half_precision.unscale

    @classmethod
    def takes(cls, layer: Layer, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        """Whether the kernels can compute this layer in its present shapes."""
        return True

    @classmethod
    def takes_channels_last(cls, layer: Layer, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        """Whether the kernels can compute this layer, whose blobs have 4 axes, where these lie as (N, H, W, C)."""
        return cls.any_layout

    def by_channel(self, shape: Sequence[int]) -> tuple[int, int, int]:
        """An array of this shape as kernels for (N, C, S) see it: (N * H * W, C, 1) where channels lie last."""
        n, c, s = by_channel(shape)
        return (n * s, c, 1) if self.channels_last else (n, c, s)

    @property
    def has_host_part(self) -> bool:
        """Whether `prepare` has anything to do."""
        return type(self).prepare is not Lowering.prepare

    def prepare(self) -> None:
        """Do what the host has to do before each forward, also before one that is replayed from a graph."""

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Launch kernels that compute the tops' data."""
        raise NotImplementedError

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Launch kernels that compute the flagged bottoms' diffs and add to the parameters' diffs."""
        raise NotImplementedError

    def learned(self) -> Sequence[Blob]:
        """The parameters whose gradients backward adds to, or writes where `adds` says so: all elements of each."""
        learned: Sequence[Blob] = self.layer.blobs if self.writes_gradients else ()
        return learned

    def adds(self, blob: Blob | None) -> bool:
        """Whether the next launch adds to a parameter's gradient; else it writes that. To be asked once for each."""
        if blob is None or blob.diff_storage not in self.fresh:
            return True
        self.fresh.discard(blob.diff_storage)
        return False

    def equal_diffs(self) -> Sequence[Storage]:
        """Storages of gradients that hold one value after `backward`, which may be handed one array for all of them."""
        return ()

    def describe_out_of_range(self, bottom: Sequence[Blob], position: int) -> str:
        """The message for the label or index at `position` of its blob, which was out of range."""
        raise NotImplementedError

    def buffer(
        self, name: str, shape: Sequence[int] | int, dtype: DTypeLike | None = None, lasting: bool = False
    ) -> Any:  # fmt: skip
        """The lowering's array of this name, made at first use; its content lasts from a forward to the backward.

        dtype: None for the type of arithmetic. lasting: whether the content must last until size or type change, even
        while the net runs in other shapes, in which it shares this memory otherwise.
        """
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        wanted = np.dtype(dtype if dtype is not None else self.dtype)
        held = self._buffers.get(name)
        if held is None or held.dtype != wanted or held.size != math.prod(shape):
            take = self.device.empty if lasting or self.memory is None else partial(self.memory, name)
            held = self._buffers[name] = take(math.prod(shape), wanted)
        return held.reshape(shape)

    def counter(self, name: str) -> Any:
        """The lowering's int32 (1) of this name, by which blocks count themselves. Kernels leave it 0, as it was."""
        if name not in self._buffers:
            self._buffers[name] = self.device.zeros(1, np.int32)
        return self._buffers[name]

    def staged(self, name: str, count: int, dtype: DTypeLike) -> Staged:
        """The lowering's array of this name for values that `prepare` sets; lasts until another count is asked for."""
        held = self._staged.get(name)
        if held is None or held.array.size != count:
            held = self._staged[name] = self.device.staged(count, dtype)
        return held

    @property
    def kept_bytes(self) -> int:
        """Bytes of the lowering's arrays."""
        arrays = [*self._buffers.values(), *(held.array for held in self._staged.values())]
        return sum(int(array.nbytes) for array in arrays)

    def constant(self, name: str, values: Sequence[float]) -> Any:
        """The lowering's array of these values, sent to the device where they differ from the last call's."""
        wanted = tuple(values)
        array = self.buffer(name, len(wanted), lasting=True)
        if self._constants.get(name) != wanted:
            self._constants[name] = wanted
            self.device.upload(array, np.array(wanted, self.dtype))
        return array

    @property
    def has_copy(self) -> bool:
        """Whether forward has saved a copy of the bottom, on which the layers work in place."""
        return "x" in self._buffers

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether the copy of the bottom that forward saved, if any, has the size of this shape."""
        held = self._buffers.get("x")
        return held is None or bool(held.size == math.prod(shape))

    def launch(self, kernel: Kernel, **arguments: Any) -> None:
        """Launch a kernel compiled for the lowering's activations; see Kernel."""
        kernel(self.device, self.stored, **arguments)


_LOWERINGS: dict[str, type[Lowering]] = {}
L = TypeVar("L", bound=type[Lowering])


def lowers(*types: str) -> Callable[[L], L]:
    """Class decorator: registers the lowering of layers of these types (main names, not aliases)."""

    def add(cls: L) -> L:
        for name in types:
            _LOWERINGS[name] = cls
        return cls

    return add


@cache
def _load_all() -> None:
    import dragon.engines.cuda.lowerings as package

    load_files(package)


def lowered() -> dict[str, str]:
    """The layer types with a lowering, and the module of each."""
    _load_all()
    return {name: cls.__module__ for name, cls in _LOWERINGS.items()}


def find(node: Node) -> type[Lowering] | None:
    """The lowering class for a layer in its present shapes; None where its array code has to run."""
    _load_all()
    layer, bottom, top = node.layer, node.bottoms, node.tops
    cls = _LOWERINGS.get(layer.type)
    if cls is None or layer.dtype.name not in ("float32", "float64"):
        return None
    if any(blob.count > MOST for blob in [*bottom, *top]) or not cls.takes(layer, bottom, top):
        return None
    return cls
