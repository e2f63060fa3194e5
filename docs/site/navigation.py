"""The navigation of the site: what mkdocs.yml names, and what it leaves to the program."""

from __future__ import annotations

from typing import Any

from docs.site.api_pages import MODULES
from docs.site.generated import generated
from docs.site.places import ROOT, place_of, zoo_pages

__all__ = ["complete", "leaves"]


def complete(nav: list[Any]) -> list[Any]:
    """The navigation with lists in place of LAYERS, PYTHON and ZOO, and a last section of what it does not name."""
    layers = sorted((path for path in generated() if path.startswith("reference/layers/")), key=str.lower)
    lists = {
        "LAYERS": ["reference/layers.md", *layers],
        "PYTHON": [f"reference/python/{module}.md" for module in MODULES],
        "ZOO": list(zoo_pages().values()),
    }
    nav = [_filled(entry, lists) for entry in nav]
    named = set(leaves(nav))
    more = [place_of(path.relative_to(ROOT).as_posix()) for path in sorted((ROOT / "docs").rglob("*.md"))]
    more = [path for path in more if path not in named]
    return [*nav, {"More": more}] if more else nav


def _filled(entry: Any, lists: dict[str, list[str]]) -> Any:
    if isinstance(entry, dict):
        return {title: _filled(value, lists) for title, value in entry.items()}
    if isinstance(entry, list):
        parts = [lists.get(part, [part]) if isinstance(part, str) else [_filled(part, lists)] for part in entry]
        return [one for part in parts for one in part]
    return entry


def leaves(entry: Any) -> list[str]:
    """The pages that a part of the navigation names, in its order."""
    if isinstance(entry, str):
        return [entry]
    parts = entry.values() if isinstance(entry, dict) else entry
    return [leaf for part in parts for leaf in leaves(part)]
