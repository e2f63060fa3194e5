"""Layers of any type added behind or in front of others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dragon.bases.registry import find_class, layer_types
from dragon.errors import UsageError, nearest
from dragon.proto import dragon_pb2 as pb
from dragon.surgery.fields import set_layers_fields
from dragon.surgery.model import Model, Note, silent_note
from dragon.surgery.rules import copy_rules
from dragon.surgery.selection import Words, find_type, suitable
from dragon.surgery.values import free_name, rename_value

__all__ = ["add"]


def add(
    model: Model,
    layer: Mapping[str, Any],
    after: Words | None = None,
    before: Words | None = None,
    note: Note = silent_note,
) -> Model:
    """A model with a new layer behind each of the chosen layers, or in front of each.

    layer: the fields of the new layer, `type` among them; with a `name`, which must be free, it is one layer.
    after: all readers of the chosen layer's first top read the new layer's. before: the chosen layer alone reads it, in
    place of its first bottom. New layers are called TYPE_LAYER, such as dropout_ip1; layers of one name (in TRAIN and
    in TEST) have new ones of one name. Raises UsageError for a type that does not make one top of one bottom, and for
    layers without tops (after) or bottoms (before) that are chosen by name; a pattern leaves them out.
    """
    if (after is None) == (before is None):
        raise UsageError("add takes either after or before")
    fields = dict(layer) if isinstance(layer, Mapping) else {}
    kind, given = _type(fields.pop("type", None)), fields.pop("name", None)
    new = model.copy()
    taken = {one.name for one in new.net.layer} | {top for one in new.net.layer for top in one.top}
    names: dict[str, str] = {}
    if after is not None:
        chosen = suitable(new.net, after, lambda one: "" if one.top else "has no top", note, "nothing can follow it")
    else:
        so = "nothing can stand before it"
        chosen = suitable(new.net, before or (), lambda one: "" if one.bottom else "has no bottom", note, so)
    for index in chosen:
        target = new.net.layer[index].name
        if target not in names:
            wanted = given or f"{kind.lower()}_{target}"
            if given and (given in taken or names):
                why = "cannot be the name of several" if names else "is the name of another layer or blob"
                raise UsageError(f'"{given}" {why}')
            names[target] = free_name(wanted, taken)
            taken.add(names[target])
    for index in reversed(chosen):
        owner = new.net.layer[index]
        fresh = pb.LayerParameter(name=names[owner.name], type=kind, top=[names[owner.name]])
        set_layers_fields([fresh], fields, kind)
        copy_rules(owner, fresh)
        (_behind if after is not None else _in_front)(new.net, index, fresh)
    for target, name in names.items():
        note(f"added {name} ({kind}) {'behind' if after is not None else 'in front of'} {target}")
    return new


def _type(word: object) -> str:
    """The main name of a type that makes one top of one bottom."""
    if not isinstance(word, str):
        raise UsageError('add: "type" of the layer is missing')
    kind = find_type(word)
    cls = find_class(kind or "")
    if kind is None or cls is None:
        raise UsageError(f'there is no layer type "{word}"{nearest(word, layer_types())}')
    for least, most in (cls.bottoms, cls.tops):
        if least > 1 or (most is not None and most < 1):
            raise UsageError(f"{kind} does not make one top of one bottom: it cannot be added")
    return kind


def _behind(net: pb.NetParameter, index: int, fresh: pb.LayerParameter) -> None:
    owner = net.layer[index]
    fresh.bottom.append(owner.top[0])
    rename_value(net, index, owner.top[0], fresh.name)
    _put(net, index + 1, fresh)


def _in_front(net: pb.NetParameter, index: int, fresh: pb.LayerParameter) -> None:
    owner = net.layer[index]
    value = owner.bottom[0]
    fresh.bottom.append(value)
    if value in owner.top:  # in place: what it makes is read under the same name from here on
        rename_value(net, index, value, fresh.name)
        owner.bottom[0] = owner.top[list(owner.top).index(value)] = fresh.name
    else:
        owner.bottom[0] = fresh.name
    _put(net, index, fresh)


def _put(net: pb.NetParameter, index: int, fresh: pb.LayerParameter) -> None:
    layers = pb.NetParameter(layer=[*net.layer[:index], fresh, *net.layer[index:]])
    del net.layer[:]
    net.layer.extend(layers.layer)
