"""What is installed: all packages are listed, the links stand, and a wheel holds every file of every package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
MAPPED = ("layers", "models", "proto", "tools")  # folders at the top that are subpackages of dragon
SETTINGS: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def package_files(root: Path) -> Iterator[Path]:
    """The files of all packages relative to `root`, each folder once: the links are not followed."""
    for top in ("dragon", *MAPPED):
        for folder, folders, files in os.walk(root / top):
            folders[:] = [f for f in folders if f != "__pycache__"]
            yield from (Path(folder, f).relative_to(root) for f in files if not f.startswith("."))


def installed(path: Path) -> str:
    """Where a file of the checkout stands in the installed package."""
    return (path if path.parts[0] == "dragon" else Path("dragon", path)).as_posix()


def test_every_folder_of_python_files_is_listed() -> None:
    folders = {installed(path.parent).replace("/", ".") for path in package_files(ROOT) if path.suffix == ".py"}
    listed = SETTINGS["tool"]["setuptools"]["packages"]
    assert len(listed) == len(set(listed))
    assert set(listed) == folders


def test_every_package_is_a_regular_one() -> None:
    folders = {path.parent for path in package_files(ROOT) if path.suffix == ".py"}
    assert [str(f) for f in folders if not (ROOT / f / "__init__.py").is_file()] == []


def test_folders_at_the_top_are_mapped() -> None:
    mapping = SETTINGS["tool"]["setuptools"]["package-dir"]
    assert mapping == {"dragon": "dragon", **{f"dragon.{name}": name for name in MAPPED}}


@pytest.mark.parametrize("name", MAPPED)
def test_links_point_to_the_folders_at_the_top(name: str) -> None:
    link = ROOT / "dragon" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..", name)


@pytest.mark.slow
@pytest.mark.parametrize("links", [True, False], ids=["checkout", "checkout without links"])
def test_wheel_holds_every_file(tmp_path: Path, links: bool) -> None:
    """Built from a copy: the build writes beside the sources. A system without links makes the same wheel."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("dragon", *MAPPED):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    if not links:
        for name in MAPPED:
            (source / "dragon" / name).unlink()
    expected = {installed(path) for path in package_files(source)}
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-build-isolation", "--no-index", "--wheel-dir", str(tmp_path), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == expected
    for sample in (
        "layers/relu.py",
        "proto/dragon.proto",
        "models/lenet/solver.prototxt",
        "engines/cuda/kernels/pooling.cu",
    ):
        assert f"dragon/{sample}" in held
