"""What the modules of the package import from one another, read from their text."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINKED = ("layers", "models", "proto", "tools")  # subpackages of dragon that stand at the top


@dataclass(frozen=True)
class Import:
    """`module` imports `name` from `source`, or, where that is "", the module `source`. Anywhere: in functions too."""

    module: str
    line: int
    source: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.source}{'.' + self.name if self.name else ''}"


@cache
def files() -> dict[str, Path]:
    """The modules by their dotted names."""
    found = {}
    for top in ("dragon", *LINKED):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if top == "dragon" and len(parts) > 1 and parts[1] in LINKED:
                continue
            parts = parts if top == "dragon" else ("dragon", *parts)
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


@cache
def imports() -> tuple[Import, ...]:
    """All imports between modules of the package."""
    modules = files()
    return tuple(one for module, path in modules.items() for one in _of(module, path, set(modules)))


@cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _statements(block: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """All statements of a block, those inside others too: imports are statements, and expressions are many more."""
    for one in block:
        yield one
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = getattr(one, field, None)
            if isinstance(inner, list):  # a lambda has an expression there
                yield from _statements(inner)


def _of(module: str, path: Path, known: set[str]) -> Iterator[Import]:
    for node in _statements(ast.parse(_text(path)).body):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "dragon":
                    yield Import(module, node.lineno, alias.name, "")
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "dragon":
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield Import(module, node.lineno, *((inner, "") if inner in known else (node.module, alias.name)))


def package_of(module: str) -> str:
    """The folder of dragon/ that a module stands in, or its own name where it stands in none."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "dragon"


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_uses() -> Iterator[str]:
    """Where a module reads a private name of a module of another package, as NAME._x."""
    others: dict[str, set[str]] = {}
    for one in imports():
        if not one.name and package_of(one.source) != package_of(one.module):
            others.setdefault(one.module, set()).add(one.source.rsplit(".", 1)[-1])
    for module, names in others.items():
        if not re.search(rf"\b({'|'.join(names)})\s*\.\s*_", _text(files()[module])):
            continue  # it cannot, and to walk its tree takes long
        for node in ast.walk(ast.parse(_text(files()[module]))):
            if not isinstance(node, ast.Attribute) or not is_private(node.attr):
                continue
            if isinstance(node.value, ast.Name) and node.value.id in names:
                yield f"{module}:{node.lineno} uses {node.value.id}.{node.attr}"
