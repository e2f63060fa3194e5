"""Lowering: a layer computed by kernels of our own. It is called as the layer is, on arrays of the device."""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from dragon.bases.layer import Layer
from dragon.engines.cuda.device.device import Device
from dragon.engines.cuda.device.precision import HalfPrecision
from dragon.engines.cuda.kernels.kernel import MOST, Kernel
from dragon.graph.node import Node
from dragon.memory.blob import Blob

__all__ = ["Lowering", "aligned", "find", "lowered", "lowers"]


def aligned(*arrays: Any) -> bool:
    """Whether all arrays start where 16-byte accesses may, and consist of whole ones."""
    return all(a is None or (a.data.ptr % 16 == 0 and a.nbytes % 16 == 0) for a in arrays)


class Lowering:
    """One layer's launcher. Arrays that must last from forward to backward are its own (`buffer`)."""

    half: ClassVar[bool] = False  # whether the kernels take 16-bit activations (see common.cuh)
    float32_bottoms: ClassVar[tuple[int, ...]] = ()  # bottoms that stay float32 nevertheless: labels
    float32_tops: ClassVar[tuple[int, ...]] = ()
    one_type: ClassVar[bool] = False  # bottoms and tops have one type: values move as they are
    shares: ClassVar[bool] = False  # tops are the bottoms' memory, of whatever type

    out_of_range: Any = None  # one int32 on the device, set by the executor: 1 + position of a bad label
    overwrites_top_diff: ClassVar[bool] = False  # as layers in place do
    learns: bool = True  # whether backward may follow

    def __init__(self, device: Device, node: Node) -> None:
        self.device = device
        self.node = node
        self.layer: Any = node.layer
        self.dtype = node.layer.dtype  # of what is computed, and of parameters
        self.stored = self.dtype  # of activations in memory
        self._half_precision: HalfPrecision | None = None
        self._buffers: dict[str, Any] = {}
        self._constants: dict[str, tuple[float, ...]] = {}

    def use(self, half_precision: HalfPrecision | None) -> None:
        """Take 16-bit activations from now on, or, None, those of the layer's type."""
        self._half_precision = half_precision
        self.stored = self.dtype if half_precision is None else half_precision.dtype

    def working(self, blob: Blob) -> Any:
        """A parameter in the type of the activations."""
        if self._half_precision is None:
            return blob.data
        return self._half_precision.working(blob.data_storage).reshape(blob.shape)

    @property
    def scale(self) -> Any:
        """One number on the device that gradients of 16-bit activations are to be multiplied with; None: 1."""
        return None if self._half_precision is None else self._half_precision.scale

    @property
    def unscale(self) -> Any:
        """Its inverse."""
        return None if self._half_precision is None else self._half_precision.unscale

    @classmethod
    def takes(cls, layer: Layer, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        """Whether the kernels can compute this layer in its present shapes."""
        return True

    def prepare(self) -> None:
        """What the host must do before each forward, also before one that is replayed from a graph."""

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        raise NotImplementedError

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        raise NotImplementedError

    def describe_out_of_range(self, bottom: Sequence[Blob], position: int) -> str:
        """What is wrong with label `position`."""
        raise NotImplementedError

    def buffer(self, name: str, shape: Sequence[int] | int, dtype: DTypeLike | None = None) -> Any:
        """An array that keeps its content until the shape changes."""
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        wanted = np.dtype(dtype if dtype is not None else self.dtype)
        held = self._buffers.get(name)
        if held is None or held.dtype != wanted or held.size != math.prod(shape):
            held = self._buffers[name] = self.device.empty(math.prod(shape), wanted)
        return held.reshape(shape)

    def constant(self, name: str, values: Sequence[float]) -> Any:
        """An array of these values, which go to the device when they are new."""
        wanted = tuple(values)
        array = self.buffer(name, len(wanted))
        if self._constants.get(name) != wanted:
            self._constants[name] = wanted
            self.device.upload(array, np.array(wanted, self.dtype))
        return array

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether what forward kept belongs to a top of this shape."""
        held = self._buffers.get("x")
        return held is None or bool(held.size == math.prod(shape))

    def launch(self, kernel: Kernel, **arguments: Any) -> None:
        """Launch a kernel compiled for the lowering's activations; see Kernel."""
        kernel(self.device, self.stored, **arguments)


_LOWERINGS: dict[str, type[Lowering]] = {}
L = TypeVar("L", bound=type[Lowering])


def lowers(*types: str) -> Callable[[L], L]:
    """Class decorator: this lowering is for layers of these types (main names, not aliases)."""

    def add(cls: L) -> L:
        for name in types:
            _LOWERINGS[name] = cls
        return cls

    return add


@cache
def _load_all() -> None:
    import dragon.engines.cuda.lowerings as package

    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")


def lowered() -> dict[str, str]:
    """The layer types with a lowering, and the module of each."""
    _load_all()
    return {name: cls.__module__ for name, cls in _LOWERINGS.items()}


def find(node: Node) -> type[Lowering] | None:
    """The lowering of a layer in its present shapes, or None: then its array code runs."""
    _load_all()
    layer, bottom, top = node.layer, node.bottoms, node.tops
    cls = _LOWERINGS.get(layer.type)
    if cls is None or layer.dtype.name not in ("float32", "float64"):
        return None
    if any(blob.count > MOST for blob in [*bottom, *top]) or not cls.takes(layer, bottom, top):
        return None
    return cls
