"""Text of V1 layers as text of the present form: `layers` becomes `layer`, all that means the same stays as typed."""

from __future__ import annotations

from collections.abc import Iterable

from dragon.proto import dragon_pb2 as pb
from dragon.proto.text_edit import Editor
from dragon.proto.text_tree import Entry, Tree
from dragon.proto.upgrade import upgrade_v1

__all__ = ["present_layers"]

_V1, _PRESENT = "layers", "layer"
_SPECS = ("param", "blob_share_mode", "blobs_lr", "weight_decay")  # which became `param { ... }`


def present_layers(text: str, raw: pb.NetParameter) -> str | None:
    """The text with its V1 layers in the present form; None where one is of V0, or several stand in one list.

    raw: the net as the text says it. Each layer keeps its place. Raises PrototxtError for a layer without a type.
    """
    editor = Editor(text)
    entries = [entry for entry in editor.tree.entries if entry.name == _V1]
    if any(entry.listed for entry in entries) or any(layer.HasField("layer") for layer in raw.layers):
        return None
    for entry, layer in zip(entries, raw.layers, strict=True):
        body = entry.items[0].body
        assert body is not None
        editor.edits.append((entry.start, entry.start + len(_V1), _PRESENT))
        _change(editor, body, upgrade_v1(layer))
    return editor.apply()


def _change(editor: Editor, body: Tree, new: pb.LayerParameter) -> None:
    for _, item in body.items("type"):
        editor.edits.append((item.start, item.end, editor.style.value(new, "type")))
    anchor = _before_specs(body.entries)
    for entry in body.entries:
        if entry.name in _SPECS:
            editor.remove(entry)
    for spec in new.param:
        editor.add(body, anchor, "param", spec)


def _before_specs(entries: Iterable[Entry]) -> Entry | None:
    """The entry that ParamSpecs go behind: the one before the first that tells of them, else the last one."""
    anchor = None
    for entry in entries:
        if entry.name not in _SPECS:
            anchor = entry
        elif anchor is not None:
            break
    return anchor
