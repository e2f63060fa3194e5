"""The list of oneDNN's quirks belongs to the version that is used, and to the places that work around them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from benchmarks.onednn_quirks import QUIRKS, WHEEL, main

ROOT = Path(__file__).parents[2]
ENGINE = ROOT / "dragon" / "engines" / "onednn"


def test_the_list_was_checked_for_the_pinned_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (pinned,) = [line for line in project["dependencies"] if line.startswith("onednn-cpu-gomp")]
    again = "run `python -m benchmarks.onednn_quirks`, take out what is gone, then set WHEEL and VERSION there"
    assert f"=={WHEEL};" in pinned, again


def test_each_place_names_its_quirk() -> None:
    named: dict[str, set[str]] = {}
    for path in ENGINE.rglob("*.py"):
        for name in re.findall(r'quirk\s+"([^"]+)"', path.read_text()):
            named.setdefault(name, set()).add(path.relative_to(ENGINE).as_posix())
    assert named == {quirk.name: set(quirk.where) for quirk in QUIRKS}


def test_each_quirk_is_tried(capsys: pytest.CaptureFixture[str]) -> None:
    main()
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith("oneDNN 3.")
    assert [line[7:].split(":")[0] for line in lines] == [quirk.name for quirk in QUIRKS]
    assert {line[:5] for line in lines} <= {"there", "GONE "}
