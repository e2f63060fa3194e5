"""The Python blocks of the documents that are not run, since they need files or packages: what can be said without."""

from __future__ import annotations

import ast
import builtins
import importlib
from pathlib import Path

import pytest

from tests.docs.test_examples import _FENCE, DOCUMENTS, ROOT

PARTS = "docs/adding_an_engine.md"  # of files of the engines, which the page says


def blocks() -> list[tuple[str, str]]:
    """Page and line of each block that opens with ```python, and its code."""
    found: list[tuple[str, str]] = []
    for page in DOCUMENTS:
        name, text = page.relative_to(ROOT).as_posix(), page.read_text(encoding="utf-8")
        found += [
            (f"{name}:{text.count(chr(10), 0, match.start()) + 2}", match[2])
            for match in _FENCE.finditer(text)
            if match[1].strip() == "python" and name != PARTS
        ]
    return found


def unknown_names(code: str) -> set[str]:
    """The names that a block reads and nothing in it makes."""
    nodes = list(ast.walk(ast.parse(code)))
    made = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    made |= {node.name for node in nodes if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    made |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            made |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    return {node.id for node in nodes if isinstance(node, ast.Name)} - made - set(dir(builtins))


@pytest.mark.parametrize(("where", "code"), blocks(), ids=lambda value: value if "\n" not in value else "")
def test_a_block_is_whole(where: str, code: str) -> None:
    """What it reads it makes or imports, and what it imports of Dragon is there."""
    assert unknown_names(code) == set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == "dragon":
            if node.module == "dragon.torch":
                pytest.importorskip("torch")
            module = importlib.import_module(str(node.module))
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


def test_a_name_that_nothing_makes_is_found() -> None:
    assert unknown_names("import a.b as c\nd = c(len(e))\nfor f in d: print(f)") == {"e"}


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_that_names_options_says_where_they_are(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    if "`Options" in text and page.name != "CHANGELOG.md":
        assert "dragon.engines" in text
