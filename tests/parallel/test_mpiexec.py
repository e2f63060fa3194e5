"""Which mpiexec starts the ranks, and what is said where there is none."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from dragon.errors import UsageError
from dragon.parallel import mpiexec

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the programs here are scripts of a shell")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An mpiexec of Open MPI and one of MPICH, in this order, in the place of those of the system."""
    found = []
    for name, said in (("one", "mpiexec (OpenRTE) 4.1.6"), ("two", "HYDRA build details: Version: 5.0.2")):
        (tmp_path / name).mkdir()
        path = tmp_path / name / "mpiexec"
        path.write_text(f"#!/bin/sh\necho '{said}'\n")
        path.chmod(0o755)
        found.append(str(path))
    monkeypatch.setattr(mpiexec, "_candidates", lambda library: iter(found))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return found


@pytest.mark.parametrize(
    ("version", "which"), [("MPICH Version: 5.0.2", 1), ("Open MPI v4.1.6, package: x", 0), ("unknown", 0)]
)
def test_it_is_that_of_the_library(
    programs: list[str], monkeypatch: pytest.MonkeyPatch, version: str, which: int
) -> None:
    monkeypatch.setattr(mpiexec, "_library", lambda what: (version, None))
    assert mpiexec.find_mpiexec("--ranks 2").path == programs[which]


def test_where_there_is_none_or_another_ones(programs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpiexec, "_library", lambda what: ("MPICH Version: 5.0.2", None))
    del programs[1]
    needs = "--ranks 2 needs the program mpiexec of the MPI library that mpi4py loads, MPICH Version: 5.0.2"
    with pytest.raises(UsageError, match=f"^{needs}; {programs[0]} belongs to another one$"):
        mpiexec.find_mpiexec("--ranks 2")
    programs.clear()
    with pytest.raises(UsageError, match=f"^{needs}$"):
        mpiexec.find_mpiexec("--ranks 2")


def test_open_mpi_as_root(programs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpiexec, "_library", lambda what: ("Open MPI v5.0.11, package: x", None))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    allowed = "OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"
    for name in allowed:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(
        UsageError, match=f"^--ranks 2: Open MPI starts nothing as root unless {'=1 and '.join(allowed)}=1"
    ):
        mpiexec.find_mpiexec("--ranks 2")
    for name in allowed:
        monkeypatch.setenv(name, "1")
    assert mpiexec.find_mpiexec("--ranks 2") == mpiexec.Mpiexec(programs[0], open_mpi=True)


def test_settings_of_the_user_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRTE_MCA_hwloc_default_binding_policy", "core")
    found = mpiexec.rank_environment()
    assert found["PRTE_MCA_hwloc_default_binding_policy"] == "core"
    assert found["PRTE_MCA_rmaps_default_mapping_policy"] == ":oversubscribe"


def test_without_mpi4py(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpiexec, "_ASK", "raise ModuleNotFoundError(\"No module named 'mpi4py'\")")
    with pytest.raises(UsageError, match=r'^--ranks 2 needs a package: pip install "dragon-caffe\[mpi\]"$'):
        mpiexec.find_mpiexec("--ranks 2")
