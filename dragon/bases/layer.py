"""Layer: the one contract of every layer.

Order of calls: `check_counts`, `setup` once, `reshape` (before every run, so inputs may change size), then `forward`
and `backward`. Settings are validated in `setup`; shapes are checked in `reshape` and nowhere else.

In `forward` and `backward` a blob's `data` and `diff` are arrays of the engine that runs (NumPy or CuPy); take the
array library from them with `xp_of`. `backward` overwrites the diffs of bottoms and adds to the diffs of the layer's
own blobs, which the solver clears.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from dragon.bases.coordinates import IDENTITY, Coordinates
from dragon.bases.fillers import fill
from dragon.bases.registry import create, find_class, layer_types, register
from dragon.errors import DataError, DragonError, LayerName, PrototxtError, ShapeError
from dragon.files import paths
from dragon.memory.blob import Blob, BlobList
from dragon.memory.storage import ArraySpace
from dragon.proto import dragon_pb2 as pb
from dragon.rng import Stream

__all__ = ["TEST", "TRAIN", "Context", "Layer", "create", "find_class", "layer_types", "register"]

TRAIN: int = pb.TRAIN
TEST: int = pb.TEST


@dataclass
class Context:
    """What a layer is given by its net besides its parameters."""

    dtype: DTypeLike = np.float32
    seed: int = 0
    space: ArraySpace = field(default_factory=ArraySpace)
    folder: Path | None = None  # of the prototxt
    allow_python: bool | None = None  # None: as dragon.bases.user_code says
    states: dict[str, Any] = field(default_factory=dict)  # shared by the layers of one net, by name


LayerClass: TypeAlias = "type[Layer]"  # under a name, since `type` means something else inside of the class


class Layer:
    """Base of all layers. Subclasses say what they compute; engines say how to do it faster.

    The class attributes are what is known about a type. Tools and engines read them and never compare names, so an
    alias, or a new layer, is treated as what it is. The bases in this package set most of them.
    """

    # -- the type and its settings --------------------------------------------------------------------------
    type: ClassVar[str] = ""  # its name in a prototxt
    aliases: ClassVar[tuple[str, ...]] = ()  # further names, which `register` sets
    settings: ClassVar[tuple[str, ...]] = ()  # fields of LayerParameter that it reads, the usual one first
    one_of_settings: ClassVar[bool] = False  # it reads one of `settings` at a time, not all together
    defaults: ClassVar[Mapping[str, str]] = {}  # what an unset field means, where the schema's default does not tell

    # -- bottoms, tops and blobs ----------------------------------------------------------------------------
    bottoms: ClassVar[tuple[int, int | None]] = (1, 1)  # least and most; None: no limit
    tops: ClassVar[tuple[int, int | None]] = (1, 1)
    equal_bottom_top: ClassVar[bool] = False
    auto_tops: ClassVar[bool] = False  # the net makes tops that are missing
    # indices of blobs that are running statistics: saved with the net, never seen by the solver
    buffers: frozenset[int] = frozenset()

    # -- what it does ---------------------------------------------------------------------------------------
    is_loss: ClassVar[bool] = False  # the first top weighs 1 by default, missing tops are made by the net
    is_source: ClassVar[bool] = False  # makes data: no bottom, nothing to propagate
    reads_data: ClassVar[bool] = False  # a source whose data come from files or from the program
    is_input: ClassVar[bool] = False  # a source whose tops the caller fills
    runs_user_code: ClassVar[bool] = False  # may do anything: change shapes in place, write into its bottoms
    passes_memory: ClassVar[bool] = False  # forward computes nothing: the tops, if any, are bottom 0's memory
    works_in_place: ClassVar[bool] = False  # in place, no gradient needs what was overwritten, or it is kept
    keeps_signs: ClassVar[bool] = False  # in place, nothing that backward of a ReLU below asks for is lost
    from_result: ClassVar[bool] = False  # in place, backward needs only the top, if no setting says otherwise
    pointwise: ClassVar[bool] = False  # a place in the top comes from the same place in the bottoms
    size_bottoms: ClassVar[frozenset[int]] = frozenset()  # bottoms of which only the shape counts
    normalises: ClassVar[str] = ""  # "batch": by statistics of each channel over the batch; "sample": of each sample
    keeps_statistics: ClassVar[bool] = False  # a running average of the batches' statistics, for TEST
    family: ClassVar[str] = ""  # what a picture of a net shows it as, see dragon.pycaffe.draw

    # -- where it can run -----------------------------------------------------------------------------------
    host_only: ClassVar[str] = ""  # why no engine runs it anywhere but on the host; empty: nothing prevents it
    gives_bytes: ClassVar[bool] = False  # a source that can hand out its images as uint8, for an engine to transform
    capturable: ClassVar[bool] = False  # the array code reads no value on the host and keeps no array for backward

    def __init__(self, param: pb.LayerParameter, phase: int = TRAIN, context: Context | None = None) -> None:
        self.context = context or Context()
        self.param = param
        self.name: str = param.name
        self._phase = phase
        self.dtype = np.dtype(self.context.dtype)
        self.blobs = BlobList(self.dtype, self.context.space)
        self.set_identity(self.name)
        self.param_propagate_down: list[bool] = []
        self.loss_weights: list[float] = []
        self.param_str: str = param.python_param.param_str

    def set_identity(self, identity: str) -> None:
        """Say what the layer's random stream and its state in snapshots are known by; before it draws.

        It is the name, unless layers without parameters share one.
        """
        self.identity = identity
        self.rng = Stream(self.context.seed, identity)

    @classmethod
    def form(cls, param: pb.LayerParameter) -> LayerClass:
        """The class to make: another one where settings turn a type into a different layer."""
        return cls

    @classmethod
    def coordinates(cls, param: pb.LayerParameter) -> Coordinates | None:
        """How coordinates of the bottoms become those of the tops (dragon.bases.coordinates); None: no map is known."""
        return IDENTITY if cls.pointwise else None

    @classmethod
    def explain_blobs(cls, count: int) -> str:
        """A hint for a weights file with `count` blobs for this layer, when that is not the layer's number."""
        return ""

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
            self.context.space.version += 1

    # -- helpers --------------------------------------------------------------------------------------------
    @property
    def where(self) -> LayerName:
        """How messages and errors name this layer."""
        return LayerName(self.name, self.param.type or self.type)

    def bad_shape(self, message: str) -> NoReturn:
        raise ShapeError(message, layer=self.where)

    def bad_param(self, message: str) -> NoReturn:
        raise PrototxtError(message, layer=self.where)

    def find(self, path: str, what: str) -> str:
        """Path of a file that the prototxt names (see dragon.files.paths). DataError when it does not exist."""
        found = paths.find(path, self.context.folder)
        if found is None:
            hint = paths.missing_hint(path, self.context.folder)
            raise DataError(f'{what} "{path}" does not exist{hint}', layer=self.where)
        return str(found)

    def add_blob(self, shape: Sequence[int], filler: pb.FillerParameter, what: str = "weight") -> Blob:
        """Append a learned blob filled as `filler` says, unless the net already gave this layer its blobs.

        The draw depends on the seed, the layer's name and the blob's index alone: two nets that differ elsewhere
        start from the same weights.
        """
        blob = Blob(shape, self.dtype, self.context.space)
        stream = Stream(self.context.seed, f"{self.name}/blob{len(self.blobs)}")
        try:
            fill(blob.data, filler, stream, f"{what} of shape {tuple(shape)}")
        except DragonError as error:
            error.at(self.where)
            raise
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
