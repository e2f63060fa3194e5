"""Layer: the one contract of every layer, and the registry that finds it by its prototxt type.

Order of calls: `check_counts`, `setup` once, `reshape` (before every run, so inputs may change size), then `forward`
and `backward`. Settings are validated in `setup`; shapes are checked in `reshape` and nowhere else.

In `forward` and `backward` a blob's `data` and `diff` are arrays of the engine that runs (NumPy or CuPy); take the
array library from them with `xp_of`. `backward` overwrites the diffs of bottoms and adds to the diffs of the layer's
own blobs, which the solver clears.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeAlias, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from dragon.bases.fillers import fill
from dragon.bases.foreign_layers import about
from dragon.errors import DataError, PrototxtError, ShapeError, nearest
from dragon.files import paths
from dragon.memory.blob import Blob, BlobList
from dragon.memory.storage import Where
from dragon.proto import dragon_pb2 as pb
from dragon.rng import Stream

__all__ = ["TEST", "TRAIN", "Context", "Layer", "create", "layer_types", "register"]

TRAIN: int = pb.TRAIN
TEST: int = pb.TEST


@dataclass
class Context:
    """What a layer is given by its net besides its parameters."""

    dtype: DTypeLike = np.float32
    seed: int = 0
    where: Where = field(default_factory=Where)
    folder: Path | None = None  # of the prototxt
    allow_python: bool = True
    states: dict[str, Any] = field(default_factory=dict)  # shared by the layers of one net, by name


LayerClass: TypeAlias = "type[Layer]"  # under a name, since `type` means something else inside of the class


class Layer:
    """Base of all layers. Subclasses say what they compute; engines say how to do it faster."""

    type: ClassVar[str] = ""
    bottoms: ClassVar[tuple[int, int | None]] = (1, 1)  # least and most; None: no limit
    tops: ClassVar[tuple[int, int | None]] = (1, 1)
    equal_bottom_top: ClassVar[bool] = False
    is_loss: ClassVar[bool] = False  # the first top weighs 1 by default, missing tops are made by the net
    auto_tops: ClassVar[bool] = False
    is_source: ClassVar[bool] = False  # makes data: no bottom, nothing to propagate
    # indices of blobs that are running statistics: saved with the net, never seen by the solver
    buffers: frozenset[int] = frozenset()

    def __init__(self, param: pb.LayerParameter, phase: int = TRAIN, context: Context | None = None) -> None:
        self.context = context or Context()
        self.param = param
        self.name: str = param.name
        self._phase = phase
        self.dtype = np.dtype(self.context.dtype)
        self.blobs = BlobList(self.dtype, self.context.where)
        self.rng = Stream(self.context.seed, self.name)
        self.param_propagate_down: list[bool] = []
        self.loss_weights: list[float] = []
        self.param_str: str = param.python_param.param_str

    @classmethod
    def form(cls, param: pb.LayerParameter) -> LayerClass:
        """The class to make: another one where settings turn a type into a different layer."""
        return cls

    # -- to be written by a layer ---------------------------------------------------------------------------
    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Validate the settings and make `self.blobs`."""

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Check the bottoms' shapes and give the tops theirs."""
        raise NotImplementedError

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        raise NotImplementedError

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        raise NotImplementedError

    def can_propagate(self, index: int) -> bool:
        """Whether bottom `index` can have a gradient (labels cannot)."""
        return True

    def state(self) -> dict[str, int | float | bytes]:
        """What must be kept, besides blobs and the random stream, for a run to go on exactly (data position)."""
        return {}

    def load_state(self, state: dict[str, int | float | bytes]) -> None:
        """Take back what `state` gave."""

    def close(self) -> None:
        """Release threads and files."""

    @property
    def phase(self) -> int:
        """TRAIN or TEST; may be changed between runs."""
        return self._phase

    @phase.setter
    def phase(self, phase: int) -> None:
        if phase != self._phase:
            self._phase = phase
            self.context.where.version += 1

    # -- helpers --------------------------------------------------------------------------------------------
    @property
    def where(self) -> str:
        """How messages name this layer."""
        return f'layer "{self.name}" ({self.param.type or self.type})'

    def bad_shape(self, message: str) -> NoReturn:
        raise ShapeError(f"{self.where}: {message}")

    def bad_param(self, message: str) -> NoReturn:
        raise PrototxtError(f"{self.where}: {message}")

    def find(self, path: str, what: str) -> str:
        """Path of a file that the prototxt names (see dragon.files.paths). DataError when it does not exist."""
        found = paths.find(path, self.context.folder)
        if found is None:
            raise DataError(
                f'{self.where}: {what} "{path}" does not exist{paths.missing_hint(path, self.context.folder)}'
            )
        return str(found)

    def add_blob(self, shape: Sequence[int], filler: pb.FillerParameter, what: str = "weight") -> Blob:
        """Append a learned blob filled as `filler` says, unless the net already gave this layer its blobs.

        The draw depends on the seed, the layer's name and the blob's index alone: two nets that differ elsewhere
        start from the same weights.
        """
        blob = Blob(shape, self.dtype, self.context.where)
        stream = Stream(self.context.seed, f"{self.name}/blob{len(self.blobs)}")
        fill(blob.data, filler, stream, f"{self.where}: {what} of shape {tuple(shape)}")
        self.blobs.append(blob)
        return blob

    def axis(self, axis: int, ndim: int) -> int:
        """`axis` counted from the front; negative ones count from the end. ShapeError when out of range."""
        if not -ndim <= axis < ndim:
            self.bad_shape(f"axis {axis} is out of range for a bottom with {ndim} axes")
        return axis % ndim if ndim else 0

    def check_counts(self, n_bottom: int, n_top: int) -> None:
        """PrototxtError unless the numbers of bottoms and tops are those the layer takes."""
        for what, n, (least, most) in (("bottom", n_bottom, self.bottoms), ("top", n_top, self.tops)):
            if n < least or (most is not None and n > most):
                if least == most:
                    expected = f"exactly {least}"
                elif most is None:
                    expected = f"at least {least}"
                else:
                    expected = f"{least} to {most}"
                self.bad_param(f"takes {expected} {what} blob{'' if expected == 'exactly 1' else 's'}, got {n}")
        if self.equal_bottom_top and n_bottom != n_top:
            self.bad_param(f"takes as many tops as bottoms, got {n_bottom} bottoms and {n_top} tops")


