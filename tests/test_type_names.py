"""What is known about a layer type stands with its layer: no other file lists names of types.

Exempt are tables whose subject is the names themselves: those that older and foreign files use, and the lowerings', of
which each says what it computes. `models/` writes nets.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import dragon
from dragon.bases.registry import layer_types

PACKAGE = Path(dragon.__file__).parent
EXEMPT = (
    "layers/",
    "models/",
    "proto/upgrade",
    "proto/profiles.py",
    "engines/onednn/lowerings/",
    "engines/cuda/lowerings/",
)
TYPES = frozenset(layer_types())


def sources() -> list[str]:
    """Python files of the package, named from its root; folders at the top are links or stand beside it."""
    found = {str(p.relative_to(PACKAGE)) for p in PACKAGE.rglob("*.py")}
    for folder in ("proto", "tools"):
        found |= {f"{folder}/{p.relative_to(PACKAGE / folder)}" for p in (PACKAGE / folder).rglob("*.py")}
    return sorted(name for name in found if not name.startswith(EXEMPT))


def lists_of_types(code: str) -> Iterator[tuple[int, list[str]]]:
    """Line and names of each tuple, list, set or dictionary that holds two or more types."""
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.Tuple | ast.List | ast.Set | ast.Dict):
            continue
        items: list[ast.expr | None] = list(node.keys if isinstance(node, ast.Dict) else node.elts)
        heads = [item.elts[0] if isinstance(item, ast.Tuple) and item.elts else item for item in items]
        names = [
            n.value for n in heads if isinstance(n, ast.Constant) and isinstance(n.value, str) and n.value in TYPES
        ]
        if len(set(names)) > 1:
            yield node.lineno, names


@pytest.mark.parametrize("name", sources())
def test_no_file_lists_types(name: str) -> None:
    assert list(lists_of_types((PACKAGE / name).read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "code",
    ['A = ("BatchNorm", "BN")', 'A = {"ReLU": 1, "ELU": 2}', 'A = {("BN", "average"): 1, ("BatchNorm", "decay"): 2}'],
)
def test_a_list_is_found(code: str) -> None:
    assert len(list(lists_of_types(code))) == 1
