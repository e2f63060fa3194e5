"""The Dockerfile and the conda recipe ask for what pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import yaml

from tests.imports import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
RECIPE: dict[str, Any] = yaml.safe_load((ROOT / "install/recipe.yaml").read_text(encoding="utf-8"))
CONDA = {"lmdb": "python-lmdb", "matplotlib": "matplotlib-base", "onednn-cpu-gomp": "onednn-cpu-omp"}


def named(lines: list[str]) -> dict[str, str]:
    """The versions asked for, by name; what PyPI's and conda's lines share."""
    found = [re.fullmatch(r"([\w.-]+)\s*([^;]*?)\s*(?:;.*)?", line) for line in lines]
    return {one[1]: one[2] for one in found if one is not None}


def test_conda_asks_for_the_same_versions() -> None:
    wanted = {CONDA.get(k, k): v for k, v in named(PROJECT["dependencies"] + EXTRAS["plot"]).items()}
    wanted["python"] = PROJECT["requires-python"]
    asked = named(RECIPE["requirements"]["run"])
    assert asked.pop("onednn-cpu-omp") == ">=3,<4", "the version that the engine takes, of another build"
    assert wanted.pop("onednn-cpu-omp").startswith("==")
    assert asked == wanted
    assert RECIPE["package"] == {"name": PROJECT["name"], "version": PROJECT["version"]}
    assert RECIPE["build"]["python"]["entry_points"] == [f"{k} = {v}" for k, v in PROJECT["scripts"].items()]
    assert (ROOT / "install" / RECIPE["source"]["path"] / "pyproject.toml").is_file()


def test_the_image_installs_extras_that_exist_on_a_python_that_is_supported() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    version = re.search(r"^FROM python:(3\.\d+)-slim$", text, re.MULTILINE)
    assert version is not None
    assert f"Programming Language :: Python :: {version[1]}" in PROJECT["classifiers"]
    (extras,) = re.findall(r'"/src\[([\w,]+)\]"', text)
    assert set(extras.split(",")) <= set(EXTRAS)
    assert "libgomp1" in text
    words = {line.split()[0] for line in text.splitlines() if line and not line.startswith("#")}
    assert words <= {"FROM", "RUN", "COPY", "WORKDIR", "ENTRYPOINT", "CMD"}
