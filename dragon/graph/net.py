"""Net: a wired graph with an engine that runs it, its weights in and out.

The net decides what is computed (wiring, sharing, which blobs need a gradient); an executor decides how.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict, cast

import numpy as np
from numpy.typing import DTypeLike

from dragon.bases.layer import Context
from dragon.counting import how_many
from dragon.errors import ArgumentTypeError, DragonError, LayerName, NumericError, ShapeError, UsageError
from dragon.files.paths import split_paths
from dragon.graph.definition import definition_of, run_state
from dragon.graph.run_lock import exclusive
from dragon.memory.blob import Blob
from dragon.memory.collecting import without_collecting
from dragon.memory.storage import Array, Storage
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.pycaffe.net import PyNet
from dragon.rng import checked_seed, fresh_seed
from dragon.share import ALONE, Share

if TYPE_CHECKING:
    from dragon.bases.source import Prefetched
    from dragon.engines.base import Options
    from dragon.graph.update import Update

__all__ = ["Net", "NetSettings"]


class NetSettings(TypedDict, total=False):
    """Keyword arguments of Net that a subclass with a constructor of its own passes on."""

    level: int
    stages: str | Sequence[str] | None
    dtype: DTypeLike
    engine: str | None
    seed: int | None
    allow_python: bool
    allow_unknown: bool
    profile: str | None
    options: Options | None


class Net(PyNet):
    """A net ready to run.

    Net(model, phase), Net(model, weights, phase), Net(model, phase, level, stages, weights) or by keyword, where
    `model` is the path of a prototxt, a NetParameter, or a Definition: one with its file or folder. `weights` is a path
    or comma-separated paths.

    dtype: float32, or float64 for gradient checks. engine: auto, numpy, onednn or cuda. seed: of fillers and dropout;
    None: that of set_random_seed, else a random one.
    share: the part of a training on several ranks. profile: the dialect of the prototxt, if it does not say so itself
    (see dragon.proto.dialects).

    One thread at a time may run a net; a second one gets a UsageError. `close`, the end of a `with` block, and garbage
    collection of the net stop the threads that read data and close their files.

    Raises UsageError for arguments that cannot be used, PrototxtError for the definition, ShapeError for shapes,
    WeightsError for weights.
    """

    default_phase: ClassVar[int | None] = None  # for nets that are made without one; None: that of the definition

    @without_collecting()
    def __init__(
        self,
        model: str | Path | pb.NetParameter | Definition[pb.NetParameter] | None = None,
        *args: int | str | Path | Sequence[str] | None,
        network_file: str | Path | None = None,
        phase: int | None = None,
        level: int = 0,
        stages: str | Sequence[str] | None = None,
        weights: str | Path | None = None,
        dtype: DTypeLike = np.float32,
        engine: str | None = None,
        seed: int | None = None,
        allow_python: bool | None = None,
        allow_unknown: bool = False,
        profile: str | None = None,
        options: Options | None = None,
        share: Share = ALONE,
    ) -> None:
        model = network_file if model is None else model
        if model is None:
            raise ArgumentTypeError("Net needs the path of a prototxt or a NetParameter")
        if args:
            phase, level, stages, weights = _positional(args, phase, level, stages, weights)
        definition = definition_of(model, allow_unknown, profile)
        folder = None if definition.folder is None else definition.folder.resolve()
        phase = self.default_phase if phase is None else phase
        state = run_state(definition.message.state, phase, level, stages or [])
        self.seed = fresh_seed() if seed is None else checked_seed(seed)
        context = Context(_float_type(dtype), self.seed, folder=folder, allow_python=allow_python, share=share)
        super().__init__(definition, state, context)
        self.learnable = self.table.learnable
        self.owned = self.table.owned
        self.debug_info = self.param.debug_info
        self._readers = [
            (i, cast("Prefetched", n.layer), n.tops) for i, n in enumerate(self.nodes) if n.layer.reads_ahead
        ]
        from dragon.engines import make_executor

        self.executor = make_executor(engine, self, options)
        if weights is not None:
            self.copy_from(weights)

    # -- running --------------------------------------------------------------------------------------------
    @exclusive
    def run_forward(self, start: int = 0, end: int | None = None) -> float:
        """Run layers start..end (inclusive) and return the weighted sum of their losses."""
        end = len(self.nodes) - 1 if end is None else end
        self.look_ahead(start, end)
        return self.executor.forward(start, end)

    @exclusive
    def run_backward(self, start: int | None = None, end: int = 0) -> None:
        """Run backward from layer `start` (the last) down to `end` (inclusive)."""
        self.executor.backward(len(self.nodes) - 1 if start is None else start, end)

    @exclusive
    def forward_backward(self) -> float:
        """Run one forward and one backward pass and return the loss."""
        self.look_ahead()
        return self.executor.forward_backward()

    @exclusive
    def forward_backward_in_parts(self, ends: Sequence[int], ready: Callable[[int], None]) -> float:
        """As `forward_backward`, calling `ready` meanwhile: see Executor.forward_backward_in_parts."""
        self.look_ahead()
        return self.executor.forward_backward_in_parts(ends, ready)

    @exclusive
    def whole_step(self, updater: Update, rate: float, iteration: int) -> float | None:
        """Run a whole training iteration and return its loss; None, with nothing done, if the engine cannot.

        See Executor.whole_step.
        """
        self.look_ahead()
        return self.executor.whole_step(updater, rate, iteration)

    def look_ahead(self, start: int = 0, end: int | None = None) -> None:
        """Reshape the tops of layers start..end (inclusive) that prefetch data to the batches they will return next."""
        for i, layer, tops in self._readers:
            if start <= i and (end is None or i <= end):
                layer.look_ahead(tops)

    @exclusive
    def reshape(self) -> None:
        """Propagate changed input shapes through all layers. Raises ShapeError where they do not fit."""
        for node in self.nodes:
            try:
                node.layer.reshape(node.bottoms, node.tops)
            except DragonError as error:
                error.at(node.layer.where, node.position)
                raise

    def clear_param_diffs(self) -> None:
        """Set the gradients of all learned blobs to zero."""
        self.executor.clear_param_diffs()

    # -- showing itself -------------------------------------------------------------------------------------
    def summary(self, width: int | None = None) -> str:
        """The layers with shapes, parameters, multiply-adds and memory, as `dragon summarize` prints them.

        width: the most characters of a line; None for lines of any length.
        """
        from dragon.graph.summary import net_text

        return net_text(self, width)

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        from dragon.graph.facts import parameter_count

        phase, layers, count = pb.Phase.Name(self.phase), len(self.nodes), parameter_count(self)
        return (
            f"<Net {self.name!r}: {how_many(layers, 'layer')}, {how_many(count, 'parameter')}, {phase}, "
            f"engine {self.executor.name}>"
        )

    def _repr_html_(self) -> str:
        from dragon.notebook import net_html

        return net_html(self)

    def __dir__(self) -> list[str]:
        return sorted(set(super().__dir__()) - _INTERNAL)

    # -- looking in -----------------------------------------------------------------------------------------
    def output_values(self) -> dict[str, Array]:
        """The newest values of the net's outputs by name, read-only."""
        return {name: self.blobs[name].peek() for name in self.outputs}

    def first_nonfinite(self) -> str | None:
        """The first layer with a parameter or a top that holds a NaN or an infinity, as text; None if there is none."""
        for node in self.nodes:
            for j, blob in enumerate(node.layer.blobs):
                if not np.isfinite(blob.peek()).all():
                    return f"{node.layer.where}: its parameter blob {j} is not finite"
            for name, top in zip(node.top_names, node.tops, strict=True):
                if not np.isfinite(top.peek()).all():
                    return f'{node.layer.where}: its top "{name}" is not finite'
        return None

    def check_finite(self, loss: float, iteration: int, find: Callable[[], str | None] | None = None) -> None:
        """Raise NumericError, naming the first layer with a non-finite value, when the loss is NaN or infinite.

        find: finds it; `first_nonfinite` by default.
        """
        if not np.isfinite(loss):
            culprit = (find or self.first_nonfinite)() or "no blob is non-finite any more"
            raise NumericError(f"iteration {iteration}: loss is {loss:g}; first in {culprit}")

    def check_parameters(self, iteration: int) -> None:
        """Raise NumericError, naming the first layer that has one, if a parameter is NaN or infinite."""
        for node in self.nodes:
            for j, blob in enumerate(node.layer.blobs):
                if not np.isfinite(blob.peek()).all():
                    raise NumericError(
                        f"iteration {iteration}: {node.layer.where}: its parameter blob {j} is not finite, "
                        "so there is nothing to save"
                    )

    # -- weights --------------------------------------------------------------------------------------------
    def copy_from(self, weights: str | Path | Sequence[str | Path], also: Sequence[Net] = ()) -> None:
        """Load weights by layer name from .caffemodel or HDF5 files (several, in a list or separated by commas).

        also: nets that share the parameters of this one, such as test nets: their own layers get weights too.
        WeightsError when a file cannot be used; then nothing has changed.
        """
        from dragon.files.weights import load_weights, note_missing

        paths = split_paths(str(weights)) if isinstance(weights, (str, Path)) else list(weights)
        note_missing(self, ",".join(map(str, paths)), load_weights(self, paths, also=also))

    def save(self, path: str | Path, write_diff: bool = False) -> None:
        """Write the weights as .caffemodel (HDF5 when the name ends in .h5), atomically."""
        from dragon.files.weights import save_weights

        save_weights(self, path, write_diff)

    def share_with(self, other: Net) -> None:
        """Use the other net's parameter memory for layers of the same name, and for those that share their parameters.

        Raises ShapeError where shapes or types of numbers differ.
        """
        for mine, theirs in self.shared_blobs(other):
            mine.share_data(theirs)

    def shared_blobs(self, other: Net) -> list[tuple[Blob, Blob]]:
        """Parameter blobs here, each with the blob of the other net whose memory `share_with` gives it.

        Raises ShapeError where shapes or types of numbers differ.
        """
        pairs: list[tuple[Blob, Blob]] = []
        tied: dict[Storage, Blob] = {}
        for name, blobs in self.params.items():
            source = other.params.get(name)
            if source is None:
                continue
            if len(source) != len(blobs):
                raise ShapeError(
                    f"{how_many(len(blobs), 'parameter blob')} here, {len(source)} there", layer=LayerName(name)
                )
            for i, (mine, theirs) in enumerate(zip(blobs, source, strict=True)):
                if mine.shape != theirs.shape:
                    raise ShapeError(f'layer "{name}" blob {i}: shape {mine.shape} here, {theirs.shape} there')
                if mine.dtype != theirs.dtype:
                    raise ShapeError(f'layer "{name}" blob {i}: {mine.dtype} here, {theirs.dtype} there')
                tied.setdefault(mine.data_storage, theirs)
                pairs.append((mine, theirs))
        for name, blobs in self.params.items():
            if name not in other.params:
                pairs += [(blob, tied[blob.data_storage]) for blob in blobs if blob.data_storage in tied]
        return pairs


