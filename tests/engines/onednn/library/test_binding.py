"""Finding the library, its version, statuses as errors; each number of the tables against the library's own names."""

from __future__ import annotations

import ctypes
import ctypes.util
import sys
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path

import pytest

from dragon.engines.onednn.library import binding
from dragon.engines.onednn.library.binding import Library, UnimplementedError, check, library
from dragon.engines.onednn.library.constants import Alg, DataType, Prop, Status, Tag
from dragon.engines.onednn.library.device import Device
from dragon.errors import EngineError


@pytest.fixture
def fresh() -> Iterator[None]:
    """The library is looked for again, before and after."""
    library.cache_clear()
    yield
    library.cache_clear()


@pytest.mark.parametrize(
    ("function", "table"),
    [
        ("dnnl_alg_kind2str", Alg),
        ("dnnl_prop_kind2str", Prop),
        ("dnnl_dt2str", DataType),
        ("dnnl_fmt_tag2str", Tag),
    ],
)
def test_numbers_have_the_names_the_library_gives(device: Device, function: str, table: type[IntEnum]) -> None:
    name = library().cdll[function]
    name.argtypes, name.restype = [ctypes.c_int], ctypes.c_char_p
    assert {m.name: name(m).decode() for m in table} == {m.name: m.name for m in table}


def test_version_is_three(device: Device) -> None:
    assert library().version[0] == 3


def test_status_becomes_an_error() -> None:
    check(Status.success, "nothing")
    with pytest.raises(UnimplementedError, match=r"^layer conv1: oneDNN convolution forward: unimplemented$"):
        check(Status.unimplemented, "convolution forward", "conv1")
    with pytest.raises(EngineError, match=r"^oneDNN sum: invalid_arguments$"):
        check(2, "sum")
    with pytest.raises(EngineError, match=r"status 99"):
        check(99, "sum")


@pytest.mark.usefixtures("fresh")
def test_library_named_by_the_user_must_load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "libdnnl.so.3"
    monkeypatch.setenv("ONEDNN_LIBRARY", str(path))
    with pytest.raises(EngineError, match=r"ONEDNN_LIBRARY: cannot load oneDNN from"):
        library()
    path.write_bytes(b"not a library")
    with pytest.raises(EngineError, match=r"ONEDNN_LIBRARY: cannot load oneDNN from") as caught:
        library()
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("fresh")
def test_library_named_by_the_user_is_taken(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    path = library().path
    library.cache_clear()
    monkeypatch.setenv("ONEDNN_LIBRARY", path)
    monkeypatch.setattr(binding, "WHEEL", "no-such-distribution")
    assert library().path == path


@pytest.mark.usefixtures("fresh")
def test_nothing_found_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONEDNN_LIBRARY", raising=False)
    monkeypatch.setattr(binding, "WHEEL", "no-such-distribution")
    monkeypatch.setattr(binding, "SONAME", "libdnnl-missing.so.3")
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    with pytest.raises(EngineError, match=r"^cannot load oneDNN from libdnnl-missing.so.3: .*$"):
        library()


def test_missing_openmp_runtime_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: str) -> None:
        raise OSError("libgomp.so.1: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(ctypes, "CDLL", fail)
    with pytest.raises(EngineError, match=r"needs the system library libgomp.so.1"):
        Library("libdnnl.so.3")


def test_another_library_is_refused() -> None:
    found = ctypes.util.find_library("c")
    if found is None:
        pytest.skip("no C library to try")
    with pytest.raises(EngineError, match=r"not a usable oneDNN, the function dnnl_version is missing"):
        Library(found)


def test_the_wheel_is_found_without_the_library_of_metadata() -> None:
    """By the list of its files; both ways find the same file."""
    if not binding._in_metadata():
        pytest.skip("the wheel of oneDNN is not installed")
    assert binding._recorded() == binding._in_metadata()


def test_a_list_of_files_that_is_not_there_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "onednn_cpu_gomp-1.0.dist-info").mkdir()
    other = tmp_path / "other"
    (other / "OneDNN.CPU.gomp-1.0.dist-info").mkdir(parents=True)
    (other / "OneDNN.CPU.gomp-1.0.dist-info" / "RECORD").write_text("../../libdnnl.so.3,sha256=x,1\nlibdnnl.so,,\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "none"), str(tmp_path), str(other)])
    assert binding._recorded() == [str(other / "../../libdnnl.so.3")]
