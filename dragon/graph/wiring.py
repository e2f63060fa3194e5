"""Wiring: layers made and connected from a NetParameter, and which of them need a gradient."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence

from dragon.bases.layer import Context, Layer, create
from dragon.errors import DragonError, PrototxtError, ShapeError, nearest
from dragon.graph.definition import admits, filter_net, insert_splits
from dragon.graph.parameters import ParamTable
from dragon.memory.blob import Blob, BlobList
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import SourceMap

__all__ = ["Wiring"]

log = logging.getLogger("dragon")


_NOT_IN_PLACE = "changes the shape, so it cannot work in place: give its top another name"


class Wiring:
    """The layers of one run with their blobs. Raises PrototxtError and ShapeError that say where the layer stands."""

    def __init__(
        self, definition: pb.NetParameter, state: pb.NetState, context: Context, source: SourceMap | None
    ) -> None:
        self.context = context
        self.phase: int = state.phase
        self._positions = _positions(definition, state, source)
        self._file = f"{source.filename}: " if source else ""
        self.param: pb.NetParameter = self._wired(definition, state)
        self.name: str = self.param.name
        self.layers: list[Layer] = []
        self.layer_names: list[str] = []
        self.bottoms: list[list[Blob]] = []
        self.tops: list[list[Blob]] = []
        self._bottom_names: list[list[str]] = []
        self._top_names: list[list[str]] = []
        self.bottom_need_backward: list[list[bool]] = []
        self.layer_need_backward: list[bool] = []
        self.blobs: OrderedDict[str, Blob] = OrderedDict()
        self.params: OrderedDict[str, BlobList] = OrderedDict()
        self.table = ParamTable()
        self.inputs: list[str] = []
        self._weighted_shapes: list[list[tuple[int, ...] | None]] = []
        self._blob_need_backward: dict[str, bool] = {}
        self._available: dict[str, None] = {}  # tops nobody has read yet, in order
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        self.outputs = list(self._available)

    def close(self) -> None:
        """Stop reading threads and close files."""
        for layer in self.layers:
            layer.close()

    def bottom_names_of(self, index: int) -> list[str]:
        return self._bottom_names[index]

    def top_names_of(self, index: int) -> list[str]:
        return self._top_names[index]

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
                raise self.placed(error, param) from error
        self._prune_backward()
        if not self.layers:
            raise PrototxtError(f'{self._file}net "{self.name}" has no layer in phase {pb.Phase.Name(self.phase)}')

    def placed(self, error: BaseException, param: pb.LayerParameter) -> BaseException:
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
        in_place = [(blob, blob.shape) for blob in tops if any(blob is bottom for bottom in bottoms)]
        if in_place and layer.is_loss:
            raise ShapeError(_NOT_IN_PLACE)
        layer.setup(bottoms, tops)
        layer.reshape(bottoms, tops)
        free = layer.type == "Python"
        if not free and any(blob.shape != shape for blob, shape in in_place):
            raise ShapeError(_NOT_IN_PLACE)
        if not free and all(blob.count for blob in bottoms):
            self._check_full(tops, top_names)
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
            need |= self.table.add(layer)
        self.layer_need_backward.append(need)
        self.bottom_need_backward.append(flags)
        for name in top_names:
            self._blob_need_backward[name] = need and not layer.is_source

    def _check_full(self, tops: list[Blob], names: list[str]) -> None:
        """Refuse blobs without elements: later reshapes may empty them, a definition that starts so is a mistake."""
        for blob, name in zip(tops, names, strict=True):
            if not blob.count:
                raise ShapeError(f'top "{name}" of shape {blob.shape} has no element')

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


def _named(error: BaseException, param: pb.LayerParameter) -> BaseException:
    """The error with the layer's name in front, unless it is there already."""
    text = str(error)
    if f'layer "{param.name}"' in text:
        return error
    if isinstance(error, MemoryError):
        return ShapeError(f'layer "{param.name}" ({param.type}): out of memory ({text})')
    return type(error)(f'layer "{param.name}" ({param.type}): {text}')


def _positions(net: pb.NetParameter, state: pb.NetState, source: SourceMap | None) -> dict[str, str]:
    """file:line of each layer of this run by name."""
    if source is None:
        return {}
    return {
        layer.name: source.where(k)
        for k, layer in enumerate(net.layer)
        if (layer.include and layer.exclude) or admits(layer, state)
    }
