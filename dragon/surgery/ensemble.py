"""Several nets of one definition side by side in one net, which votes by the mean of their class probabilities."""

from __future__ import annotations

from dragon.bases.registry import class_of
from dragon.counting import how_many
from dragon.errors import UsageError
from dragon.layers.accuracy import Accuracy
from dragon.layers.eltwise import Eltwise
from dragon.layers.parameter import Parameter
from dragon.layers.softmax import Softmax
from dragon.proto import dragon_pb2 as pb
from dragon.surgery.model import Model, Note, silent_note
from dragon.surgery.rules import copy_rules

__all__ = ["ensemble", "member_name"]

_MOST = 100


def ensemble(model: Model, count: int, note: Note = silent_note) -> Model:
    """A model with `count` copies of all layers behind the data, and the accuracy of their mean class probabilities.

    The first copy keeps its names, the others are net2/NAME, net3/NAME, ... Nothing is shared but the data, and each
    copy has its own loss, so each learns as if it were alone; fillers and Dropout differ, since they draw by the name
    of the layer. For each Accuracy NAME there is ensemble_NAME: the same measure of the mean of the copies' softmax.
    If the model has weights, every copy gets them. Raises UsageError for fewer than two copies and for a net without
    Accuracy.
    """
    if isinstance(count, bool) or not isinstance(count, int) or not 2 <= count <= _MOST:
        raise UsageError(f"ensemble: count is a whole number from 2 to {_MOST}, got {count!r}")
    new = model.copy()
    own = [layer for layer in model.net.layer if not _is_data(layer)]
    measures = [layer for layer in own if issubclass(class_of(layer), Accuracy)]
    if not measures:
        raise UsageError(f'net "{model.net.name}" has no layer of type Accuracy, which an ensemble is measured by')
    shared = {top for layer in model.net.layer if _is_data(layer) for top in layer.top}
    values = {top for layer in own for top in layer.top} - shared
    for k in range(2, count + 1):
        for layer in own:
            new.net.layer.append(_member(layer, k, values))
            if layer.name in model.arrays:
                new.arrays[member_name(layer.name, k)] = list(model.arrays[layer.name])
    for measure in measures:
        _add_vote(new.net, measure, count, own)
        note(f"added ensemble_{measure.name}, of {how_many(count, 'copy')}")
    return new


def member_name(name: str, k: int) -> str:
    """The name of a layer or blob in copy k, the first being 1."""
    return name if k == 1 else f"net{k}/{name}"


def _is_data(layer: pb.LayerParameter) -> bool:
    kind = class_of(layer)
    return kind.is_source and not issubclass(kind, Parameter)


def _member(layer: pb.LayerParameter, k: int, values: set[str]) -> pb.LayerParameter:
    copied = pb.LayerParameter()
    copied.CopyFrom(layer)
    copied.name = member_name(layer.name, k)
    for names in (copied.bottom, copied.top):
        for i, name in enumerate(names):
            names[i] = member_name(name, k) if name in values else name
    for spec in copied.param:
        if spec.name:
            spec.name = member_name(spec.name, k)
    return copied


def _add_vote(net: pb.NetParameter, measure: pb.LayerParameter, count: int, own: list[pb.LayerParameter]) -> None:
    """Add the mean of the copies' probabilities, and their accuracy, in the phases of `measure`."""
    scores, labels = measure.bottom[0], list(measure.bottom[1:])
    maker = next((layer for layer in reversed(own) if scores in layer.top), None)
    ready = maker is not None and issubclass(class_of(maker), Softmax)
    votes = []
    for k in range(1, count + 1):
        vote = member_name(scores, k)
        if not ready:
            layer = _beside(net, measure, member_name(f"vote_{measure.name}", k), Softmax.type, [vote])
            layer.softmax_param.axis = measure.accuracy_param.axis
            vote = layer.name
        votes.append(vote)
    mean = _beside(net, measure, f"mean_{measure.name}", Eltwise.type, votes)
    mean.eltwise_param.operation = pb.EltwiseParameter.SUM
    mean.eltwise_param.coeff.extend([1 / count] * count)
    last = net.layer.add()
    last.CopyFrom(measure)
    last.name = f"ensemble_{measure.name}"
    last.bottom[:] = [mean.name, *labels]
    last.top[:] = [f"ensemble_{top}" for top in measure.top]


def _beside(
    net: pb.NetParameter, measure: pb.LayerParameter, name: str, kind: str, bottoms: list[str]
) -> pb.LayerParameter:
    """Add a layer in the phases of `measure`, with its own name as top; return it."""
    layer = net.layer.add(name=name, type=kind, bottom=bottoms, top=[name])
    copy_rules(measure, layer)
    return layer
