"""From a definition to boxes and arrows: a box holds a layer with the normalisation and activation that follow it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dragon.bases.batch_statistics import BatchStatistics
from dragon.bases.neuron import Neuron
from dragon.bases.registry import class_of
from dragon.counting import how_many
from dragon.drawing.facts import LayerFacts, Shape
from dragon.graph.chains import Link, is_link, phases
from dragon.proto import dragon_pb2 as pb

__all__ = ["Box", "Diagram", "Part", "diagram", "shape_text", "window_text"]

Facts = Mapping[str, LayerFacts]

_ANY = ""  # the colour of layers without a family


@dataclass(frozen=True)
class Part:
    """A layer in a box. settings: its window and outputs in words. facts: None where no net could be made."""

    name: str
    type: str
    settings: str
    family: str
    only: str  # "TRAIN" or "TEST" for a layer of one phase
    tops: tuple[str, ...]
    is_source: bool
    facts: LayerFacts | None


@dataclass(frozen=True)
class Box:
    """One layer, or several that are drawn as one; the first gives name and colour."""

    parts: tuple[Part, ...]

    @property
    def name(self) -> str:
        """The name of the first layer."""
        return self.parts[0].name

    @property
    def family(self) -> str:
        """The family of the first layer that has one."""
        return next((part.family for part in self.parts if part.family), _ANY)

    @property
    def is_source(self) -> bool:
        """Whether the box reads nothing."""
        return self.parts[0].is_source

    @property
    def learned(self) -> int:
        """Learned values of all layers; 0 where they are not known."""
        return sum(part.facts.learned for part in self.parts if part.facts)


@dataclass(frozen=True)
class Diagram:
    """Boxes in the order of the net, and arrows (from, to, blob) between their indices."""

    name: str
    boxes: tuple[Box, ...]
    arrows: tuple[tuple[int, int, str], ...]


def shape_text(shape: Shape) -> str:
    """A shape with a real multiplication sign; `1` for a blob without axes."""
    return "×".join(map(str, shape)) or "1"


def diagram(
    net: pb.NetParameter, facts: Mapping[int, Facts] | None = None, grouped: bool = True, rates: bool = False
) -> Diagram:
    """The diagram of an upgraded net, all of its layers.

    facts: of the layers by name, for each phase. grouped: a normalisation, Scale, activation or dropout that is the
    only reader of the layer before it stands in that layer's box. rates: settings state the multipliers of the learning
    rate.
    """
    groups = _groups(net) if grouped else [[i] for i in range(len(net.layer))]
    box_of = {i: k for k, group in enumerate(groups) for i in group}
    boxes = tuple(Box(tuple(_part(net.layer[i], facts or {}, rates) for i in group)) for group in groups)
    arrows: dict[tuple[int, int, str], None] = {}
    for maker, reader, blob in _values(net):
        if box_of[maker] != box_of[reader]:
            arrows[box_of[maker], box_of[reader], blob] = None
    return Diagram(net.name or "Net", boxes, tuple(arrows))


def _values(net: pb.NetParameter) -> list[tuple[int, int, str]]:
    """Who makes and who reads each value, by index, in each phase; an in-place layer makes a new value."""
    newest: dict[tuple[int, str], int] = {}
    found: dict[tuple[int, int, str], None] = {}
    for i, layer in enumerate(net.layer):
        for phase in phases(layer):
            for bottom in layer.bottom:
                if (phase, bottom) in newest:
                    found[newest[phase, bottom], i, bottom] = None
        for phase in phases(layer):
            newest.update({(phase, top): i for top in layer.top})
    return list(found)


def _groups(net: pb.NetParameter) -> list[list[int]]:
    """Indices of layers that share a box, in order."""
    readers: dict[int, set[int]] = {}
    for maker, reader, _ in _values(net):
        readers.setdefault(maker, set()).add(reader)
    group_of: dict[int, list[int]] = {}
    for i, layer in enumerate(net.layer):
        group = group_of.setdefault(i, [i])
        following = readers.get(i, set())
        if len(following) != 1 or len(layer.top) != 1 or not layer.bottom or any(layer.loss_weight):
            continue
        (reader,) = following
        if phases(net.layer[reader]) == phases(layer) and _follows(net.layer[reader]):
            group.append(reader)
            group_of[reader] = group
    return list({id(group): group for group in group_of.values()}.values())


def _follows(layer: pb.LayerParameter) -> bool:
    """Whether a layer may stand in the box of the layer before it."""
    kind = class_of(layer)
    if len(layer.bottom) != 1 or len(layer.top) != 1:
        return False
    return issubclass(kind, BatchStatistics | Neuron) or is_link(Link.SCALE, layer) or kind.family == "normalisation"


def _part(layer: pb.LayerParameter, facts: Mapping[int, Facts], rates: bool) -> Part:
    kind = class_of(layer)
    found = phases(layer)
    own = next((facts[p][layer.name] for p in sorted(found) if layer.name in facts.get(p, {})), None)
    only = pb.Phase.Name(next(iter(found))) if len(found) == 1 else ""
    settings = _settings(layer)
    if rates and layer.param:
        settings = ", ".join([settings] * bool(settings) + ["lr " + " ".join(f"{p.lr_mult:g}" for p in layer.param)])
    return Part(layer.name, layer.type, settings, kind.family, only, tuple(layer.top), not layer.bottom, own)


def window_text(values: list[int], height: int, width: int, default: int) -> str:
    """A window, stride or pad as prototxt states it: one number for all axes, one for each, or height and width."""
    if height or width:
        return f"{height}x{width}"
    return "x".join(str(v) for v in values) if values else str(default)


def _settings(layer: pb.LayerParameter) -> str:
    """`7x7, stride 2, pad 3, 64 outputs, 2 groups`; what is as by default is left out."""
    said = []
    for name in class_of(layer).settings:
        param = getattr(layer, name)
        if isinstance(param, pb.PoolingParameter):
            said.append(pb.PoolingParameter.PoolMethod.Name(param.pool))
        if isinstance(param, pb.EltwiseParameter):
            said.append(pb.EltwiseParameter.EltwiseOp.Name(param.operation))
        if isinstance(param, pb.PoolingParameter | pb.ConvolutionParameter):
            said += _window(param)
        if getattr(param, "num_output", 0):
            said.append(how_many(param.num_output, "output"))
        if isinstance(param, pb.ConvolutionParameter) and param.group > 1:
            said.append(how_many(param.group, "group"))
    return ", ".join(said)


def _window(param: pb.ConvolutionParameter | pb.PoolingParameter) -> list[str]:
    if isinstance(param, pb.PoolingParameter) and param.global_pooling:
        return ["global"]
    said = []
    for what, plain in (("kernel", 0), ("stride", 1), ("pad", 0)):
        size = getattr(param, "kernel_size" if what == "kernel" else what)
        shape = getattr(param, f"{what}_shape", None)
        values = list(shape.dim) if shape is not None and shape.dim else size
        values = [values] if isinstance(values, int) else list(values)
        text = window_text([v for v in values if v], getattr(param, f"{what}_h"), getattr(param, f"{what}_w"), plain)
        if what == "kernel":
            said.append(text if "x" in text else f"{text}x{text}")
        elif text != str(plain):
            said.append(f"{what} {text}")
    dilation = getattr(param, "dilation", [])
    return said + ([f"dilation {window_text(list(dilation), 0, 0, 1)}"] if any(d != 1 for d in dilation) else [])
