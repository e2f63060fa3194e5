"""The engines keep their lowerings alike: a layer type that both compute by one stands in files of one name."""

from __future__ import annotations

import re
from pathlib import Path

from dragon.engines.cuda.lowerings import lowering as cuda
from dragon.engines.onednn import lowerings as onednn

ROOT = Path(__file__).parents[2]
LOWERED = {"CUDA": cuda.lowered(), "oneDNN": onednn.lowered()}


def families() -> dict[str, list[set[str]]]:
    """For each file name the layer types that it lowers, on CUDA and on oneDNN."""
    found: dict[str, list[set[str]]] = {}
    for at, lowered in enumerate(LOWERED.values()):
        for name, module in lowered.items():
            found.setdefault(module.rsplit(".", 1)[1], [set(), set()])[at].add(name)
    return found


def table() -> dict[str, list[set[str]]]:
    """The same from the page."""
    page = (ROOT / "docs/adding_an_engine.md").read_text(encoding="utf-8")
    rows = page[page.index("| file | CUDA | oneDNN |") :].split("\n\n")[0].splitlines()[2:]
    found = {}
    for row in rows:
        file, *cells = (cell.strip() for cell in row.strip("|").split("|"))
        found[re.sub(r"^`(\w+)\.py`$", r"\1", file)] = [set(re.findall(r"\w+", cell)) for cell in cells]
    for types in found.values():  # "the same"
        if types[1] == {"the", "same"}:
            types[1] = types[0]
    return found


def test_a_type_of_both_engines_stands_in_files_of_one_name() -> None:
    differing = {
        name: (module, other)
        for name, module in LOWERED["CUDA"].items()
        if (other := LOWERED["oneDNN"].get(name)) and module.rsplit(".", 1)[1] != other.rsplit(".", 1)[1]
    }
    assert not differing


def test_the_page_lists_the_lowerings_of_both_engines() -> None:
    assert table() == families()


def test_both_engines_have_the_same_folders() -> None:
    """The one that stands for the device has its name."""
    folders = [
        {path.name for path in (ROOT / "dragon/engines" / name).iterdir() if (path / "__init__.py").exists()}
        for name in ("cuda", "onednn")
    ]
    assert folders == [{"device", "kernels", "lowerings", "plan"}, {"library", "kernels", "lowerings", "plan"}]
