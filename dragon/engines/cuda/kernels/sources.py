"""Kernel sources: the .cu files of this folder, each made whole with the headers (.cuh) that they share."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

__all__ = ["FOLDER", "OPTIONS", "names", "source"]

FOLDER = Path(__file__).parent
INCLUDE = re.compile(r'^#include "(\w+\.cuh)"\n', re.MULTILINE)
OPTIONS = ("--std=c++17",)


def names() -> list[str]:
    """All kernel files, without their ending."""
    return sorted(path.stem for path in FOLDER.glob("*.cu"))


@cache
def source(name: str) -> str:
    """The text of NAME.cu with the headers in their places: the compiler at run time sees no folders."""
    text = (FOLDER / f"{name}.cu").read_text(encoding="utf-8")

    def whole(found: re.Match[str]) -> str:
        line = text.count("\n", 0, found.end()) + 1
        header = (FOLDER / found[1]).read_text(encoding="utf-8")
        return f'#line 1 "{found[1]}"\n{header}#line {line} "{name}.cu"\n'

    return INCLUDE.sub(whole, text)
