"""Where the files of the checkout stand on the site, and links between them.

A page of docs/ keeps its path. Pages at the top and the readmes of the zoo get one of their own. Any other file that a
page links to is copied as it is.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

__all__ = ["ROOT", "TOP_PAGES", "anchor", "place_of", "rewrite_links", "zoo_pages"]

ROOT = Path(__file__).parents[2]
TOP_PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
# a link or picture of Markdown, but not one within `code`, which comes first
_LINK = re.compile(r"`[^`\n]*`|(\]\()([^)#\s]*)((?:#[^)\s]*)?\))")
_FENCE = re.compile(r"^(```.*?^```[^\n]*)$", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"\A(```\w+) (?:run|output)$", re.MULTILINE)  # for the tests that run examples


def anchor(heading: str, separator: str = "-") -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", separator)


@functools.cache  # each link asks for it
def zoo_pages() -> dict[str, str]:
    """The readmes of the zoo, path in the checkout -> path on the site."""
    return {
        path.relative_to(ROOT).as_posix(): f"zoo/{path.parent.name}.md"
        for path in sorted((ROOT / "models").glob("*/readme.md"))
    }


def place_of(path: str) -> str:
    """The path on the site of a file of the checkout."""
    if path in TOP_PAGES:
        return TOP_PAGES[path]
    if path in (zoo := zoo_pages()):
        return zoo[path]
    return path.removeprefix("docs/") if path.startswith("docs/") else f"files/{path}"


def rewrite_links(text: str, source: str, linked: Callable[[str], None]) -> str:
    """The Markdown `text` of the file `source` of the checkout, with links and code as they are on the site.

    linked: called with the path of each file of the checkout that a link leads to, whether or not it exists.
    """
    here = PurePosixPath(source).parent
    base = PurePosixPath(place_of(source)).parent

    def replace(match: re.Match[str]) -> str:
        opening, target, rest = match[1], match[2], match[3]
        if opening is None or not target or "://" in target or target.startswith("mailto:"):
            return match[0]
        path = os.path.normpath((here / target).as_posix())
        linked(path)
        return f"{opening}{os.path.relpath(place_of(path), base)}{rest}"

    parts = _FENCE.split(text)
    return "".join(_MARK.sub(r"\1", part) if k % 2 else _LINK.sub(replace, part) for k, part in enumerate(parts))
