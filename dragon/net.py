"""Net: the layer graph built from a NetParameter, its blobs and parameters, forward and backward.

The net decides what is computed (wiring, sharing, who needs a gradient); an executor decides how.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from dragon.blob import Blob
from dragon.errors import DragonError, NumericError, PrototxtError, ShapeError, UsageError, nearest
from dragon.graph import admits, filter_net, insert_splits, run_state
from dragon.layer import Context, Layer, create
from dragon.proto import dragon_pb2 as pb
from dragon.pynet import PyNet
from dragon.rng import fresh_seed
from dragon.storage import Array

if TYPE_CHECKING:
    from dragon.proto.text import SourceMap

__all__ = ["Net", "Param"]

log = logging.getLogger("dragon")


@dataclass
class Param:
    """A learned blob: `name` is that of its ParamSpec or LAYER/INDEX; multipliers are those of the owner."""

    name: str
    blob: Blob
    layer: str
    index: int
    lr_mult: float
    decay_mult: float
    lr_given: bool
    decay_given: bool


class Net(PyNet):
    """A net ready to run.

    Net(model, phase), Net(model, weights, phase), Net(model, phase, level, stages, weights) or by keyword, where
    `model` is the path of a prototxt or a NetParameter. `weights` is a path or comma-separated paths.

    dtype: float32, or float64 for gradient checks. engine: auto, numpy, onednn or cuda. seed: of fillers and dropout;
    None takes a new one. folder: where the files that a NetParameter names are looked for. Raises PrototxtError for
    the definition, ShapeError for shapes, WeightsError for weights.
    """

    def __init__(
        self,
        model: str | Path | pb.NetParameter | None = None,
        *args: Any,
        network_file: str | Path | None = None,
        phase: int | None = None,
        level: int = 0,
        stages: str | Sequence[str] | None = None,
        weights: str | Path | None = None,
        dtype: DTypeLike = np.float32,
        engine: str | None = None,
        seed: int | None = None,
        allow_python: bool = True,
        allow_unknown: bool = False,
        options: Any = None,
        folder: Path | None = None,
    ) -> None:
        model = network_file if model is None else model
        if model is None:
            raise PrototxtError("Net needs the path of a prototxt or a NetParameter")
        if args:
            phase, level, stages, weights = _positional(args, phase, level, stages, weights)
        definition, source = _definition(model, allow_unknown)
        folder = Path(source.filename).resolve().parent if source else folder
        state = run_state(definition.state, phase, level, stages or [])
        self.phase: int = state.phase
        self.seed = fresh_seed() if seed is None else seed
        self.context = Context(np.dtype(dtype), self.seed, folder=folder, allow_python=allow_python)
        self._positions = _positions(definition, state, source)
        self.param: pb.NetParameter = self._wired(definition, state)
        self.name: str = self.param.name
        self.debug_info = self.param.debug_info
        self.layers: list[Layer] = []
        self.layer_names: list[str] = []
        self.bottoms: list[list[Blob]] = []
        self.tops: list[list[Blob]] = []
        self._bottom_names: list[list[str]] = []
        self._top_names: list[list[str]] = []
        self.bottom_need_backward: list[list[bool]] = []
        self.layer_need_backward: list[bool] = []
        self.blobs: OrderedDict[str, Blob] = OrderedDict()
        self.params: OrderedDict[str, list[Blob]] = OrderedDict()
        self.learnable: list[Param] = []
        self.owned: list[tuple[Blob, Param | None]] = []  # every stored blob once; None: a running statistic
        self.inputs: list[str] = []
        self.outputs: list[str] = []
        self.before_forward_hooks: list[Callable[[int], None]] = []
        self.after_forward_hooks: list[Callable[[int], None]] = []
        self.before_backward_hooks: list[Callable[[int], None]] = []
        self.after_backward_hooks: list[Callable[[int], None]] = []
        self._weighted_shapes: list[list[tuple[int, ...] | None]] = []
        self._blob_need_backward: dict[str, bool] = {}
        self._available: dict[str, None] = {}  # tops nobody has read yet, in order
        self._named_params: dict[str, Param] = {}
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        from dragon.engines import make_executor

        self.executor = make_executor(engine, self, options)
        if weights is not None:
            self.copy_from(weights)

    def _wired(self, definition: pb.NetParameter, state: pb.NetState) -> pb.NetParameter:
        """The layers of this run with their splits; errors say where the layer stands."""
        try:
            return insert_splits(filter_net(definition, state))
        except PrototxtError as error:
            text = str(error)
            for name, position in self._positions.items():
                if text.startswith(f'layer "{name}"'):
                    raise PrototxtError(f"{position}: {text}") from None
            raise

    # -- building -------------------------------------------------------------------------------------------
    def _build(self) -> None:
        names: set[str] = set()
        for index, param in enumerate(self.param.layer):
            if param.name in names:
                log.info('layer name "%s" is used more than once', param.name)
            names.add(param.name)
            try:
                self._add_layer(index, param)
            except (DragonError, MemoryError) as error:
                raise self._placed(error, param) from error
        self._prune_backward()
        self.outputs = list(self._available)
        if not self.layers:
            raise PrototxtError(f'net "{self.name}" has no layer in phase {pb.Phase.Name(self.phase)}')

    def _placed(self, error: BaseException, param: pb.LayerParameter) -> BaseException:
        """The error with the layer's name, and the file and line it stands on, in front."""
        named = _named(error, param)
        position = self._positions.get(param.name)
        return type(named)(f"{position}: {named}") if position and isinstance(named, DragonError) else named

    def _add_layer(self, index: int, param: pb.LayerParameter) -> None:
        phase: int = param.phase if param.HasField("phase") else self.phase
        if param.propagate_down and len(param.propagate_down) != len(param.bottom):
            raise PrototxtError(
                f"propagate_down is given {len(param.propagate_down)} times for {len(param.bottom)} bottoms"
            )
        layer = create(param, phase, self.context)
        bottoms, bottom_names = self._wire_bottoms(param)
        need = any(self._blob_need_backward[n] for n in bottom_names)
        tops, top_names = self._wire_tops(layer, param)
        layer.check_counts(len(bottoms), len(tops))
        layer.setup(bottoms, tops)
        layer.reshape(bottoms, tops)
        self.layers.append(layer)
        self._set_loss_weights(layer, param, tops)
        if layer.type == "Input":
            self.inputs += top_names
        self.layer_names.append(param.name)
        self.bottoms.append(bottoms)
        self.tops.append(tops)
        self._bottom_names.append(bottom_names)
        self._top_names.append(top_names)
        flags = []
        for i, name in enumerate(bottom_names):
            flag = self._blob_need_backward[name]
            if param.propagate_down:
                flag = param.propagate_down[i]
            flags.append(flag)
        if layer.blobs:
            self.params[param.name] = layer.blobs
            need |= self._append_params(layer, param)
        self.layer_need_backward.append(need)
        self.bottom_need_backward.append(flags)
        for name in top_names:
            self._blob_need_backward[name] = need and not layer.is_source

    def _wire_bottoms(self, param: pb.LayerParameter) -> tuple[list[Blob], list[str]]:
        for name in param.bottom:
            if name not in self._available:
                raise PrototxtError(f'unknown bottom "{name}"{nearest(name, self.blobs)}')
        for name in param.bottom:
            self._available.pop(name, None)
        return [self.blobs[n] for n in param.bottom], list(param.bottom)

    def _wire_tops(self, layer: Layer, param: pb.LayerParameter) -> tuple[list[Blob], list[str]]:
        tops: list[Blob] = []
        names: list[str] = list(param.top)
        if layer.auto_tops or layer.is_loss:
            while len(names) < max(layer.tops[0], 1):
                names.append(f"(automatic) {param.name}" + (f" {len(names)}" if names else ""))
        for i, name in enumerate(names):
            in_place = i < len(param.bottom) and param.bottom[i] == name
            if not in_place and name in self.blobs:
                raise PrototxtError(f'top "{name}" is made by another layer already')
            if not in_place:
                self.blobs[name] = Blob((), self.context.dtype, self.context.where)
            tops.append(self.blobs[name])
            self._available[name] = None
        return tops, names

    def _set_loss_weights(self, layer: Layer, param: pb.LayerParameter, tops: Sequence[Blob]) -> None:
        given = list(param.loss_weight)
        if given and len(given) != len(tops):
            raise PrototxtError(f"loss_weight is given {len(given)} times for {len(tops)} tops")
        weights = given or ([1.0] + [0.0] * (len(tops) - 1) if layer.is_loss else [0.0] * len(tops))
        layer.loss_weights = weights
        self._weighted_shapes.append([None] * len(tops))
        self.fill_loss_weights(len(self._weighted_shapes) - 1, tops)

    def fill_loss_weights(self, index: int, tops: Sequence[Blob]) -> None:
        """Put the loss weights into the diffs of a layer's tops that do not hold them yet in their present shape.

        Only then: a script may have put another value there.
        """
        shapes, weights = self._weighted_shapes[index], self.layers[index].loss_weights
        for j, (top, weight) in enumerate(zip(tops, weights, strict=True)):
            if weight and shapes[j] != top.shape:
                top.diff_storage.overwrite()[: top.count] = weight
                shapes[j] = top.shape

    def _append_params(self, layer: Layer, param: pb.LayerParameter) -> bool:
        """Record the layer's learned blobs, tie shared ones to their owner; whether any is learned."""
        if len(param.param) > len(layer.blobs):
            raise PrototxtError(f"{len(param.param)} param entries for a layer with {len(layer.blobs)} parameter blobs")
        learns = False
        layer.param_propagate_down = []
        for i, blob in enumerate(layer.blobs):
            spec = param.param[i] if i < len(param.param) else pb.ParamSpec()
            if i in layer.buffers:
                layer.param_propagate_down.append(False)
                if not spec.name or self._share_buffer(spec.name, layer, i):
                    self.owned.append((blob, None))
                continue
            owner = self._named_params.get(spec.name) if spec.name else None
            if owner is None:
                name = spec.name or f"{param.name}/{i}"
                owner = Param(
                    name, blob, param.name, i, spec.lr_mult, spec.decay_mult,
                    spec.HasField("lr_mult"), spec.HasField("decay_mult"),
                )  # fmt: skip
                self.learnable.append(owner)
                self.owned.append((blob, owner))
                if spec.name:
                    self._named_params[spec.name] = owner
            else:
                self._share_param(owner, blob, spec)
            layer.param_propagate_down.append(owner.lr_mult != 0)
            learns |= owner.lr_mult != 0
        return learns

    def _share_buffer(self, name: str, layer: Layer, index: int) -> bool:
        """Tie a running statistic to the first one of that name; whether this is the first."""
        first: Blob = self.context.states.setdefault(f"buffer {name}", layer.blobs[index])
        if first is not layer.blobs[index]:
            layer.blobs[index].share_data(first)
        return first is layer.blobs[index]

    def _share_param(self, owner: Param, blob: Blob, spec: pb.ParamSpec) -> None:
        what = f'param "{spec.name}" shared with layer "{owner.layer}"'
        if spec.share_mode == pb.ParamSpec.PERMISSIVE:
            if blob.count != owner.blob.count:
                raise ShapeError(f"{what}: {blob.count} elements here, {owner.blob.count} there")
        elif blob.shape != owner.blob.shape:
            raise ShapeError(f"{what}: shape {blob.shape} here, {owner.blob.shape} there")
        for field, given in (("lr_mult", "lr_given"), ("decay_mult", "decay_given")):
            if spec.HasField(field):
                value = getattr(spec, field)
                if getattr(owner, given) and getattr(owner, field) != value:
                    raise PrototxtError(f"{what}: {field} is {value:g} here, {getattr(owner, field):g} there")
                setattr(owner, field, value)
                setattr(owner, given, True)
        blob.share_data(owner.blob)
        blob.share_diff(owner.blob)

    def _prune_backward(self) -> None:
        """Keep backward only for layers on a way from something learned to a loss; all of them when forced."""
        under_loss: set[str] = set()
        skip: set[str] = set()
        for i in reversed(range(len(self.layers))):
            layer, names = self.layers[i], self._top_names[i]
            contributes = any(w or n in under_loss for n, w in zip(names, layer.loss_weights, strict=True))
            if not contributes or all(n in skip for n in names):
                self.layer_need_backward[i] = False
                self.bottom_need_backward[i] = [False] * len(self.bottoms[i])
            for name, wanted in zip(self._bottom_names[i], self.bottom_need_backward[i], strict=True):
                if contributes:
                    under_loss.add(name)
                if not wanted:
                    skip.add(name)
        if self.param.force_backward:
            for i, layer in enumerate(self.layers):
                flags = self.bottom_need_backward[i]
                self.bottom_need_backward[i] = [f or layer.can_propagate(j) for j, f in enumerate(flags)]
                self.layer_need_backward[i] = not layer.is_source
                layer.param_propagate_down = [j not in layer.buffers for j in range(len(layer.blobs))]

    # -- running --------------------------------------------------------------------------------------------
    def run_forward(self, start: int = 0, end: int | None = None) -> float:
        """Run layers start..end (inclusive) and return the weighted sum of their losses."""
        return self.executor.forward(start, len(self.layers) - 1 if end is None else end)

    def run_backward(self, start: int | None = None, end: int = 0) -> None:
        """Run backward from layer `start` (the last) down to `end` (inclusive)."""
        self.executor.backward(len(self.layers) - 1 if start is None else start, end)

    def forward_backward(self) -> float:
        """One forward and one backward pass; the loss."""
        loss = self.run_forward()
        self.run_backward()
        return loss

    def reshape(self) -> None:
        """Propagate changed input shapes through all layers."""
        for layer, bottoms, tops in zip(self.layers, self.bottoms, self.tops, strict=True):
            try:
                layer.reshape(bottoms, tops)
            except DragonError as error:
                raise _named(error, layer.param) from error

    def clear_param_diffs(self) -> None:
        """Set the gradients of all learned blobs to zero."""
        self.executor.clear_param_diffs()

    def close(self) -> None:
        """Stop reading threads and close files."""
        for layer in self.layers:
            layer.close()

    # -- looking in -----------------------------------------------------------------------------------------
    def layer_index(self, name: str) -> int:
        """Position of a layer by name; PrototxtError with the nearest name when there is none."""
        try:
            return self.layer_names.index(name)
        except ValueError:
            raise PrototxtError(f'no layer "{name}"{nearest(name, self.layer_names)}') from None

    def bottom_names_of(self, index: int) -> list[str]:
        return self._bottom_names[index]

    def top_names_of(self, index: int) -> list[str]:
        return self._top_names[index]

    def output_values(self) -> dict[str, Array]:
        """The outputs' newest values, read-only."""
        return {name: self.blobs[name].peek() for name in self.outputs}

    def first_nonfinite(self) -> str | None:
        """Name the first layer that holds or made a NaN or an infinity, or None."""
        for i, layer in enumerate(self.layers):
            for j, blob in enumerate(layer.blobs):
                if not np.isfinite(blob.peek()).all():
                    return f"{layer.where}: its parameter blob {j} is not finite"
            for name, top in zip(self._top_names[i], self.tops[i], strict=True):
                if not np.isfinite(top.peek()).all():
                    return f'{layer.where}: its top "{name}" is not finite'
        return None

    def check_finite(self, loss: float, iteration: int) -> None:
        """NumericError naming the first non-finite layer when the loss is NaN or infinite."""
        if not np.isfinite(loss):
            culprit = self.first_nonfinite() or "no blob is non-finite any more"
            raise NumericError(f"iteration {iteration}: loss is {loss:g}; first in {culprit}")

    # -- weights --------------------------------------------------------------------------------------------
    def copy_from(self, weights: str | Path) -> None:
        """Load weights by layer name from .caffemodel or HDF5 files (several, separated by commas)."""
        from dragon.weights import load_weights

        for path in str(weights).split(","):
            load_weights(self, path)

    def save(self, path: str | Path, write_diff: bool = False) -> None:
        """Write the weights as .caffemodel (HDF5 when the name ends in .h5), atomically."""
        from dragon.weights import save_weights

        save_weights(self, path, write_diff)

    def share_with(self, other: Net) -> None:
        """Use the other net's parameter memory for layers of the same name."""
        for name, blobs in self.params.items():
            source = other.params.get(name)
            if source is None:
                continue
            if len(source) != len(blobs):
                raise ShapeError(f'layer "{name}": {len(blobs)} parameter blobs here, {len(source)} there')
            for i, (mine, theirs) in enumerate(zip(blobs, source, strict=True)):
                if mine.shape != theirs.shape:
                    raise ShapeError(f'layer "{name}" blob {i}: shape {mine.shape} here, {theirs.shape} there')
                mine.share_data(theirs)


