"""Nets of an experiment as text: settings overridden, data replaced, test nets that read the training set."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NoReturn

from google.protobuf.message import Message

from dragon.bases.batch_statistics import normalization_of
from dragon.bases.registry import canonical, class_of
from dragon.compare.data_files import find_files
from dragon.counting import how_many
from dragon.data import open_source
from dragon.errors import DataError, nearest
from dragon.files.paths import find, missing_hint
from dragon.files.yaml_section import Section, plain
from dragon.graph.chains import phases
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.surgery.fields import check_read, find_field, set_value

__all__ = [
    "fix_paths",
    "normalised",
    "override",
    "override_layers",
    "reads_data",
    "record_count",
    "set_batch_size",
    "set_shuffle",
    "test_outputs",
    "testing_on_training_set",
    "use_dataset",
]


# -- overrides -----------------------------------------------------------------------------------------------
def override(message: Message, changes: Section) -> None:
    """Set the fields that a YAML mapping names. Raises UsageError for an unknown field or a value of another type."""
    for key, value in changes.values.items():
        fail = partial(_fail, changes, key)
        field = find_field(message, key, fail)
        if isinstance(value, Section):
            if field.message_type is None or field.is_repeated:
                changes.fail(f'"{changes.name(key)}" must be a value or a list, got a mapping', key)
            getattr(message, key).SetInParent()
            override(getattr(message, key), value)
            continue
        set_value(message, field, plain(value), fail)


def _fail(changes: Section, key: str, text: str) -> NoReturn:
    changes.fail(f'"{changes.name(key)}": {text}', key)


def override_layers(net: pb.NetParameter, changes: Section) -> None:
    """Set fields of all layers of a type or name, by YAML mappings.

    Raises UsageError if there is no such layer, or a field is a setting that none of them reads.
    """
    for key, fields in changes.values.items():
        matching = [layer for layer in net.layer if key == layer.name or canonical(key) == canonical(layer.type)]
        if not matching:
            known = {layer.name for layer in net.layer} | {layer.type for layer in net.layer}
            changes.fail(f'"{changes.name(key)}": the net has no layer of this name or type{nearest(key, known)}', key)
        if not isinstance(fields, Section):
            changes.fail(f'"{changes.name(key)}" must be a mapping of layer fields, got {fields!r}', key)
        for layer in matching:
            override(layer, fields)
        for name in fields.values:
            check_read(matching, name, partial(_fail, fields, name))


# -- data ----------------------------------------------------------------------------------------------------
def reads_data(net: pb.NetParameter) -> list[pb.LayerParameter]:
    """The layers that read a database; VideoData takes nothing but the size of its batches from data_param."""
    kinds = [(layer, class_of(layer).settings) for layer in net.layer]
    return [layer for layer, kind in kinds if "data_param" in kind and "video_data_param" not in kind]


def record_count(layer: pb.LayerParameter) -> int:
    """How many records a data layer's source holds. Raises DataError, with what to do, when it is not there."""
    p = layer.data_param
    if not Path(p.source).exists():
        raise DataError(f'"{p.source}" does not exist; `dragon data` fetches or draws data sets')
    reader = open_source(p.source, p.backend)
    try:
        return len(reader)
    finally:
        reader.close()


def fix_paths(definition: Definition[pb.NetParameter]) -> None:
    """Resolve the paths that a net names as `dragon train` does, so that they hold without its file too."""
    folder = (definition.folder or Path()).resolve()
    for layer in reads_data(definition.message):
        if layer.data_param.source and (found := find(layer.data_param.source, folder)) is not None:
            layer.data_param.source = str(found)
    find_files(definition.message, folder)


def use_dataset(net: pb.NetParameter, folder: str, test: str = "test") -> None:
    """Let the Data layers read a folder made by `dragon data`. Raises DataError if the folder lacks their data.

    test: the part that test nets read, "test" or "val". Raises DataError too for a net that reads its tests elsewhere.
    """
    root = Path(folder)
    if not root.exists():
        raise DataError(f'the data folder "{folder}" does not exist{missing_hint(root / "train")}')
    if not root.is_dir():
        raise DataError(f'"{folder}" is a file, expected a folder made by `dragon data`')
    layers = reads_data(net)
    readers = [layer for layer in net.layer if class_of(layer).reads_data and not class_of(layer).is_input]
    others = [layer for layer in readers if layer not in layers]
    tested = [layer for layer in others if pb.TEST in phases(layer)]
    if (others and not layers) or (tested and test != "test"):
        layer = (tested or others)[0]
        raise DataError(
            f'layer "{layer.name}" ({layer.type}) reads none of the data folder "{folder}"'
            + ("; tuning needs tests with its validation images" if test != "test" else "")
        )
    for layer in layers:
        part = "train" if pb.TRAIN in phases(layer) else test
        found = sorted(root.glob(f"*_{part}_lmdb"))
        if len(found) != 1:
            raise DataError(f'"{folder}" holds {how_many(len(found), "folder")} *_{part}_lmdb, expected one')
        layer.data_param.source = str(found[0])
        layer.data_param.backend = pb.DataParameter.LMDB
        if layer.transform_param.mean_file:
            layer.transform_param.mean_file = str(root / "mean.binaryproto")


def set_shuffle(net: pb.NetParameter, shuffle: bool) -> None:
    """Let the training layers read the records in an order that the seed decides, or in that of the database."""
    for layer in reads_data(net):
        if pb.TRAIN in phases(layer):
            layer.data_param.shuffle = shuffle


def set_batch_size(net: pb.NetParameter, size: int) -> int | None:
    """Set the batch of the training layers; return what it was, None for a net that reads no database."""
    before = None
    for layer in reads_data(net):
        if pb.TRAIN in phases(layer):
            before = before or layer.data_param.batch_size
            layer.data_param.batch_size = size
    return before


def testing_on_training_set(net: pb.NetParameter) -> pb.NetParameter:
    """The net with test layers that read, in order, what the training layers read, transformed as in a test."""
    result = pb.NetParameter()
    result.CopyFrom(net)
    layers = reads_data(result)
    train = next((layer for layer in layers if pb.TRAIN in phases(layer)), None)
    for layer in layers:
        if train is not None and pb.TRAIN not in phases(layer):
            layer.data_param.source = train.data_param.source
            layer.data_param.backend = train.data_param.backend
    return result


def test_outputs(net: pb.NetParameter) -> list[str]:
    """Names of the outputs of the test net: tops that no later layer reads."""
    outputs: dict[str, None] = {}
    for layer in net.layer:
        if pb.TEST in phases(layer):
            for name in layer.bottom:
                outputs.pop(name, None)
            outputs |= dict.fromkeys(layer.top)
    return list(outputs)


def normalised(net: pb.NetParameter) -> bool:
    """Whether a net has batch normalisation with running statistics."""
    return any(settings is not None and settings.averages for settings in map(normalization_of, net.layer))
