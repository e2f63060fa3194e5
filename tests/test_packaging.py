"""What is installed: all packages are listed, the links stand, and a wheel holds every file of every package.

The source package holds the repository, and an editable install is found from any folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
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


def copied(source: Path, *more: str) -> Path:
    """A copy of what is built, and of the folders `more`: a build writes beside its sources."""
    source.mkdir(parents=True)
    for name in ("dragon", *MAPPED, "install", *more):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in (
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "MANIFEST.in",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "Makefile",
        "__main__.py",
    ):
        shutil.copy(ROOT / name, source)
    return source


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone called dragon, for tests that run it: its modules are compiled once."""
    return copied(tmp_path_factory.mktemp("above") / "dragon")


def build(source: Path, what: str, target: Path) -> Path:
    """What the build backend makes in `target`, as pip and build call it."""
    code = f"import backend, sys; print(backend.build_{what}(sys.argv[1]), file=sys.stderr)"
    target.mkdir(exist_ok=True)
    env = {**os.environ, "PYTHONPATH": str(source / "install")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(target)], cwd=source, env=env, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return target / done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_source_package_builds_the_wheel(tmp_path: Path) -> None:
    """It holds what the repository holds, without links, and the wheel made from it has every file."""
    source = copied(tmp_path / "source", "docs", "tests", "benchmarks")
    with tarfile.open(build(source, "sdist", tmp_path / "dist")) as archive:
        assert [member.name for member in archive if not (member.isfile() or member.isdir())] == []
        if hasattr(tarfile, "data_filter"):  # Debian's Python 3.11.2 has none
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(tmp_path / "unpacked")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    for name in (
        "__main__.py",
        "Makefile",
        "CHANGELOG.md",
        "docs/architecture.md",
        "tests/test_packaging.py",
        "install/backend.py",
    ):
        assert (unpacked / name).is_file(), name
    assert not {path.name for path in unpacked.iterdir()} & {"data", "runs", "demo", "dist", "build"}
    assert not list(unpacked.rglob("__pycache__"))
    expected = {installed(path) for path in package_files(source)}
    with zipfile.ZipFile(build(unpacked, "wheel", tmp_path / "dist")) as wheel:
        assert {name for name in wheel.namelist() if ".dist-info/" not in name} == expected


@pytest.mark.slow
def test_editable_install_is_found_from_the_folder_above(tmp_path: Path, clone: Path) -> None:
    """Of a clone called dragon: Python finds that folder first there, and would take it for the package."""
    site = tmp_path / "site"
    with zipfile.ZipFile(build(clone, "editable", tmp_path / "dist")) as wheel:
        wheel.extractall(site)
        record = wheel.read(next(name for name in wheel.namelist() if name.endswith("RECORD"))).decode()
    assert {line.split(",")[0] for line in record.splitlines()} >= {"dragon_checkout.pth"}
    packages = [path for path in sys.path if path.endswith("-packages")]
    code = "import site, sys; sys.path += sys.argv[2:]; site.addsitedir(sys.argv[1])\n"
    code += "import dragon; print(dragon.__file__, dragon.Net.__name__)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code, str(site), *packages], cwd=clone.parent, capture_output=True, text=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(clone / "dragon" / "__init__.py"), "Net"]


@pytest.mark.parametrize(("command", "folder"), [("-m dragon", "."), ("dragon", "."), ("../dragon", "elsewhere")])
def test_a_clone_that_is_not_installed_runs(clone: Path, command: str, folder: str) -> None:
    """Also from the folder above, where Python takes a clone called dragon for a package."""
    (clone.parent / "elsewhere").mkdir(exist_ok=True)
    packages = os.pathsep.join(path for path in sys.path if path.endswith("-packages"))
    done = subprocess.run(  # without the files of site-packages that name an installed Dragon
        [sys.executable, "-S", *command.split(), "models", "--json"], cwd=clone.parent / folder, capture_output=True,
        text=True, env={**os.environ, "PYTHONPATH": packages}, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert '"lenet"' in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("links", [True, False], ids=["checkout", "checkout without links"])
def test_wheel_holds_every_file(tmp_path: Path, links: bool) -> None:
    """Built by pip, from a copy: the build writes beside the sources. A system without links makes the same wheel."""
    source = copied(tmp_path / "source")
    if not links:
        for name in MAPPED:
            (source / "dragon" / name).unlink()
    expected = {installed(path) for path in package_files(source)}
    if links:
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--no-build-isolation", "--no-index", "--wheel-dir", str(tmp_path), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        (wheel,) = tmp_path.glob("*.whl")
    else:
        wheel = build(source, "wheel", tmp_path)
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
