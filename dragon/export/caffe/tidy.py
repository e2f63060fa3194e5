"""Makes a net for deployment small: layers that copy in TEST go, others work in place where that changes nothing."""

from __future__ import annotations

from collections import Counter

from google.protobuf.message import Message

from dragon.bases.layer import Layer
from dragon.bases.neuron import Neuron
from dragon.bases.registry import class_of
from dragon.layers.batch_norm import BatchNorm
from dragon.layers.bias import Bias
from dragon.layers.dropout import Dropout
from dragon.layers.noisy_bn import NoisyBN
from dragon.layers.prelu import PReLU
from dragon.layers.scale import Scale
from dragon.proto import dragon_pb2 as pb

__all__ = ["inputs_first", "let_work_in_place", "without_copies", "without_training"]

_IN_PLACE: tuple[type[Layer], ...] = (Neuron, PReLU, BatchNorm, Scale, Bias)


def _copies(layer: pb.LayerParameter) -> bool:
    """Whether a layer copies its bottom in TEST."""
    kind = class_of(layer)
    return issubclass(kind, NoisyBN) or (issubclass(kind, Dropout) and layer.dropout_param.scale_train)


def without_copies(net: pb.NetParameter) -> list[str]:
    """Take out the layers that copy their bottoms in TEST; their names. Outputs keep their names."""
    removed = []
    index = 0
    while index < len(net.layer):
        layer = net.layer[index]
        if not _copies(layer) or not _take_out(net, index):
            index += 1
            continue
        removed.append(layer.name)
        del net.layer[index]
    return removed


def _take_out(net: pb.NetParameter, index: int) -> bool:
    """Let the readers of a layer's top read its bottom; False where the top is an output that would lose its name."""
    old, new = net.layer[index].top[0], net.layer[index].bottom[0]
    if old == new:
        return True
    later = net.layer[index + 1 :]
    if not any(old in layer.bottom for layer in later):
        return _rename_maker(net, index, new, old)
    if any(new in layer.top for layer in later) or _ends_as(net, index + 1, old):
        return False  # another layer overwrites the bottom, or the name is that of an output
    for layer in later:
        for k, name in enumerate(layer.bottom):
            if name == old:
                layer.bottom[k] = new
        for k, name in enumerate(layer.top):
            if name == old:
                layer.top[k] = new
    return True


def _rename_maker(net: pb.NetParameter, index: int, old: str, new: str) -> bool:
    """Give the value that a layer reads the name of its top, an output; False where other layers read it too."""
    before = net.layer[:index]
    readers = [layer for layer in before if old in layer.bottom and old not in layer.top]
    readers += [layer for layer in net.layer[index + 1 :] if old in layer.bottom]
    makers = [layer for layer in before if old in layer.top]
    if readers or any(class_of(layer).is_source for layer in makers):
        return False
    for layer in makers:
        for names in (layer.bottom, layer.top):
            for k, name in enumerate(names):
                if name == old:
                    names[k] = new
    return True


def let_work_in_place(net: pb.NetParameter) -> list[str]:
    """Let layers that compute each value from the same one overwrite their bottoms, if nobody else reads these.

    Returns their names. Outputs keep their names, and inputs their values.
    """
    changed = []
    for index, layer in enumerate(net.layer):
        if not (issubclass(class_of(layer), _IN_PLACE) and len(layer.bottom) == len(layer.top) == 1):
            continue
        old, new = layer.top[0], layer.bottom[0]
        if old == new or _is_needed(net, index, new) or _ends_as(net, index, old):
            continue
        if any(old in other.top for other in net.layer[:index]):
            continue
        layer.top[0] = new
        for later in net.layer[index + 1 :]:
            for names in (later.bottom, later.top):
                for k, name in enumerate(names):
                    if name == old:
                        names[k] = new
        changed.append(layer.name)
    return changed


def _is_needed(net: pb.NetParameter, index: int, blob: str) -> bool:
    """Whether a layer besides `index` reads its bottom's value or memory, or that value comes from a source."""
    others = [layer for i, layer in enumerate(net.layer) if i != index]
    made = [layer for layer in net.layer[:index] if blob in layer.top]
    if any(class_of(layer).is_source or not layer.bottom for layer in made) or not made:
        return True
    for i, layer in enumerate(net.layer[:index]):
        shares = blob in layer.top and blob not in layer.bottom and class_of(layer).passes_memory
        if shares and (len(layer.top) > 1 or _is_needed(net, i, layer.bottom[0])):
            return True  # the tops of a Split, a Flatten or a Reshape are the memory of its bottom
    return any(blob in layer.bottom and blob not in layer.top for layer in others) or any(
        blob in layer.top for layer in net.layer[index + 1 :]
    )


def _ends_as(net: pb.NetParameter, index: int, blob: str) -> bool:
    """Whether the last value of a blob is an output of the net: then it keeps its name."""
    readers: Counter[str] = Counter()
    for layer in net.layer[index:]:
        readers.update(layer.bottom)
        for name in layer.top:
            readers[name] = 0
    return not readers[blob]


def without_training(net: pb.NetParameter) -> None:
    """Take out what only training reads: multipliers of parameters that are not shared, and their fillers."""
    net.ClearField("state")
    for layer in net.layer:
        if not any(spec.name for spec in layer.param):
            layer.ClearField("param")
        for _, settings in layer.ListFields():
            if isinstance(settings, Message):
                for field, _ in settings.ListFields():
                    filler = field.message_type is not None and field.message_type.name == "FillerParameter"
                    if filler and field.name != "data_filler":  # that of DummyData is what it computes
                        settings.ClearField(field.name)


def inputs_first(net: pb.NetParameter) -> None:
    """Put the Inputs before all other layers, in their own order."""
    ordered = sorted(net.layer, key=lambda layer: not class_of(layer).is_input)
    copies = [pb.LayerParameter() for _ in ordered]
    for copy, layer in zip(copies, ordered, strict=True):
        copy.CopyFrom(layer)
    del net.layer[:]
    net.layer.extend(copies)
