"""The base class of all layers.

Order of calls: `check_counts`, `setup` once, `reshape` (before every run, so inputs may change size), then `forward`
and `backward`. Settings are validated in `setup`; shapes are checked in `reshape` and nowhere else.

In `forward` and `backward` a blob's `data` and `diff` are arrays of the engine that runs (NumPy or CuPy); take the
array library from them with `xp_of`. `backward` overwrites the diffs of bottoms and adds to the diffs of the layer's
own blobs, which the solver clears.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from dragon.bases.coordinates import IDENTITY, Coordinates
from dragon.bases.fillers import fill, may_wait
from dragon.bases.registry import create, find_class, layer_types, register
from dragon.counting import how_many
from dragon.errors import DataError, DragonError, LayerName, PrototxtError, ShapeError
from dragon.files import paths
from dragon.memory.blob import Blob, BlobList
from dragon.memory.shortage import error_of_layer
from dragon.memory.storage import Array, ArraySpace
from dragon.proto import dragon_pb2 as pb
from dragon.rng import Stream
from dragon.share import ALONE, Share

__all__ = ["TEST", "TRAIN", "Context", "Layer", "create", "find_class", "layer_types", "register"]

TRAIN: int = pb.TRAIN
TEST: int = pb.TEST


@dataclass
class Context:
    """What a net gives its layers besides their definitions."""

    dtype: DTypeLike = np.float32
    seed: int = 0
    space: ArraySpace = field(default_factory=ArraySpace)
    folder: Path | None = None  # of the prototxt
    allow_python: bool | None = None  # None: dragon.bases.user_code decides
    states: dict[str, Any] = field(default_factory=dict)  # shared by the layers of one net, by name
    share: Share = ALONE  # of a training on several ranks


def _fill_flat(
    where: LayerName, shape: tuple[int, ...], filler: bytes, seed: int, name: str, who: str, host: Array
) -> None:
    # a stream of its own, so that a filler which was interrupted gives the same numbers when it runs again
    try:
        fill(host.reshape(shape), pb.FillerParameter.FromString(filler), Stream(seed, name), who)
    except MemoryError as error:  # as where a net is made
        raise error_of_layer(ShapeError, error, where) from error


LayerClass: TypeAlias = "type[Layer]"  # an alias, since inside the class `type` is an attribute


class Layer:
    """Base of all layers. A subclass is the reference of its type; engines may have faster lowerings.

    The class attributes are what is known about a type. Tools and engines read them and never compare names, so that
    aliases and new layers are treated alike. The base classes in this package set most of them.
    """

    # -- the type and its settings --------------------------------------------------------------------------
    type: ClassVar[str] = ""  # the main name in a prototxt
    aliases: ClassVar[tuple[str, ...]] = ()  # further names, set by `register`
    settings: ClassVar[tuple[str, ...]] = ()  # fields of LayerParameter that the layer reads, the usual one first
    one_of_settings: ClassVar[bool] = False  # the layer reads one of `settings`, not all of them
    defaults: ClassVar[Mapping[str, str]] = {}  # the meaning of unset fields whose default is not in the schema
    unlimited: ClassVar[frozenset[str]] = frozenset()  # numbers among the settings that may be infinite, such as limits

    # -- bottoms, tops and blobs ----------------------------------------------------------------------------
    bottoms: ClassVar[tuple[int, int | None]] = (1, 1)  # minimum and maximum; None: no limit
    tops: ClassVar[tuple[int, int | None]] = (1, 1)
    equal_bottom_top: ClassVar[bool] = False
    auto_tops: ClassVar[bool] = False  # the net adds missing tops
    # indices of blobs that are running statistics: saved with the net, never seen by the solver
    buffers: frozenset[int] = frozenset()

    # -- what it does ---------------------------------------------------------------------------------------
    is_loss: ClassVar[bool] = False  # the first top has loss weight 1 by default
    is_source: ClassVar[bool] = False  # has no bottoms, and nothing to propagate to
    reads_data: ClassVar[bool] = False  # a source whose data comes from files or from the program
    reads_ahead: ClassVar[bool] = False  # a source whose batches a thread reads ahead (dragon.bases.source.Prefetched)
    is_input: ClassVar[bool] = False  # a source whose tops the caller fills
    takes_arrays: ClassVar[bool] = False  # a source that has nothing to give before a program gives it arrays
    runs_user_code: ClassVar[bool] = False  # its code may do anything, such as reshape or overwrite its bottoms
    stops_gradient: ClassVar[bool] = False  # its tops need no gradient, and those of its bottoms are 0
    passes_memory: ClassVar[bool] = False  # forward computes nothing: the tops, if any, share the memory of bottom 0
    works_in_place: ClassVar[bool] = False  # in place, gradients do not need what was overwritten, or it is saved
    keeps_signs: ClassVar[bool] = False  # in place over a ReLU, it leaves the signs that the ReLU's backward needs
    backward_from_top: ClassVar[bool] = False  # in place, backward needs only the top (unless `needs_input` is set)
    is_activation: ClassVar[bool] = (
        False  # a non-linear function of each element, which nets have behind a weighted sum
    )
    removes_mean: ClassVar[bool] = False  # the mean of each channel is subtracted, and a bias before it with the mean
    pointwise: ClassVar[bool] = False  # a spatial position of the top depends on the same one of the bottoms
    size_bottoms: ClassVar[frozenset[int]] = frozenset()  # bottoms of which only the shape is used
    keeps_statistics: ClassVar[bool] = False  # keeps running statistics for TEST
    scores_detections: ClassVar[bool] = (
        False  # its top has a row for each detection, of which tests give average precisions
    )
    gives_boxes: ClassVar[bool] = False  # its top has a row for each box that it finds: item, label, score, corners
    family: ClassVar[str] = ""  # how dragon.pycaffe.draw colours it

    # -- where it can run -----------------------------------------------------------------------------------
    host_only: ClassVar[str] = ""  # why the layer runs on the host on every engine; "" if it does not have to
    takes_share: ClassVar[bool] = False  # a source that reads the part of one of several ranks (`context.share`)
    gives_bytes: ClassVar[bool] = False  # a source that can give its images as uint8, for the engine to transform
    capturable: ClassVar[bool] = False  # its array code reads no value on the host and keeps no array for backward
    runs_in_int8: ClassVar[bool] = False  # multiplies its bottoms by blob 0, which engines may do in int8

    # -- set by engines -------------------------------------------------------------------------------------
    labels_checked: bool = False  # a kernel checks the labels: those out of range may count as 0

    def __init__(self, param: pb.LayerParameter, phase: int = TRAIN, context: Context | None = None) -> None:
        if context is None and "context" in vars(self):
            return  # called by the __init__ of a user's class, which knows the first argument alone (layers/python.py)
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

    def __repr__(self) -> str:
        return f"<{self.type or type(self).__name__} layer {self.name!r}>"

    def set_identity(self, identity: str) -> None:
        """Set the name that the layer's random stream is seeded by and its state is stored under in snapshots.

        To be called before the layer draws. It is the name of the layer, unless layers without parameters share one.
        """
        self.identity = identity
        self.rng = Stream(self.context.seed, identity, self.context.share)

    @classmethod
    def form(cls, param: pb.LayerParameter) -> LayerClass:
        """The class to instantiate for a definition; another one where settings make a different layer of the type."""
        return cls

    @classmethod
    def coordinates(cls, param: pb.LayerParameter) -> Coordinates | None:
        """The map from coordinates of bottoms to those of tops (see dragon.bases.coordinates), or None."""
        return IDENTITY if cls.pointwise else None

    @classmethod
    def explain_blobs(cls, count: int) -> str:
        """A hint for the error about a weights file that has `count` blobs for this layer, which has another number."""
        return ""

    @classmethod
    def differs_by_phase(cls, param: pb.LayerParameter) -> bool:
        """Whether a layer of this definition computes other tops in TRAIN than in TEST from the same values."""
        return False

    # -- for a layer to override ---------------------------------------------------------------------------
    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Validate the settings and add the learned blobs; called once. Raises PrototxtError, ShapeError, DataError."""

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Check the shapes of the bottoms and set those of the tops. Raises ShapeError."""
        raise NotImplementedError

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Compute the data of the tops from the data of the bottoms."""
        raise NotImplementedError

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Compute gradients from the diffs of the tops.

        Overwrites the diff of each bottom i with `propagate_down[i]`, and adds to the diffs of learned blobs. Raises
        PrototxtError where a gradient is asked for that does not exist.
        """
        raise NotImplementedError

    @property
    def reads_top(self) -> bool:
        """Whether backward reads the values of a top that is not its bottom as well."""
        return False

    @property
    def reads_top_in_place(self) -> bool:
        """Whether backward reads the values of the top where that is the bottom as well."""
        return self.reads_top or self.backward_from_top

    @property
    def reads_signs(self) -> bool:
        """Whether the signs of these values are all that backward reads."""
        return False

    @property
    def top_range(self) -> tuple[float, float] | None:
        """The ends of the range of the values of the top, for activations whose gradient vanishes there; else None."""
        return None

    def can_propagate(self, index: int) -> bool:
        """Whether bottom `index` can have a gradient (labels cannot)."""
        return True

    def multiply_adds(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """Multiply-adds of one forward pass with the layer's weights; 0 for a layer without."""
        return 0

    @property
    def guess_score(self) -> float | None:
        """What the first top would be if the scores of all classes were chance; None if that makes no sense."""
        return None

    def state(self) -> dict[str, int | float | bytes]:
        """What a snapshot stores besides blobs and random stream, to resume exactly; for example a data position."""
        return {}

    def load_state(self, state: dict[str, int | float | bytes]) -> None:
        """Restore what `state` returned. Raises DataError or WeightsError for a state that does not fit."""

    def close(self) -> None:
        """Release threads and files; may be called twice."""

    @property
    def phase(self) -> int:
        """TRAIN or TEST; may be changed between runs."""
        return self._phase

    @phase.setter
    def phase(self, phase: int) -> None:
        if phase != self._phase:
            self._phase = phase
            self.context.space.exchanged()

    # -- helpers --------------------------------------------------------------------------------------------
    @property
    def where(self) -> LayerName:
        """How messages and errors name this layer."""
        return LayerName(self.name, self.param.type or self.type)

    def bad_shape(self, message: str) -> NoReturn:
        """Raise ShapeError with the layer's name."""
        raise ShapeError(message, layer=self.where)

    def bad_param(self, message: str) -> NoReturn:
        """Raise PrototxtError with the layer's name."""
        raise PrototxtError(message, layer=self.where)

    @contextmanager
    def naming_errors(self) -> Iterator[None]:
        """Add the layer's name to an error of the block."""
        try:
            yield
        except DragonError as error:
            error.at(self.where)
            raise

    def find(self, path: str, what: str) -> str:
        """Path of a file that the prototxt names (see dragon.files.paths). Raises DataError if it does not exist.

        what: the kind of the file, for the message.
        """
        found = paths.find(path, self.context.folder)
        if found is None:
            hint = paths.missing_hint(path, self.context.folder)
            raise DataError(f'{what} "{path}" does not exist{hint}', layer=self.where)
        return str(found)

    def add_blob(self, shape: Sequence[int], filler: pb.FillerParameter, what: str = "weight") -> Blob:
        """Append a learned blob, filled as `filler` says; zeros where the definition has the values, as in Caffe.

        what: the blob's name for messages. The random values depend only on the seed, the name of the layer and the
        index of the blob, so nets that differ elsewhere start from the same weights. Raises PrototxtError, ShapeError.
        """
        blob = Blob(shape, self.dtype, self.context.space)
        seed, name = self.context.seed, f"{self.name}/blob{len(self.blobs)}"
        who = f"{what} of shape {tuple(shape)}"
        if self.param.blobs:
            pass  # dragon.graph.initial_values copies them; even a filler that does not exist is no error
        elif may_wait(blob.shape, filler):  # weights from a file or of another net may come first
            settings = filler.SerializeToString()  # which can be pickled
            blob.data_storage.fill_later(partial(_fill_flat, self.where, blob.shape, settings, seed, name, who))
        else:
            with self.naming_errors():
                fill(blob.data, filler, Stream(seed, name), who)
        self.blobs.append(blob)
        return blob

    def axis(self, axis: int, ndim: int) -> int:
        """`axis`, of which negative values count from the end, as an index. Raises ShapeError if it is out of range."""
        if not -ndim <= axis < ndim:
            self.bad_shape(f"axis {axis} is out of range for a bottom with {how_many(ndim, 'axis')}")
        return axis % ndim if ndim else 0

    def check_counts(self, n_bottom: int, n_top: int) -> None:
        """Raise PrototxtError unless the layer takes this many bottoms and tops."""
        for what, n, (least, most) in (("bottom", n_bottom, self.bottoms), ("top", n_top, self.tops)):
            if n < least or (most is not None and n > most):
                if least == most:
                    expected = f"exactly {least}"
                elif most is None:
                    expected = f"at least {least}"
                else:
                    expected = f"{least} to {most}"
                self.bad_param(f"takes {expected} {what} {'blob' if expected == 'exactly 1' else 'blobs'}, got {n}")
        if self.equal_bottom_top and n_bottom != n_top:
            self.bad_param(
                f"takes as many tops as bottoms, got {how_many(n_bottom, 'bottom')} and {how_many(n_top, 'top')}"
            )
