"""`dragon layers`: lists the layer types and their settings."""

from __future__ import annotations

from typing import Any

import click

from dragon.bases.layer import Layer, layer_types
from dragon.bases.settings import counts, documentation, field_kind, layer_class, message_of, parameter_fields, settings
from dragon.proto.comments import message_comments
from dragon.proto.volumes import FORMER_TYPES
from dragon.tools.common.json_output import json_option
from dragon.tools.common.tables import table

__all__ = ["command"]


@click.command("layers")
@click.argument("name", required=False)
@json_option
def command(name: str | None) -> dict[str, Any]:
    """List all layer types, or say what can be set in the type NAME.

    \b
    Example: dragon layers BatchNorm
    """
    if name is None:
        rows = [
            [one, ", ".join(parameter_fields(layer_class(one))), _purpose(layer_class(one))] for one in layer_types()
        ]
        click.echo(table(["type", "parameters", "what it does"], rows, left=(0, 1, 2)))
        return {"types": [dict(zip(("type", "settings", "what"), row, strict=True)) for row in rows]}
    if name in FORMER_TYPES:
        click.echo(f"Reading a net makes {FORMER_TYPES[name]} of {name}.\n")
        name = FORMER_TYPES[name]
    cls = layer_class(name)
    click.echo(f"{name}: {_purpose(cls)}")
    click.echo(f"bottoms: {counts(cls.bottoms)}, tops: {counts(cls.tops)}")
    text = documentation(cls).partition("\n\n")[2]
    if text:
        click.echo(f"\n{text}")
    found: dict[str, list[dict[str, str]]] = {}
    for field in parameter_fields(cls):
        message = message_of(field)
        comments = message_comments(message.name)
        rows = [[one.field.name, field_kind(one.field), one.default, one.meaning] for one in settings(name, field)]
        click.echo(f"\n{field} ({message.name})" + (f": {comments.text}" if comments.text else ""))
        click.echo(table(["field", "type", "default", "meaning"], rows, left=(0, 1, 2, 3)))
        found[field] = [dict(zip(("field", "type", "default", "meaning"), row, strict=True)) for row in rows]
    return {
        "type": name, "what": _purpose(cls), "bottoms": list(cls.bottoms), "tops": list(cls.tops), "settings": found,
    }  # fmt: skip


def _purpose(cls: type[Layer]) -> str:
    """The first line of a layer's docstring."""
    return documentation(cls).partition("\n")[0]
