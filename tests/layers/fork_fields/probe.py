"""A layer that runs, and values of its settings that show whether each of them is followed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format
from numpy.typing import ArrayLike

from dragon.bases.layer import TRAIN, Context, find_class
from dragon.errors import DragonError
from dragon.proto import dragon_pb2 as pb
from tests.layers.helpers import One

__all__ = ["LOSS", "Probe", "leaves", "outcome", "same"]

# of a loss that asks for no labels
LOSS = {
    "loss_param.ignore_label": "= - | 1",
    "loss_param.normalization": "NONE | BATCH_SIZE",
    "loss_param.normalize": "true | false",
    "loss_param.weight_by_label_freqs": "= false | true",
    "loss_param.class_weighting": "= - | 1 2 3",
    "loss_param.pre_fixed_normalizer": (
        "loss_param { normalization: PRE_FIXED } | loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 3 }"
    ),
}

# messages that other layers have as well, or that have a section of their own
_CLOSED = {"FillerParameter", "ResizeParameter"}


@dataclass(frozen=True)
class Probe:
    """A layer type with settings and bottoms with which it runs, and values of each of its settings.

    base: settings within the first of the layer's messages. fields: by the path of a setting within it, or from
    LayerParameter on, one of

    - "A | B": with these values the layer gives something else, so the setting is followed;
    - "= A | B": it gives the same, so the setting has no effect; why, is in the comment of the schema;
    - "! A": this value is an error that names the setting;
    - "~ A": this value gives a warning.

    A value is that of the setting ("2 3" for a repeated one), "-" for none, or a text with several settings.
    """

    kind: str
    base: str
    bottoms: Sequence[ArrayLike]
    fields: Mapping[str, str]
    more: str = ""  # settings in LayerParameter beside
    tops: int = 1
    runs: int = 1
    phase: int = TRAIN
    gradient: bool = False

    @property
    def root(self) -> str:
        """The first of the layer's messages."""
        cls = find_class(self.kind)
        assert cls is not None
        return cls.settings[0]

    def param(self, path: str = "", value: str = "-") -> pb.LayerParameter:
        """The layer with one of its settings changed."""
        param = pb.LayerParameter(name="one", type=self.kind)
        text_format.Parse(f"{self.more} {self.root} {{ {self.base} }}", param)
        if not path:
            return param
        full = path if path.split(".")[0].endswith("_param") and _is_root(path) else f"{self.root}.{path}"
        if value == "-":
            _clear(param, full)
            return param
        text = value if ": " in value or "{" in value else _text(full, value)
        inside = text if full == path or text.startswith(f"{self.root} {{") else f"{self.root} {{ {text} }}"
        changed = text_format.Parse(inside, pb.LayerParameter())
        _clear_repeated(param, changed)
        param.MergeFrom(changed)
        return param


def _is_root(path: str) -> bool:
    return path.split(".")[0] in pb.LayerParameter.DESCRIPTOR.fields_by_name


def _text(path: str, value: str) -> str:
    """The setting with this value, as text."""
    *outer, name = path.split(".")
    parts = value.split() if _descriptor(path).is_repeated else [value]
    text = " ".join(f"{name}: {part}" for part in parts)
    for message in reversed(outer):
        text = f"{message} {{ {text} }}"
    return text


def _descriptor(path: str) -> Any:
    message: Any = pb.LayerParameter.DESCRIPTOR
    field: Any = None
    for name in path.split("."):
        field = message.fields_by_name[name]
        message = field.message_type
    return field


def _clear(param: Any, path: str) -> None:
    *outer, name = path.split(".")
    for message in outer:
        param = getattr(param, message)
    param.ClearField(name)


def _clear_repeated(param: Any, changed: Any) -> None:
    """Clear the repeated settings of `param` that `changed` has, so that they are replaced."""
    for field, _ in changed.ListFields():
        if field.is_repeated:
            param.ClearField(field.name)
        elif field.message_type is not None:
            _clear_repeated(getattr(param, field.name), getattr(changed, field.name))


def leaves(kind: str, more: Sequence[str] = ()) -> Iterator[tuple[str, Any]]:
    """The paths of all settings of a layer type and their descriptors, those in messages of messages too.

    more: settings in messages that the type shares with others.
    """
    cls = find_class(kind)
    assert cls is not None
    shared = {"transform_param", "data_param", "loss_param", "softmax_param"}
    for name in cls.settings:
        if name not in shared:
            yield from _inner("" if name == cls.settings[0] else f"{name}.", _descriptor(name).message_type)
    for path in more:
        field = _descriptor(path)
        yield from _inner(f"{path}.", field.message_type) if field.message_type is not None else [(path, field)]


def _inner(before: str, message: Any) -> Iterator[tuple[str, Any]]:
    for field in message.fields:
        inner = field.message_type
        if inner is not None and inner.name not in _CLOSED:
            yield from _inner(f"{before}{field.name}.", inner)
        else:
            yield before + field.name, field


def outcome(probe: Probe, param: pb.LayerParameter, folder: Path) -> dict[str, Any]:
    """What the layer gives: blobs, tops, gradients, files; or its error. folder: the working directory."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    text = text_format.MessageToString(param)
    context = Context(dtype=np.float64, seed=3, folder=folder)
    found: dict[str, Any] = {}
    try:
        one = One(text, *probe.bottoms, n_top=probe.tops, phase=probe.phase, dtype=np.float64, context=context)
        found |= {f"blob {i}": blob.copy() for i, blob in enumerate(one.blobs)}
        for run in range(probe.runs):
            one.forward()
            found |= {f"top {i} of {run}": blob.data.copy() for i, blob in enumerate(one.top)}
        if probe.gradient:
            rng = np.random.default_rng(4)
            one.backward(*(rng.uniform(0.5, 1, blob.shape) for blob in one.top))
            found |= {f"diff {i}": blob.diff.copy() for i, blob in enumerate(one.bottom) if one.layer.can_propagate(i)}
            found |= {f"blob {i} diff": blob.diff.copy() for i, blob in enumerate(one.layer.blobs)}
        found |= {f"blob {i} then": blob.copy() for i, blob in enumerate(one.blobs)}
        one.layer.close()
    except DragonError as error:
        return {"error": str(error)}
    for path in sorted((folder / "out").glob("**/*")):
        found[f"file {path.name}"] = path.read_bytes()
    return found


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two outcomes are equal."""
    if one.keys() != other.keys():
        return False
    return all(
        np.array_equal(one[key], other[key], equal_nan=True)
        if isinstance(one[key], np.ndarray)
        else one[key] == other[key]
        for key in one
    )
