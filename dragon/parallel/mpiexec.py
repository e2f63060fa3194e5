"""Finds the program that starts ranks: the mpiexec of the MPI library that mpi4py loads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dragon.errors
from dragon.errors import UsageError
from dragon.parallel.mpi import library_missing, package_missing

__all__ = ["Mpiexec", "find_mpiexec", "package_root", "rank_environment"]

# Run by a Python of its own: loading MPI changes a process, and a launcher is no rank.
_ASK = """
import json, os, mpi4py
mpi4py.rc.initialize = False
from mpi4py import MPI
paths = []
if os.path.exists("/proc/self/maps"):
    paths = [line.split(maxsplit=5)[-1].strip() for line in open("/proc/self/maps") if "/libmpi" in line]
print(json.dumps([MPI.Get_library_version().partition("\\0")[0], paths[:1]]))
"""
# a word of the library's version, and words of which its mpiexec says one by --version
_FAMILIES = {
    "open mpi": ("open mpi", "openrte", "open-rte", "prte", "prrte"),
    "intel": ("intel",),
    "mvapich": ("hydra", "mvapich"),
    "mpich": ("hydra", "mpich"),
}
_SECONDS = 60
# Open MPI starts no more ranks than cores and binds each to one, unless it is told otherwise: here versions 5 and 4 are
_LIKE_OTHERS = {
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe", "PRTE_MCA_hwloc_default_binding_policy": "none",
    "OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_MCA_hwloc_base_binding_policy": "none",
}  # fmt: skip
_AS_ROOT = ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM")


@dataclass(frozen=True)
class Mpiexec:
    """The program at `path`. open_mpi: it is that of Open MPI, which ends ranks where others pass a signal on."""

    path: str
    open_mpi: bool = False

    def command(self, ranks: int) -> list[str]:
        """The words before those of a program that `ranks` processes are to run."""
        return [self.path, "-n", str(ranks)]


def find_mpiexec(what: str) -> Mpiexec:
    """The mpiexec beside the MPI library that mpi4py loads, beside Python, or on the PATH.

    what: what needs it. Raises UsageError without mpi4py or an MPI library, where there is no mpiexec of that
    library's kind, since the processes of another one would not find each other, and where it will start nothing.
    """
    version, library = _library(what)
    family, kinds = next(((name, words) for name, words in _FAMILIES.items() if name in version.lower()), ("", ("",)))
    others = []
    for path in dict.fromkeys(_candidates(library)):
        said = _run([path, "--version"])
        if said.returncode == 0 and any(word in (said.stdout + said.stderr).lower() for word in kinds):
            found = Mpiexec(path, family == "open mpi")
            if found.open_mpi and _is_root() and not all(os.environ.get(name) for name in _AS_ROOT):
                raise UsageError(f"{what}: Open MPI starts nothing as root unless {'=1 and '.join(_AS_ROOT)}=1 are set")
            return found
        others.append(path)
    name = " ".join(version.split()[:4]).rstrip(",")
    there = f"; {others[0]} belongs to another one" if others else ""
    raise UsageError(f"{what} needs the program mpiexec of the MPI library that mpi4py loads, {name}{there}")


def _is_root() -> bool:
    return sys.platform != "win32" and os.geteuid() == 0


def _library(what: str) -> tuple[str, str | None]:
    """The version of the MPI library that mpi4py loads, and its path if that is known."""
    done = _run([sys.executable, "-P", "-c", _ASK])
    if done.returncode == 0:
        version, paths = json.loads(done.stdout.splitlines()[-1])
        return version, paths[0] if paths else None
    last = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
    if "No module named 'mpi4py'" in last[0]:
        raise package_missing(what)
    raise library_missing(what, last[0])


def _candidates(library: str | None) -> Iterator[str]:
    """Programs that may be the mpiexec of a library, those nearest to it first."""
    folders = [] if library is None else [Path(library).resolve().parents[k] / "bin" for k in (1, 2)]
    folders.append(Path(sys.executable).parent)
    for folder in folders:
        found = shutil.which("mpiexec", path=str(folder))
        if found:
            yield found
    found = shutil.which("mpiexec")
    if found:
        yield found


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def package_root() -> Path:
    """The folder from which `dragon` is imported here."""
    return Path(dragon.errors.__file__).resolve().parents[1]


def rank_environment() -> dict[str, str]:
    """The environment of mpiexec and of ranks, which import the same package that runs here, installed or not."""
    paths = [str(package_root()), os.environ.get("PYTHONPATH")]
    return {**_LIKE_OTHERS, **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
