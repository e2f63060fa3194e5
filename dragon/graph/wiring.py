"""Wiring: layers made and connected from a NetParameter, and which of them need a gradient."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Self

from dragon.bases.layer import Context, Layer, create
from dragon.counting import how_many
from dragon.errors import DragonError, LayerName, Position, PrototxtError, ShapeError, nearest
from dragon.graph.definition import admits, filter_net, insert_splits_tracked
from dragon.graph.initial_values import take_initial_values
from dragon.graph.named import AUTOMATIC, Blobs, Params
from dragon.graph.node import Node
from dragon.graph.overwriting import warn_overwritten
from dragon.graph.parameters import ParamTable
from dragon.memory.blob import Blob
from dragon.memory.shortage import error_of_layer
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.proto.layer_names import name_layers

__all__ = ["Wiring"]

log = logging.getLogger("dragon")


_NOT_IN_PLACE = "changes the shape, so it cannot work in place: give its top another name"
_OVERWRITES = (
    "its gradient needs the bottom that it would overwrite, so it cannot work in place: give its top another name"
)
_STOPS = "passes no gradient on, so it cannot work in place above a layer that needs one: give its top another name"


class Wiring:
    """The nodes of one run with their blobs. Raises PrototxtError and ShapeError with the layer's name and position."""

    def __init__(self, definition: Definition[pb.NetParameter], state: pb.NetState, context: Context) -> None:
        self.context = context
        self.phase: int = state.phase
        self._start = definition.start
        self.param, positions = _to_run(definition, state)
        self.name: str = self.param.name
        self.nodes: list[Node] = []
        self.blobs = Blobs()
        self.params = Params()
        self.table = ParamTable()
        self.inputs: list[str] = []
        self._blob_need_backward: dict[str, bool] = {}
        self._name_counts: Counter[str] = Counter()
        self._available: dict[str, None] = {}  # tops that no layer has read yet, in order
        try:
            self._build(positions)
        except BaseException:
            self.close()
            raise
        self.outputs = sorted(self._available)  # the order of "net output #K" in logs, as in Caffe

    def close(self) -> None:
        """Stop the threads that read data, and close their files; may be called twice. Blobs keep their values."""
        for node in self.nodes:
            node.layer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # -- building -------------------------------------------------------------------------------------------
    def _build(self, positions: Sequence[Position | None]) -> None:
        for param, position in zip(self.param.layer, positions, strict=True):
            try:
                self._add_layer(param, position)
            except DragonError as error:
                error.at(LayerName(param.name, param.type), position)
                raise
            except MemoryError as error:
                raise error_of_layer(ShapeError, error, LayerName(param.name, param.type), position) from error
        self._prune_backward()
        self._loosen()
        if self.phase == pb.TRAIN or self.param.force_backward:  # else nobody is to go backward
            warn_overwritten(self.nodes)
        if not self.nodes:
            phase = pb.Phase.Name(self.phase)
            raise PrototxtError(f'net "{self.name}" has no layer in phase {phase}', position=self._start)

    def _add_layer(self, param: pb.LayerParameter, position: Position | None) -> None:
        phase: int = param.phase if param.HasField("phase") else self.phase
        if param.propagate_down and len(param.propagate_down) != len(param.bottom):
            raise PrototxtError(
                f"propagate_down is given {how_many(len(param.propagate_down), 'time')} for "
                f"{how_many(len(param.bottom), 'bottom')}"
            )
        layer = create(param, phase, self.context)
        layer.set_identity(self._identity(param.name))
        bottoms, bottom_names = self._wire_bottoms(param)
        need = any(self._blob_need_backward[n] for n in bottom_names)
        tops, top_names = self._wire_tops(layer, param)
        layer.check_counts(len(bottoms), len(tops))
        in_place = [(blob, blob.shape) for blob in tops if any(blob is bottom for bottom in bottoms)]
        if in_place and layer.is_loss:
            raise ShapeError(_NOT_IN_PLACE)
        layer.setup(bottoms, tops)
        layer.reshape(bottoms, tops)
        user_code = layer.runs_user_code
        if not user_code and any(blob.shape != shape for blob, shape in in_place):
            raise ShapeError(_NOT_IN_PLACE)
        if not user_code and in_place and not layer.works_in_place:
            raise ShapeError(_OVERWRITES)
        if in_place and (need or self.param.force_backward) and not layer.can_propagate(0):
            raise ShapeError(_STOPS)
        if not user_code and all(blob.count for blob in bottoms):
            self._check_not_empty(tops, top_names)
        node = Node(len(self.nodes), param, layer, bottoms, bottom_names, tops, top_names, position)
        self.nodes.append(node)
        layer.loss_weights = _loss_weights(layer, param, len(tops))
        node.fill_loss_weights()
        if layer.is_input:
            self.inputs += top_names
        flags = [self._blob_need_backward[name] for name in bottom_names]
        node.propagate_down = list(param.propagate_down) or flags
        if param.blobs:
            take_initial_values(layer, param)
        if layer.blobs:
            self._check_name(param.name)
            self.params[param.name] = layer.blobs
            need |= self.table.add(layer)
        node.need_backward = need
        for name in top_names:
            self._blob_need_backward[name] = need and not layer.is_source and not layer.stops_gradient

    def _loosen(self) -> None:
        """Let regions, whose number changes in each run, go from one layer on the host to another without new plans.

        Not through a Split, which an engine may leave out: its tops would keep their shape.
        """
        for top in [top for node in self.nodes if node.layer.stops_gradient for top in node.tops]:
            readers = [node.layer for node in self.nodes if any(bottom is top for bottom in node.bottoms)]
            if readers and all(layer.host_only for layer in readers):
                top.loosen()

    def _identity(self, name: str) -> str:
        """The name of a layer in random streams and snapshots: its own, numbered if an earlier layer has it too."""
        before = self._name_counts[name]
        self._name_counts[name] += 1
        if before:
            log.info('layer name "%s" is used more than once', name)
        return f"{name} ({before + 1})" if before else name

    def _check_name(self, name: str) -> None:
        """Raise PrototxtError if an earlier layer with parameters has this name: weights files find layers by name."""
        if name in self.params:
            first = next(node for node in self.nodes if node.name == name and node.layer.blobs)
            place = f" ({first.position})" if first.position else ""
            raise PrototxtError(
                f"another layer with parameters has this name{place}; weights are found by name, so each needs its own"
            )

    def _check_not_empty(self, tops: list[Blob], names: list[str]) -> None:
        """Raise ShapeError for a top without elements: reshapes may empty it later, the definition should not."""
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
                names.append(f"{AUTOMATIC} {layer.identity}" + (f" {len(names)}" if names else ""))
        for i, name in enumerate(names):
            in_place = i < len(param.bottom) and param.bottom[i] == name
            if not in_place and name in self.blobs:
                raise PrototxtError(f'top "{name}" is made by another layer already')
            if not in_place:
                self.blobs[name] = Blob((), self.context.dtype, self.context.space)
            tops.append(self.blobs[name])
            self._available[name] = None
        return tops, names

    def _prune_backward(self) -> None:
        """Let only layers on a path from a learned blob to a loss run backward; all of them with force_backward."""
        under_loss: set[str] = set()
        skip: set[str] = set()
        for node in reversed(self.nodes):
            names = node.top_names
            contributes = any(w or n in under_loss for n, w in zip(names, node.loss_weights, strict=True))
            if node.need_backward and node.makes_loss and all(n in skip for n in names):
                log.warning(
                    "%s: another layer reads its loss, so it gives no gradient, as in Caffe; "
                    "loss_weight: 1, written out, makes it count",
                    node.layer.where,
                )
            if not contributes or all(n in skip for n in names):
                node.need_backward = False
                node.propagate_down = [False] * len(node.bottoms)
            for name, wanted in zip(node.bottom_names, node.propagate_down, strict=True):
                if contributes:
                    under_loss.add(name)
                if not wanted:
                    skip.add(name)
        if self.param.force_backward:
            for node in self.nodes:
                layer = node.layer
                node.propagate_down = [f or layer.can_propagate(j) for j, f in enumerate(node.propagate_down)]
                node.need_backward = not layer.is_source
                layer.param_propagate_down = [j not in layer.buffers for j in range(len(layer.blobs))]


def _loss_weights(layer: Layer, param: pb.LayerParameter, tops: int) -> list[float]:
    """The weight of each top in the loss: as defined, else 1 for the first top of a loss layer."""
    given = list(param.loss_weight)
    if given and len(given) != tops:
        raise PrototxtError(f"loss_weight is given {how_many(len(given), 'time')} for {how_many(tops, 'top')}")
    return given or ([1.0] + [0.0] * (tops - 1) if layer.is_loss else [0.0] * tops)


def _to_run(
    definition: Definition[pb.NetParameter], state: pb.NetState
) -> tuple[pb.NetParameter, list[Position | None]]:
    """The net of this run with its splits, and the position of each layer in its file."""
    net = name_layers(definition.message)
    positions: list[Position | None] = []
    for k, layer in enumerate(net.layer):
        position = definition.position(k)
        try:
            if admits(layer, state):
                positions.append(position)
        except PrototxtError as error:
            error.at(position=position)
            raise
    return insert_splits_tracked(filter_net(net, state), positions, net)
