"""Pages of the reference made from the schema: each layer type, and the messages of nets and solvers."""

from __future__ import annotations

from typing import Any

from docs.site.markdown import code, plain, table
from dragon.bases.layer import Layer, find_class, layer_types
from dragon.bases.settings import counts, default, documentation, field_kind, parameter_fields
from dragon.counting import how_many
from dragon.proto import dragon_pb2 as pb
from dragon.proto.comments import message_comments
from dragon.proto.volumes import FORMER_TYPES

__all__ = ["layer_pages", "message_page"]

# What a net or a solver is written in, besides the settings of the layers
_MESSAGES = (
    "SolverParameter", "NetParameter", "LayerParameter", "ParamSpec", "NetState", "NetStateRule",
    "TransformationParameter", "LossParameter", "FillerParameter", "BlobShape",
)  # fmt: skip
_GENERAL = "reference/fields.md"


def layer_pages() -> dict[str, str]:
    """The pages of all layer types and the list of them, path on the site -> Markdown."""
    main = {find_class(name) for name in layer_types()} - {None}
    classes = sorted((cls for cls in main if cls is not None), key=lambda cls: cls.type.lower())
    pages = {f"reference/layers/{cls.type}.md": _layer_page(cls) for cls in classes}
    rows = [
        [
            f"[{cls.type}](layers/{cls.type}.md)",
            plain(", ".join(_names(cls))),
            plain(documentation(cls).partition("\n")[0]),
        ]
        for cls in classes
    ]
    pages["reference/layers.md"] = (
        "# Layer types\n\n"
        f"The {how_many(len(classes), 'layer type')}, each with the other names under which a prototxt may ask for it. "
        "The same text is shown by `dragon layers NAME`.\n\n" + table(["type", "also", "what it does"], rows)
    )
    return pages


def _names(cls: type[Layer]) -> list[str]:
    """Further names of a type: aliases, and names that reading a net replaces."""
    return sorted({*cls.aliases, *(old for old, new in FORMER_TYPES.items() if new == cls.type)})


def _layer_page(cls: type[Layer]) -> str:
    first, _, text = documentation(cls).partition("\n\n")
    parts = [f"# {cls.type}\n", plain(first)]
    if names := _names(cls):
        parts.append(f"Also called {', '.join(map(code, names))}.")
    parts.append(f"Bottoms: {counts(cls.bottoms)}. Tops: {counts(cls.tops)}.")
    parts.extend(_paragraph(paragraph) for paragraph in text.split("\n\n") if paragraph)
    for name in parameter_fields(cls):
        message = pb.LayerParameter.DESCRIPTOR.fields_by_name[name].message_type
        parts.append(f"## {name}")
        parts.extend(_fields(message, cls.type, "../"))
    source = cls.__module__.rpartition(".")[2]
    parts.append(
        f"Source: `layers/{source}.py`. "
        "Fields that every layer has are those of [LayerParameter](../fields.md#layerparameter)."
    )
    return "\n\n".join(parts) + "\n"


def _paragraph(text: str) -> str:
    """A paragraph of a docstring; one that is indented or holds indented lines stays as it is written."""
    if any(line.startswith("  ") for line in text.splitlines()):
        return f"```text\n{text}\n```"
    return plain(text)


def _fields(message: Any, layer: str | None, up: str) -> list[str]:
    comments = message_comments(message.name)
    rows = [
        [code(f.name), _kind(f, up), code(default(layer, f)), plain(comments.fields.get(f.name, ""))]
        for f in message.fields
    ]
    text = f"{plain(comments.text)}\n\n" if comments.text else ""
    return [text + table(["field", "type", "default", "meaning"], rows)]


def _kind(field: Any, up: str) -> str:
    kind = code(field_kind(field))
    name = field.message_type.name if field.message_type is not None else ""
    return f"[{kind}]({up}fields.md#{name.lower()})" if name in _MESSAGES else kind


def message_page() -> str:
    """The fields of the messages that nets and solvers consist of."""
    parts = [
        "# Fields of solvers, nets and layers\n\nThe messages of a prototxt, from the schema `proto/dragon.proto`. "
        "Fields with settings of one layer type are on [the page of that type](layers.md)."
    ]
    for name in _MESSAGES:
        parts.append(f"## {name}")
        parts.extend(_fields(pb.DESCRIPTOR.message_types_by_name[name], None, ""))
    return "\n\n".join(parts) + "\n"
