"""The Dockerfile and the conda recipe ask for what pyproject.toml asks for."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
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


def test_the_commands_are_those_of_the_page() -> None:
    """The first lines of both files say how they are used, as docs/installing.md does."""
    page = {line.strip() for line in (ROOT / "docs/installing.md").read_text(encoding="utf-8").splitlines()}
    for name in ("Dockerfile", "install/recipe.yaml"):
        said = (ROOT / name).read_text(encoding="utf-8").splitlines()[0].partition(": ")[2]
        assert set(said.split(" && ")) <= page, name


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    folder = Path(sys.executable).parent
    program = shutil.which("hadolint", path=str(folder)) or shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is not installed")
    line = [program, "--no-color", str(ROOT / "Dockerfile")]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_recipe_has_the_keys_of_its_schema() -> None:
    """Those of the first version of the schema that the recipe uses: an unknown one is an error of rattler-build."""
    keys = {
        "": {"schema_version", "package", "source", "build", "requirements", "tests", "about"},
        "source": {"path"},
        "build": {"noarch", "script", "python"},
        "requirements": {"host", "run"},
        "about": {"summary", "license", "license_file"},
    }
    for name, allowed in keys.items():
        assert set(RECIPE[name] if name else RECIPE) == allowed, name
    assert RECIPE["schema_version"] == 1
    assert RECIPE["about"]["license"] == PROJECT["license"]
    assert (ROOT / RECIPE["about"]["license_file"]).is_file()
    assert [next(iter(test)) for test in RECIPE["tests"]] == ["python", "script"]


def test_the_build_needs_what_the_recipe_has_at_hand() -> None:
    """It builds without isolation, so that what pyproject.toml asks for has to be among the packages of the host."""
    system = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]
    assert "--no-build-isolation" in RECIPE["build"]["script"]
    host = named(RECIPE["requirements"]["host"])
    assert {name: host.get(name) for name in named(system["requires"])} == named(system["requires"])


def test_the_commands_of_the_image_are_lists() -> None:
    """In the form of JSON, so that a signal reaches Dragon and no shell stands between."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = dict(line.split(None, 1) for line in text.splitlines() if line.startswith(("ENTRYPOINT", "CMD")))
    assert {word: json.loads(value) for word, value in lines.items()} == {"ENTRYPOINT": ["dragon"], "CMD": ["--help"]}


def test_rattler_build_renders_the_recipe() -> None:
    build = pytest.importorskip("rattler_build")
    (one,) = build.Stage0Recipe.from_file(str(ROOT / "install/recipe.yaml")).render(build.VariantConfig())
    made = one.recipe.to_dict()
    assert made["package"] == RECIPE["package"]
    assert made["requirements"]["run"] == RECIPE["requirements"]["run"]


def test_conda_reads_the_packages_that_are_asked_for() -> None:
    rattler = pytest.importorskip("rattler")
    for line in (*RECIPE["requirements"]["host"], *RECIPE["requirements"]["run"]):
        found = rattler.MatchSpec(line, strict=True)
        assert found.name is not None
    version = rattler.Version
    assert version(RECIPE["package"]["version"]) >= version("0.1")


def test_the_page_has_all_extras() -> None:
    """The table of docs/installing.md names every extra that is for users."""
    page = (ROOT / "docs/installing.md").read_text(encoding="utf-8")
    table = page.partition("| extra | for | package |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1] for line in table.splitlines()[2:]]
    ours = {"test", "peers", "docs", "lint"}
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(EXTRAS) - ours
