"""Files opened for reading are regular files, and known to have been read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dragon.files.reading import open_regular, read_text, remember_reads, was_read


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_special_files_are_not_opened(make: object, tmp_path: Path) -> None:
    make(tmp_path / "special")  # type: ignore[operator]
    for path in (tmp_path / "special", "/dev/zero"):
        with pytest.raises(OSError, match=r"not a regular file, but a (pipe|device)|Is a directory"):
            open_regular(path)


def test_a_stream_that_looks_regular_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As /proc/kmsg is: nothing stands in it now, and a read would wait."""
    monkeypatch.setattr("dragon.files.reading._check", lambda *_: None)
    os.mkfifo(tmp_path / "stream")
    writer = os.open(tmp_path / "stream", os.O_RDWR)
    try:
        for size in (-1, 10):
            with open_regular(tmp_path / "stream") as file, pytest.raises(OSError, match="a stream"):
                file.read(size)
    finally:
        os.close(writer)


def test_a_name_with_nul_is_no_file() -> None:
    with pytest.raises(OSError, match="not a file name"):
        open_regular("a\0b")


def test_lines_end_in_one_way(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1\r\n2\r3\n")
    assert read_text(tmp_path / "a") == "1\n2\n3\n"


def test_what_was_read_is_known_by_any_name(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text("x")
    (tmp_path / "link").symlink_to("a")
    read_text(tmp_path / "b")
    with remember_reads():
        read_text(tmp_path / "a")
        assert [was_read(tmp_path / name) for name in ("a", "link", "b", "missing")] == [True, True, False, False]
        with remember_reads(False):
            assert not was_read(tmp_path / "a")
    assert not was_read(tmp_path / "a")
