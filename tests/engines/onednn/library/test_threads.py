"""Cores left by affinity and by the quotas of both versions of cgroups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.threads import set_threads, usable_cores


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))


def cores(root: Path, membership: str) -> int:
    own = root / "self"
    own.write_text(membership)
    return usable_cores(root, own)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_no_quota(tmp_path: Path) -> None:
    assert usable_cores(tmp_path, tmp_path / "missing") == 8
    write(tmp_path / "a/b/cpu.max", "max 100000\n")
    assert cores(tmp_path, "0::/a/b\n") == 8


def test_the_tightest_quota_above_counts(tmp_path: Path) -> None:
    write(tmp_path / "a/b/cpu.max", "600000 100000\n")
    write(tmp_path / "a/cpu.max", "350000 100000\n")
    assert cores(tmp_path, "0::/a/b\n") == 3


def test_first_version(tmp_path: Path) -> None:
    write(tmp_path / "cpu,cpuacct/box/cpu.cfs_quota_us", "200000\n")
    write(tmp_path / "cpu,cpuacct/box/cpu.cfs_period_us", "100000\n")
    write(tmp_path / "cpu,cpuacct/cpu.cfs_quota_us", "-1\n")
    write(tmp_path / "cpu,cpuacct/cpu.cfs_period_us", "100000\n")
    assert cores(tmp_path, "4:cpu,cpuacct:/box\n3:memory:/box\n") == 2


def test_less_than_a_core_is_one(tmp_path: Path) -> None:
    write(tmp_path / "cpu.max", "50000 100000\n")
    assert cores(tmp_path, "0::/\n") == 1


def test_openmp_is_told(device: Device) -> None:
    from dragon.engines.onednn.library.binding import library

    set_threads(2)
    assert library().cdll.omp_get_max_threads() == 2
    set_threads(0)
    assert library().cdll.omp_get_max_threads() == 1
