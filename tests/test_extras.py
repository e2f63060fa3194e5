"""What messages and documents tell the user to install is there: extras of pyproject.toml, packages that it names."""

from __future__ import annotations

import ast
import builtins
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from dragon.data import LevelDbReader
from dragon.errors import DataError, UsageError
from dragon.extras import LEVELDB_WHEELS_END, install_command
from dragon.tools.common import curves
from tests.imports import ROOT, files

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
PACKAGES = {
    re.split(r"[\s<>=;!\[]", text)[0].lower() for group in (PROJECT["dependencies"], *EXTRAS.values()) for text in group
}
OUR_OWN = {"dragon-caffe"}
NVIDIA = {"nvidia-cublas"}  # cuBLAS alone, for a CuPy that came without it; CuPy's extra names no version


@cache
def modules_with(words: str) -> dict[str, ast.Module]:
    """The modules whose text has these words, by their names: most have not, and parsing all takes seconds."""
    texts = {module: path.read_text(encoding="utf-8") for module, path in files().items()}
    return {module: ast.parse(text) for module, text in texts.items() if words in text}


def hints() -> Iterator[tuple[str, str]]:
    """Place and text of every text that says `pip install`, in the code and in the documents.

    In the code it may be written as two texts, one behind the other.
    """
    for module, tree in modules_with("pip").items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "pip install" in node.value:
                yield module, node.value
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for line in page.read_text(encoding="utf-8").splitlines():
            if "pip install" in line:
                yield page.name, line


def named(text: str) -> Iterator[str]:
    """The packages that a text tells pip to install; a path, a flag and a value that is filled in are none."""
    for words in re.findall(r"pip install ([^\n`#(:;,]+)", text):
        for word in words.split():
            name = word.strip("\"'").split("[")[0]
            if not re.fullmatch(r"[a-z][\w.-]*[a-z0-9]", name) or name.endswith((".whl", ".gz")):
                break  # the sentence goes on
            yield name


def test_extras_that_are_named_exist() -> None:
    called = {
        node.args[0].value
        for tree in modules_with("install_command").values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "install_command"
        and isinstance(node.args[0], ast.Constant)
    }  # fmt: skip
    written = {extra for _, text in hints() for extra in re.findall(r"dragon-caffe\[(\w+)\]", text)}
    assert {"leveldb", "plot", "torch", "onnx"} <= called
    assert called | written <= set(EXTRAS)


def test_packages_that_are_named_are_those_of_the_project() -> None:
    known = PACKAGES | OUR_OWN | NVIDIA
    found = [(place, name) for place, text in hints() for name in named(text)]
    assert len(found) > 5
    assert [(place, name) for place, name in found if name.lower() not in known] == []


def test_names_are_found_in_a_hint() -> None:
    assert list(named('x needs a package: pip install "dragon-caffe[torch]"')) == ["dragon-caffe"]
    assert list(named("pip install onnx onnxruntime # both")) == ["onnx", "onnxruntime"]
    assert list(named("pip install . in an environment of yours")) == []


@pytest.mark.parametrize("cuda", ["12", "13"])
def test_an_extra_for_gpus_brings_all_that_the_engine_loads(cuda: str) -> None:
    """Kernels need NVRTC and products cuBLAS, both by CuPy's ctk; convolutions cuDNN, of the same CUDA throughout."""
    assert EXTRAS[f"cuda{cuda}"] == [f"cupy-cuda{cuda}x[ctk]>=14", f"nvidia-cudnn-cu{cuda}>=9,<10", EXTRAS["cudnn"][1]]
    assert EXTRAS["cudnn"] == [EXTRAS["cuda13"][1], "nvidia-cudnn-frontend>=1.12,<1.29"]


def without(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Let imports of a package fail as if it were not installed."""
    real = builtins.__import__

    def guarded(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named '{package}'", name=package)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", guarded)


@pytest.mark.parametrize(
    ("version", "advice"),
    [
        ((3, 12), install_command("leveldb")),
        ((3, 13), "no wheel for Python 3.13 and later: convert the data to an LMDB on an older Python, or compile it"),
        ((3, 14), "no wheel for Python 3.13 and later"),
    ],
)
def test_leveldb_without_its_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: tuple[int, int], advice: str
) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    without(monkeypatch, "plyvel")
    with pytest.raises(DataError) as caught:
        LevelDbReader(str(tmp_path))
    assert str(caught.value).startswith(f'"{tmp_path}": a LevelDB needs ')
    assert advice in str(caught.value)
    assert "\n" not in str(caught.value)


def test_leveldb_ends_where_its_marker_does() -> None:
    version = ".".join(map(str, LEVELDB_WHEELS_END))
    lines = [line for group in EXTRAS.values() for line in group if line.startswith("plyvel-ci")]
    assert len(lines) == 2
    assert all(f"python_version < '{version}'" in line for line in lines)


def test_plots_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r'^plots need a package: pip install "dragon-caffe\[plot\]"$'):
        curves.new_figure(6, 4)