# Parts of a net that its engine, its solver and the tools use: scripts have other ways, and completion leaves them out.
_INTERNAL = frozenset(
    {"bottom_names_of", "check_finite", "check_parameters", "context", "executor", "first_nonfinite"}
    | {"forward_backward_in_parts", "layer_index", "learnable", "look_ahead", "nodes", "output_values", "owned"}
    | {"run_backward", "run_forward", "run_lock", "table", "top_names_of", "whole_step"}
)

_Positional = tuple[int | None, int, str | Sequence[str] | None, str | Path | None]


def _float_type(dtype: DTypeLike) -> np.dtype[Any]:
    """The type of the values of a net. Raises UsageError for one in which nets are not computed."""
    try:
        found = np.dtype(dtype)
    except TypeError:
        raise ArgumentTypeError(f"the dtype of a net is float32 or float64, got {dtype!r}") from None
    if found not in (np.float32, np.float64):
        raise UsageError(f"the dtype of a net is float32 or float64, got {found}")
    return found


def _positional(
    args: Sequence[int | str | Path | Sequence[str] | None],
    phase: int | None,
    level: int,
    stages: str | Sequence[str] | None,
    weights: str | Path | None,
) -> _Positional:
    """phase, level, stages and weights of a call with positional arguments, in either order that scripts use."""
    if len(args) > 4:
        raise UsageError(f"Net takes a model and at most 4 further arguments by position, got {len(args)}")
    if isinstance(args[0], (str, Path)):  # model, weights, phase
        if len(args) > 2:
            raise UsageError(f"Net takes a model, weights and a phase by position, got {len(args) - 2} more")
        args = (*args[1:2], level, stages, args[0]) if len(args) > 1 else (phase, level, stages, args[0])
    return cast(_Positional, (*args, *(phase, level, stages, weights)[len(args) :]))
