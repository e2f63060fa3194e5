"""Kernel sources: the .cu files of this folder, each made whole with the one header that they share."""

from __future__ import annotations

from functools import cache
from pathlib import Path

__all__ = ["FOLDER", "OPTIONS", "names", "source"]

FOLDER = Path(__file__).parent
INCLUDE = '#include "common.cuh"'
OPTIONS = ("--std=c++17",)


def names() -> list[str]:
    """All kernel files, without their ending."""
    return sorted(path.stem for path in FOLDER.glob("*.cu"))


@cache
def source(name: str) -> str:
    """The text of NAME.cu with the header in its place: the compiler at run time sees no folders."""
    text = (FOLDER / f"{name}.cu").read_text(encoding="utf-8")
    header = (FOLDER / "common.cuh").read_text(encoding="utf-8")
    before, after = text.split(INCLUDE)
    line = before.count("\n") + 2
    return f'{before}#line 1 "common.cuh"\n{header}#line {line} "{name}.cu"{after}'
