"""What is left of a net for deployment: its layers of phase TEST, without losses, with Inputs for its data layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dragon.bases.layer import TEST
from dragon.bases.margin_product import MarginProduct
from dragon.bases.registry import class_of
from dragon.bases.weighted import Weighted
from dragon.errors import DragonError, LayerName, PrototxtError, UsageError
from dragon.graph.definition import definition_of, filter_definition, places_of, run_state
from dragon.graph.net import Net
from dragon.layers.accuracy import Accuracy
from dragon.layers.detection_evaluate import DetectionEvaluate
from dragon.layers.focal_loss import FocalLoss
from dragon.layers.infogain_loss import InfogainLoss
from dragon.layers.labelsequence_accuracy import LabelsequenceAccuracy
from dragon.layers.softmax_with_loss import SoftmaxWithLoss
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.proto.layer_blobs import without_blobs
from dragon.proto.layer_names import name_layers
from dragon.surgery.fold import fold
from dragon.surgery.model import Model, arrays_of
from dragon.surgery.normalisations import find_normalisations

__all__ = ["Deployed", "deploy", "input_for", "read_deployed"]

_SCORES = (Accuracy, DetectionEvaluate, LabelsequenceAccuracy, MarginProduct)
_Value = tuple[int, int]  # layer and top that made it: a layer in place makes a new value of the same name


@dataclass
class Deployed:
    """A net for deployment.

    definition: its layers, those of phase TEST. data: by the name of an Input's top, the data layer that stood there.
    notes: lines about what was left out, and why.
    """

    definition: Definition[pb.NetParameter]
    data: dict[str, pb.LayerParameter] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def net(
        self,
        weights: str | None = None,
        *,
        seed: int = 1,
        allow_python: bool | None = None,
        engine: str = "numpy",
    ) -> Net:
        """The net in phase TEST, on the reference engine unless another is named. Raises DragonError."""
        return Net(self.definition, phase=TEST, weights=weights, engine=engine, seed=seed, allow_python=allow_python)

    def folded(self, weights: str | None = None, *, seed: int = 1) -> Net:
        """As `net`, with each batch normalisation folded into the layer before it where that can be done.

        Adds to the notes what was folded and what was left. `definition` becomes that of the folded net.
        """
        return self.fold(self.net(weights, seed=seed))

    def fold(self, net: Net) -> Net:
        """As `folded`, for a net that `net` made: it is closed, or returned if there is nothing to fold."""
        if not find_normalisations(self.definition.message):
            return net
        with net:
            arrays = arrays_of(net)
        new, done, left = fold(Model(without_blobs(self.definition.message), arrays, self.definition.folder))
        self.notes += [f"folded {name} into {target}" for name, target in done]
        self.notes += [f"left {name}: {why}" for name, why in left]
        places = places_of(self.definition)
        lines = tuple(places[layer.name].line if layer.name in places else 0 for layer in new.net.layer)
        self.definition = replace(self.definition, message=new.net, lines=lines)
        made = self.net(seed=net.seed, engine=net.executor.name)
        for name, values in new.arrays.items():
            for blob, value in zip(made.params[name], values, strict=True):
                blob.data[...] = value.reshape(blob.shape)
        return made


def read_deployed(
    model: str | Path | Definition[pb.NetParameter],
    *,
    level: int = 0,
    stages: Sequence[str] = (),
    shape: Sequence[int] | None = None,
) -> Deployed:
    """What `deploy` makes of a net in its phase TEST. Raises DragonError."""
    definition = definition_of(model)
    state = run_state(definition.message.state, TEST, level, list(stages))
    try:
        return deploy(filter_definition(definition, state, name_layers(definition.message)), shape)
    except DragonError as error:
        error.at(position=definition.start)
        raise


def deploy(definition: Definition[pb.NetParameter], shape: Sequence[int] | None = None) -> Deployed:
    """The part of a net, of which all layers are to run, that makes its outputs from its inputs.

    Losses, accuracies and other layers that only score or store are left out, with all that only they need. What they
    scored becomes an output; probabilities that a loss makes are made by a Softmax. Each data layer becomes an Input
    with those of its tops that are still read; `shape` is that of the first, in place of the one that its data has.
    Raises DragonError, with the layer, for data that cannot be read; UsageError for a net of which nothing is left.
    """
    found = _Deployment(definition)
    return found.result(shape)


class _Deployment:
    """The values of a net, which of them are wanted, and the layers that make these."""

    def __init__(self, definition: Definition[pb.NetParameter]) -> None:
        self.definition = definition
        self.net = pb.NetParameter()
        self.net.CopyFrom(definition.message)
        self.layers = [_without_loss(layer) for layer in definition.message.layer]
        self.kinds = [class_of(layer) for layer in self.layers]
        self.sources: list[list[_Value]] = []  # the values that each layer reads
        self.readers: Counter[_Value] = Counter()
        newest: dict[str, _Value] = {}
        for i, layer in enumerate(self.layers):
            for name in layer.bottom:
                if name not in newest:
                    raise PrototxtError(
                        f'unknown bottom "{name}"',
                        layer=LayerName(layer.name, layer.type),
                        position=definition.position(i),
                    )
            self.sources.append([newest[name] for name in layer.bottom])
            self.readers.update(self.sources[-1])
            newest |= {name: (i, j) for j, name in enumerate(layer.top)}
        self.dropped = self._dropped()
        self.learned: list[bool] = []  # whether what a layer makes depends on weights
        for i, kind in enumerate(self.kinds):
            self.learned.append(issubclass(kind, Weighted) or any(self.learned[k] for k, _ in self.sources[i]))

    def _dropped(self) -> set[int]:
        """The layers that only score or store, and those that read what they make."""
        dropped: set[int] = set()
        for i, kind in enumerate(self.kinds):
            only_scores = kind.is_loss or issubclass(kind, _SCORES) or kind.tops == (0, 0)
            if only_scores or any(source in dropped for source, _ in self.sources[i]):
                dropped.add(i)
        return dropped

    def _wanted(self) -> set[_Value]:
        wanted: set[_Value] = set()
        for i, layer in enumerate(self.layers):
            if i not in self.dropped:
                wanted |= {(i, j) for j in range(len(layer.top)) if not self.readers[i, j]}
            elif not (self.kinds[i].tops == (0, 0) and self.kinds[i].passes_memory):  # a Silence scores nothing
                scored = [value for value in self.sources[i] if value[0] not in self.dropped]
                learned = [value for value in scored if self.learned[value[0]]]
                wanted |= set(learned or scored[:1])
        return {(i, j) for i, j in wanted if not self.kinds[i].is_source}

    def result(self, shape: Sequence[int] | None) -> Deployed:
        needed, stack = set(self._wanted()), list(self._wanted())
        while stack:
            for value in self.sources[stack.pop()[0]]:
                if value not in needed:
                    needed.add(value)
                    stack.append(value)
        kept = {i for i, _ in needed}
        if not kept:
            raise UsageError("nothing of the net is left without its losses and data layers")
        lines = self.definition.lines
        kept_lines = tuple(line for i, line in enumerate(lines) if i in kept)
        made = Deployed(replace(self.definition, message=self.net, lines=kept_lines))
        del self.net.layer[:]
        for i, (layer, kind) in enumerate(zip(self.layers, self.kinds, strict=True)):
            if i not in kept:
                if i in self.dropped:
                    read = ", ".join(f'"{name}"' for name in layer.bottom)
                    made.notes.append(f"left out: {layer.name} ({layer.type}), which reads {read}")
                elif kind.is_input and not any(self.readers[i, j] for j in range(len(layer.top))):
                    made.notes.append(f"left out: {layer.name} ({layer.type}), which no layer reads")
            elif kind.is_source and not kind.is_input:
                tops = [name for j, name in enumerate(layer.top) if (i, j) in needed]
                self.net.layer.append(input_for(layer, tops, shape, self.definition.folder))
                made.data |= dict.fromkeys(tops, layer)
                shape = None
            else:
                self.net.layer.add().CopyFrom(layer)
                if kind.is_input and shape is not None:
                    sizes = self.net.layer[-1].input_param.shape
                    if not sizes:
                        sizes.add()
                    del sizes[0].dim[:]
                    sizes[0].dim.extend(shape)
                    shape = None
        for layer in self.net.layer:
            for conditions in (layer.include, layer.exclude):
                del conditions[:]
        return made


def input_for(
    layer: pb.LayerParameter, tops: Sequence[str], shape: Sequence[int] | None, folder: Path | None, phase: int = TEST
) -> pb.LayerParameter:
    """An Input for some tops of a data layer; `shape` is that of the first, else the shapes are those of its data.

    folder: in which files are looked for. Raises DragonError for data that cannot be read.
    """
    new = pb.LayerParameter(name=layer.name, type="Input", top=tops)
    if shape is not None:
        shapes = {name: shape if k == 0 else shape[:1] for k, name in enumerate(tops)}
    else:
        alone = pb.NetParameter(layer=[layer])
        try:
            with Net(Definition(alone, folder=folder), phase=phase, engine="numpy", seed=1) as net:
                shapes = {name: net.blobs[name].shape for name in tops}
        except DragonError as error:
            error.hint = error.hint or "give the shape of its data, --shape N,C,H,W, or a deploy prototxt"
            raise
    for name in tops:
        new.input_param.shape.add(dim=shapes[name])
    return new


def _without_loss(layer: pb.LayerParameter) -> pb.LayerParameter:
    """A Softmax in place of a loss whose second top holds the probabilities; other layers as they are."""
    kind = class_of(layer)
    if not issubclass(kind, SoftmaxWithLoss | InfogainLoss | FocalLoss) or len(layer.top) < 2:
        return layer
    axis = layer.infogain_loss_param.axis if issubclass(kind, InfogainLoss) else layer.softmax_param.axis
    new = pb.LayerParameter(name=layer.name, type="Softmax", bottom=layer.bottom[:1], top=layer.top[1:2])
    new.softmax_param.axis = axis
    return new
