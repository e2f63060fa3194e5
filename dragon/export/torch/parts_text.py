"""The PyTorch code of `parts` as text, each function or class by its name."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

__all__ = ["part_names", "text_of_parts"]

_FOLDER = Path(__file__).parent / "parts"


@cache
def _parts() -> dict[str, tuple[str, frozenset[str]]]:
    """The text of each definition, and the other definitions that it uses; in the order of the files."""
    texts: dict[str, tuple[str, frozenset[str]]] = {}
    for path in sorted(_FOLDER.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                used = frozenset(one.id for one in ast.walk(node) if isinstance(one, ast.Name)) - {node.name}
                texts[node.name] = ast.get_source_segment(text, node) or "", used
    return {name: (text, used & texts.keys()) for name, (text, used) in texts.items()}


def part_names() -> tuple[str, ...]:
    """The names of all definitions."""
    return tuple(_parts())


def text_of_parts(names: Iterable[str]) -> str:
    """The text of these definitions and of those that they use, with two empty lines after each."""
    wanted, stack = set[str](), list(names)
    while stack:
        name = stack.pop()
        if name not in wanted:
            wanted.add(name)
            stack += _parts()[name][1]
    return "".join(f"{text}\n\n\n" for name, (text, _) in _parts().items() if name in wanted)