_REGISTRY: dict[str, type[Layer]] = {}
_loaded = False

L = TypeVar("L", bound=type[Layer])


def register(*aliases: str) -> Callable[[L], L]:
    """Class decorator: make a layer known under its `type`, and under further names that forks use for it."""

    def add(cls: L) -> L:
        _REGISTRY[cls.type] = cls
        for alias in aliases:
            _REGISTRY[alias] = cls
        return cls

    return add


def _load_all() -> None:
    global _loaded
    if not _loaded:
        import dragon.layers as package

        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"dragon.layers.{module.name}")
        _loaded = True


def layer_types() -> list[str]:
    """The prototxt names of all known layers, sorted."""
    _load_all()
    return sorted(_REGISTRY)


def find_class(type_name: str) -> type[Layer] | None:
    """The layer class of a prototxt type, or None."""
    _load_all()
    return _REGISTRY.get(type_name)


def create(param: pb.LayerParameter, phase: int = TRAIN, context: Context | None = None) -> Layer:
    """The layer that `param.type` names. PrototxtError, with the nearest known type, when there is none."""
    cls = find_class(param.type)
    if cls is None:
        foreign = about(param.type)
        hint = f": {foreign}" if foreign else nearest(param.type, layer_types())
        raise PrototxtError(f'layer "{param.name}": unknown layer type "{param.type}"{hint}')
    return cls.form(param)(param, phase, context)
