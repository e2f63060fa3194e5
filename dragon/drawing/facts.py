"""What only a net that has been made knows of its layers: shapes of tops, learned values, multiply-adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dragon.bases.registry import class_of
from dragon.errors import DragonError, UsageError, nearest
from dragon.graph.definition import admits
from dragon.graph.net import Net
from dragon.graph.node import multiply_adds, value_counts
from dragon.models.facts import without_fillers
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import read_net
from dragon.surgery.rules import copy_rules

__all__ = ["LayerFacts", "Shape", "facts_of", "with_inputs"]

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LayerFacts:
    """shapes: of the tops. learned: values that training changes. statistics: running averages and the like."""

    shapes: tuple[Shape, ...]
    learned: int
    statistics: int
    multiply_adds: int


def facts_of(
    net: pb.NetParameter, phase: int, shapes: Mapping[str, Shape] | None = None, folder: Path | None = None
) -> tuple[dict[str, LayerFacts], str]:
    """The facts of the layers in a phase, by name, and a remark on what was assumed or left out ("" if nothing was).

    shapes: of blobs that data layers give, in place of the data. Where the data cannot be read, the shape of a data
    layer is that of its crop or of the input of a deploy.prototxt in `folder`. Where the net cannot be made, no layer
    has facts.
    Raises UsageError for a shape of a blob that no data layer gives.
    """
    if shapes:
        return _measured(with_inputs(net, shapes, phase), phase), ""
    try:
        return _measured(net, phase), ""
    except (DragonError, OSError) as error:
        first = error
    assumed, said = _assumed(net, phase, folder)
    if assumed:
        try:
            return _measured(with_inputs(net, assumed, phase), phase), f"the data cannot be read: shapes are for {said}"
        except (DragonError, OSError) as error:
            first = error
    return {}, f"shapes are left out: {' '.join(str(first).split())}"


def _measured(net: pb.NetParameter, phase: int) -> dict[str, LayerFacts]:
    with Net(without_fillers(net), phase=phase, engine="numpy", seed=1) as made:
        found = {}
        for node in made.nodes:
            shapes = tuple(tuple(blob.shape) for blob in node.tops)
            found[node.name] = LayerFacts(shapes, *value_counts(node), multiply_adds(node))
        return found


def _sources(net: pb.NetParameter, phase: int) -> list[pb.LayerParameter]:
    state = pb.NetState(phase=pb.TRAIN if phase == pb.TRAIN else pb.TEST)
    return [layer for layer in net.layer if not layer.bottom and layer.top and admits(layer, state)]


def with_inputs(net: pb.NetParameter, given: Mapping[str, Shape], phase: int) -> pb.NetParameter:
    """A copy of the net in which the data layers of the blobs in `given` are Input layers of these shapes.

    A shape of the name "" is that of the first data layer. A further top of such a layer, its labels, has the first
    axis alone. Raises UsageError for a blob of no data layer.
    """
    tops, shapes = [top for layer in _sources(net, phase) for top in layer.top], dict(given)
    if "" in shapes and tops:
        shapes[tops[0]] = shapes.pop("")
    for name in shapes:
        if name not in tops:
            raise UsageError(f'no data layer gives a blob "{name}"{nearest(name, tops)}; there are {", ".join(tops)}')
    copy = pb.NetParameter()
    copy.CopyFrom(net)
    for layer in copy.layer:
        known = [shapes[top] for top in layer.top if top in shapes]
        if layer.bottom or not known:
            continue
        kept = pb.LayerParameter(name=layer.name, type="Input", top=layer.top)
        copy_rules(layer, kept)
        for top in layer.top:
            kept.input_param.shape.add(dim=shapes.get(top, known[0][:1]))
        layer.CopyFrom(kept)
    return copy


def _assumed(net: pb.NetParameter, phase: int, folder: Path | None) -> tuple[dict[str, Shape], str]:
    """Shapes of the first tops of data layers, and where they come from in words."""
    deployed = _inputs_of(folder / "deploy.prototxt") if folder is not None else {}
    shapes: dict[str, Shape] = {}
    said = []
    for layer in _sources(net, phase):
        if "transform_param" not in class_of(layer).settings:
            continue
        name, batch = layer.top[0], _batch(layer)
        transform = layer.transform_param
        if transform.crop_size:
            channels = 1 if transform.force_gray or len(transform.mean_value) == 1 else 3
            shapes[name] = (batch, channels, transform.crop_size, transform.crop_size)
            said.append(f"{name} {_text(shapes[name])} (its crop)")
        elif name in deployed:
            shapes[name] = (batch, *deployed[name][1:])
            said.append(f"{name} {_text(shapes[name])} (as in deploy.prototxt)")
    return shapes, ", ".join(said)


def _batch(layer: pb.LayerParameter) -> int:
    """The batch size of a data layer, which stands in one of its settings."""
    for field, settings in layer.ListFields():
        if field.name.endswith("_param") and "batch_size" in getattr(field.message_type, "fields_by_name", {}):
            return int(settings.batch_size) or 1
    return 1


def _inputs_of(path: Path) -> dict[str, Sequence[int]]:
    try:
        net = read_net(path) if path.is_file() else pb.NetParameter()
    except DragonError:
        return {}
    found: dict[str, Sequence[int]] = {}
    for layer in net.layer:
        if layer.type == "Input":
            found |= {top: shape.dim for top, shape in zip(layer.top, layer.input_param.shape, strict=False)}
    return found


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape))
