"""Writes the stubs that tell editors and type checkers what `dragon.layers` and `dragon.params` have.

`python -m dragon.pycaffe.stubs` writes layers/__init__.pyi and dragon/pycaffe/params.pyi; `make proto` runs it.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from keyword import iskeyword
from pathlib import Path
from typing import Any

from dragon.bases.registry import find_class, layer_types
from dragon.proto import dragon_pb2 as pb
from dragon.proto.comments import message_comments
from dragon.pycaffe import net_spec
from dragon.pycaffe.layer_help import COMMON, documentation_of, python_type, settings_of

__all__ = ["layers_stub", "main", "params_stub"]

_HEAD = '"""{title} Written by dragon/pycaffe/stubs.py: `make proto` writes it anew."""\n\n'
_LAYERS = """\
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypedDict, Unpack

import numpy as np

from dragon.proto import dragon_pb2 as pb
from dragon.pycaffe.net_spec import Top

_Int: TypeAlias = int | np.integer[Any]
_Float: TypeAlias = float | np.integer[Any] | np.floating[Any]

def __getattr__(name: str) -> Callable[..., Any]: ...

"""


def layers_stub() -> str:
    """The text of layers/__init__.pyi."""
    types = [name for name in layer_types() if name.isidentifier()]
    classes = {name: find_class(name) for name in types}
    main = [name for name, cls in classes.items() if cls is not None and cls.type == name]
    held = [one.field for name in main for one in settings_of(name).values()]
    used = {message.name: message for field in held for message in _below(field)}
    parts = [_HEAD.format(title="The functions that make layers."), _LAYERS]
    parts += [_message(used[name]) for name in sorted(used)]
    parts += [_layer(name) for name in main]
    parts += [f"{name} = {cls.type}\n" for name, cls in classes.items() if cls is not None and cls.type != name]
    return "".join(parts)


def _below(field: Any) -> Iterator[Any]:
    """The message that a field holds and those inside it."""
    if field.message_type is not None and field.message_type.name != "LayerParameter":
        yield field.message_type
        for inner in field.message_type.fields:
            yield from _below(inner)


def _message(message: Any) -> str:
    name, comments = message.name, message_comments(message.name)
    text = _clean(comments.text) or f"Fields of {name}."
    lines = [f"class _{name}Fields(TypedDict, total=False):", f'    """{text}"""', ""]
    for field in message.fields:
        if iskeyword(field.name):  # may be given as **{name: value} only
            continue
        lines.append(f"    {field.name}: {_annotation(field)}")
        if comments.fields.get(field.name):
            lines.append(f'    """{_clean(comments.fields[field.name])}"""')
    return "\n".join(lines) + f"\n\n_{name}: TypeAlias = _{name}Fields | Mapping[str, Any] | pb.{name}\n\n"


def _annotation(field: Any) -> str:
    """The type of a field in the stub, where NumPy's numbers are numbers too."""
    return re.sub(r"\b(int|float)\b", lambda match: f"_{match[1].title()}", python_type(field))


def _layer(name: str) -> str:
    lines = [f"class _{name}(TypedDict, total=False):"]
    lines += [f"    {key}: {of}" for key, (of, _) in COMMON.items()]
    for key, setting in settings_of(name).items():
        if not iskeyword(key):
            lines.append(f"    {key}: {_annotation(setting.field)}")
    cls = find_class(name)
    returned = "Top" if cls is not None and cls.tops[1] == 1 else "Any"  # a tuple, or the layer itself, by ntop
    text = textwrap.indent(_clean(documentation_of(name)), "    ").strip()
    return "\n".join(
        [
            *lines,
            "",
            f"def {name}(*bottoms: Top, ntop: int = 1, **settings: Unpack[_{name}]) -> {returned}:",
            f'    """{text}\n    """',
            "",
            "",
        ]
    )


def _clean(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"""', "'''")


def params_stub() -> str:
    """The text of dragon/pycaffe/params.pyi."""
    parts = [_HEAD.format(title="The constants of settings.")]
    for name in dir(net_spec.params):
        constants = getattr(net_spec.params, name)
        parts.append(f"class {name}:\n")
        parts += [f"    {constant}: int\n" for constant in dir(constants)]
        parts.append("\n")
    return "".join(parts)


def main() -> None:
    """Write both files into the checkout."""
    root = Path(pb.__file__).resolve().parents[1]
    (root / "layers/__init__.pyi").write_text(layers_stub(), encoding="utf-8")
    (root / "dragon/pycaffe/params.pyi").write_text(params_stub(), encoding="utf-8")


if __name__ == "__main__":
    main()
