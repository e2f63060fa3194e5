"""Numbers with their nouns: `1 image`, `2 images`, `60,000 images`."""

from __future__ import annotations

import re

__all__ = ["how_many", "plural"]

_IRREGULAR = {"axis": "axes"}


def how_many(number: float, noun: str) -> str:
    """A number and its noun, which is given in the singular: `how_many(3, "spatial axis")` is `3 spatial axes`."""
    return f"{number:,} {noun if number == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """The plural of a noun, or of the last of some words."""
    before, blank, last = noun.rpartition(" ")
    if last in _IRREGULAR:
        return f"{before}{blank}{_IRREGULAR[last]}"
    if re.search(r"[^aeiou]y$", last):
        return f"{noun[:-1]}ies"
    return noun + ("es" if re.search(r"(s|x|ch|sh)$", last) else "s")