def _positional(
    args: tuple[Any, ...],
    phase: int | None,
    level: int,
    stages: str | Sequence[str] | None,
    weights: str | Path | None,
) -> tuple[int | None, int, str | Sequence[str] | None, str | Path | None]:
    """phase, level, stages, weights of a call that gives them by position, in either order scripts use."""
    if len(args) > 4:
        raise UsageError(f"Net takes a model and at most 4 further arguments by position, got {len(args)}")
    if isinstance(args[0], (str, Path)):  # model, weights, phase
        args = (*args[1:2], level, stages, args[0]) if len(args) > 1 else (phase, level, stages, args[0])
    given = (*args, *(phase, level, stages, weights)[len(args) :])
    return given[0], given[1], given[2], given[3]


def _named(error: BaseException, param: pb.LayerParameter) -> BaseException:
    """The error with the layer's name in front, unless it is there already."""
    text = str(error)
    if f'layer "{param.name}"' in text:
        return error
    if isinstance(error, MemoryError):
        return ShapeError(f'layer "{param.name}" ({param.type}): out of memory ({text})')
    return type(error)(f'layer "{param.name}" ({param.type}): {text}')


def _definition(model: str | Path | pb.NetParameter, allow_unknown: bool) -> tuple[pb.NetParameter, SourceMap | None]:
    if isinstance(model, pb.NetParameter):
        from dragon.proto.upgrade import upgrade_net

        return upgrade_net(model), None
    from dragon.proto.text import read_net_with_source

    return read_net_with_source(model, allow_unknown)


def _positions(net: pb.NetParameter, state: pb.NetState, source: SourceMap | None) -> dict[str, str]:
    """file:line of each layer of this run by name."""
    if source is None:
        return {}
    return {
        layer.name: source.where(k)
        for k, layer in enumerate(net.layer)
        if (layer.include and layer.exclude) or admits(layer, state)
    }
