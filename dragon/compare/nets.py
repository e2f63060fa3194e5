"""Nets of a comparison: settings overridden, data replaced, and parameters matched between split and merged forms."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from google.protobuf import json_format
from google.protobuf.message import Message

from dragon.bases.batch_statistics import BatchStatistics, normalization_of
from dragon.bases.registry import canonical, class_of
from dragon.compare.yaml_tree import Section, plain
from dragon.errors import DataError, UsageError, nearest, one_line
from dragon.graph.chains import Graph, Link
from dragon.graph.net import Net
from dragon.memory.blob import Blob
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition

__all__ = [
    "as_inputs",
    "copy_parameters",
    "fix_paths",
    "normalised",
    "override",
    "override_layers",
    "parameters",
    "reads_data",
    "use_dataset",
]


# -- overrides -----------------------------------------------------------------------------------------------
def override(message: Message, changes: Section) -> None:
    """Set the fields that a YAML mapping names. Raises UsageError for an unknown field or a value of another type."""
    known = message.DESCRIPTOR.fields_by_name
    for key, value in changes.values.items():
        if key not in known:
            type_name = message.DESCRIPTOR.name
            changes.fail(f'"{changes.name(key)}": {type_name} has no field "{key}"{nearest(key, known)}', key)
        if isinstance(value, Section):
            if known[key].message_type is None or known[key].is_repeated:
                changes.fail(f'"{changes.name(key)}" must be a value or a list, got a mapping', key)
            getattr(message, key).SetInParent()
            override(getattr(message, key), value)
            continue
        if known[key].is_repeated:
            message.ClearField(key)
            value = value if isinstance(value, list) else [value]
        try:
            json_format.ParseDict({key: plain(value)}, message)
        except json_format.ParseError as error:
            changes.fail(f'"{changes.name(key)}": {one_line(str(error))}', key)


def override_layers(net: pb.NetParameter, changes: Section) -> None:
    """Set fields of all layers of a type or name, by YAML mappings. Raises UsageError if there is no such layer."""
    for key, fields in changes.values.items():
        matching = [layer for layer in net.layer if key == layer.name or canonical(key) == canonical(layer.type)]
        if not matching:
            known = {layer.name for layer in net.layer} | {layer.type for layer in net.layer}
            changes.fail(f'"{changes.name(key)}": the net has no layer of this name or type{nearest(key, known)}', key)
        if not isinstance(fields, Section):
            changes.fail(f'"{changes.name(key)}" must be a mapping of layer fields, got {fields!r}', key)
        for layer in matching:
            override(layer, fields)


# -- data ----------------------------------------------------------------------------------------------------
def reads_data(net: pb.NetParameter) -> list[pb.LayerParameter]:
    """The layers that read a database."""
    return [layer for layer in net.layer if "data_param" in class_of(layer).settings]


def fix_paths(definition: Definition[pb.NetParameter]) -> None:
    """Resolve a net's data paths against the folder of its file, so that they hold without the file too."""
    folder = (definition.folder or Path()).resolve()
    for layer in reads_data(definition.message):
        for message, key in ((layer.data_param, "source"), (layer.transform_param, "mean_file")):
            path = getattr(message, key)
            if path and not Path(path).exists() and (folder / path).exists():
                setattr(message, key, str(folder / path))


def use_dataset(net: pb.NetParameter, folder: str) -> None:
    """Let the Data layers read a folder made by `dragon data`. Raises DataError if the folder lacks their data."""
    root = Path(folder)
    for layer in reads_data(net):
        train = not layer.include or any(rule.phase == pb.TRAIN for rule in layer.include)
        part = "train" if train else "test"
        found = sorted(root.glob(f"*_{part}_lmdb"))
        if len(found) != 1:
            raise DataError(f'"{folder}" holds {len(found)} folders *_{part}_lmdb, expected one')
        layer.data_param.source = str(found[0])
        layer.data_param.backend = pb.DataParameter.LMDB
        if layer.transform_param.mean_file:
            layer.transform_param.mean_file = str(root / "mean.binaryproto")


def as_inputs(net: pb.NetParameter, shapes: Mapping[str, tuple[int, ...]], phase: int) -> pb.NetParameter:
    """The net of one phase with an Input layer in place of each data layer. shapes: shape of each top by name."""
    result = pb.NetParameter()
    result.CopyFrom(net)
    del result.layer[:]
    for layer in net.layer:
        if layer.include and not any(rule.phase == phase for rule in layer.include):
            continue
        if not class_of(layer).reads_data:
            result.layer.add().CopyFrom(layer)
            continue
        source = result.layer.add(name=layer.name, type="Input", top=layer.top)
        for top in layer.top:
            source.input_param.shape.add(dim=shapes[top])
    return result


# -- parameters ----------------------------------------------------------------------------------------------
def normalised(net: pb.NetParameter) -> bool:
    """Whether a net has batch normalisation with running statistics."""
    return any(settings is not None and settings.averages for settings in map(normalization_of, net.layer))


def parameters(net: Net) -> dict[str, Blob]:
    """Learned blobs by names that are the same for split and merged forms: LAYER/INDEX.

    Gamma and beta of a normalisation are LAYER/gamma and LAYER/beta, whether they are its own or those of its Scale.
    """
    found: dict[str, Blob] = {}
    graph = Graph(net.nodes)
    normaliser: dict[int, str] = {}  # index of a Scale -> name of the layer that it scales
    for i, layer in enumerate(net.layers):
        if isinstance(layer, BatchStatistics):
            if layer.affine is not None:
                found[f"{layer.name}/gamma"], found[f"{layer.name}/beta"] = layer.affine
            elif (scale := graph.chain(i, (Link.NORM, Link.SCALE)).get(Link.SCALE)) is not None:
                normaliser[scale] = layer.name
            continue
        names = ("gamma", "beta") if i in normaliser else tuple(str(k) for k in range(len(layer.blobs)))
        for name, (k, blob) in zip(names, enumerate(layer.blobs), strict=False):
            if k not in layer.buffers:
                found[f"{normaliser.get(i, layer.name)}/{name}"] = blob
    return found


def copy_parameters(source: Net, target: Net) -> None:
    """Copy all learned values of `source` to `target`. Raises UsageError unless both have the same parameters."""
    mine, theirs = parameters(target), parameters(source)
    for key in [*mine, *theirs]:
        if key not in mine or key not in theirs:
            net, names = (source, theirs) if key in mine else (target, mine)
            raise UsageError(f'net "{net.name}" has no parameter "{key}"{nearest(key, names)}')
    for key, blob in mine.items():
        if blob.count != theirs[key].count:
            raise UsageError(f'parameter "{key}": shape {blob.shape} in one net, {theirs[key].shape} in the other')
        blob.data[...] = theirs[key].peek().reshape(blob.shape)
