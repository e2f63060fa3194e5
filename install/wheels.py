"""Looks which packages of pyproject.toml have wheels, for each Python and system; `--write` puts the table into a page.

A package without a wheel has to be compiled where it is installed, which most machines cannot. pip is asked, and
fetches nothing but descriptions. Run by `make wheels-table`, where the package index can be reached.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- wheels: begin -->", "<!-- wheels: end -->"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
UNLISTED = ("test", "peers", "lint", "docs")  # extras for those who work on Dragon

# the tags that pip is asked for, and what markers see there
_LINUX = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
_MAC = {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix"}
_WINDOWS = {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt"}
_GLIBC = range(17, 37)


def _manylinux(machine: str) -> list[str]:
    # onednn-cpu-gomp and others carry the tags from before glibc's version stood in them
    return [f"manylinux_2_{n}_{machine}" for n in _GLIBC] + [f"manylinux{n}_{machine}" for n in ("1", "2010", "2014")]


SYSTEMS = {
    "Linux x86-64": (_manylinux("x86_64"), {**_LINUX, "platform_machine": "x86_64"}),
    "Linux aarch64": (_manylinux("aarch64"), {**_LINUX, "platform_machine": "aarch64"}),
    "macOS arm64": (["macosx_15_0_arm64"], {**_MAC, "platform_machine": "arm64"}),
    "macOS x86-64": (["macosx_15_0_x86_64"], {**_MAC, "platform_machine": "x86_64"}),
    "Windows x86-64": (["win_amd64"], {**_WINDOWS, "platform_machine": "AMD64"}),
}


def requirements() -> dict[str, list[Requirement]]:
    """What each group installs: "" for what everybody gets, then the extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return {name: [Requirement(text) for text in texts] for name, texts in groups.items() if name not in UNLISTED}


def wanted(requirement: Requirement, python: str, system: str) -> bool:
    """Whether its marker asks for the package there."""
    facts = {**SYSTEMS[system][1], "python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    return requirement.marker is None or requirement.marker.evaluate(facts)


def without_wheel(texts: Iterable[str], python: str, system: str) -> set[str]:
    """The requirements, given without markers, for which pip finds no wheel. Raises RuntimeError where pip fails."""
    missing: set[str] = set()
    while pending := [text for text in sorted(set(texts)) if text not in missing]:
        with tempfile.TemporaryDirectory() as target:
            command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--only-binary=:all:"]
            command += ["--disable-pip-version-check", "--quiet", "--target", target, "--python-version", python]
            command += [word for tag in SYSTEMS[system][0] for word in ("--platform", tag)]
            done = subprocess.run([*command, *pending], capture_output=True, text=True, check=False, timeout=600)
        if done.returncode == 0:
            return missing
        named = re.search(r"(?:No matching distribution found for|Cannot install) (\S+)", done.stderr)
        gone = named and next((text for text in pending if _same(text, named[1])), None)
        if not gone:
            raise RuntimeError(f"{system}, Python {python}: {done.stderr.strip()}")
        missing.add(gone)
    return missing


def _same(text: str, named: str) -> bool:
    return re.match(r"[\w.-]+", text)[0].lower() == re.match(r"[\w.-]+", named)[0].lower()  # type: ignore[index]


def rows(pythons: Iterable[str], systems: Iterable[str]) -> Iterator[list[str]]:
    """The lines of the table: group, package, then for each system the Pythons that have a wheel."""
    groups = requirements()
    plain = {str(r): f"{r.name}{r.specifier}" for group in groups.values() for r in group}
    asked = {
        (python, system): without_wheel(
            [plain[str(r)] for group in groups.values() for r in group if wanted(r, python, system)], python, system
        )
        for python in pythons
        for system in systems
    }
    for name, group in groups.items():
        for requirement in group:
            cells = []
            for system in systems:
                here = [p for p in pythons if wanted(requirement, p, system)]
                there = [p for p in here if plain[str(requirement)] not in asked[p, system]]
                cells.append(_cell(here, there, list(pythons)))
            yield [f"`{name}`" if name else "core", requirement.name, *cells]


def _cell(wanted_on: list[str], found_on: list[str], pythons: list[str]) -> str:
    """ "yes" for all Pythons, else those that have a wheel; what the marker leaves out is not asked for."""
    if not wanted_on:
        return "left out"
    missing = [p for p in wanted_on if p not in found_on]
    if missing:
        return f"**no wheel for {', '.join(missing)}**"
    return "yes" if wanted_on == pythons else f"for {', '.join(wanted_on)}"


def table(lines: Iterable[list[str]], systems: Iterable[str]) -> str:
    """The table in Markdown."""
    head = ["for", "package", *systems]
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *lines])


def main() -> int:
    """The exit status: 1 where a package that everybody needs has no wheel."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", action="append", help="only this one; may be repeated")
    parser.add_argument("--system", action="append", choices=list(SYSTEMS), help="only this one; may be repeated")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table between the marks of this page")
    args = parser.parse_args()
    systems = tuple(args.system or SYSTEMS)
    lines = list(rows(tuple(args.python or PYTHONS), systems))
    text = table(lines, systems)
    if args.write:
        page = args.write.read_text(encoding="utf-8")
        before, _, rest = page.partition(BEGIN)
        args.write.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    print(text)
    return int(any(line[0] == "core" and "no wheel" in " ".join(line) for line in lines))


if __name__ == "__main__":
    sys.exit(main())
