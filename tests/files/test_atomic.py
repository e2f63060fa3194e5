"""Files appear whole or not at all, and errors name them and not their temporary names."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

import pytest

from dragon.files.atomic import atomic_write, write_atomically


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_atomically(path, b"old")

    def fail() -> None:
        with atomic_write(path) as file:
            file.write(b"new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_threads_leave_the_umask_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, before = os.umask, os.umask(0o022)

    def slow(mask: int) -> int:
        found = real(mask)
        time.sleep(0.01)
        return found

    monkeypatch.setattr(os, "umask", slow)
    paths = [tmp_path / str(i) for i in range(4)]
    threads = [threading.Thread(target=write_atomically, args=(path, b"")) for path in paths]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        left = real(before)
    assert left == 0o022
    assert [path.stat().st_mode & 0o777 for path in paths] == [0o644] * 4


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write_atomically(tmp_path / "no" / "x", b"")
    assert caught.value.filename == str(tmp_path / "no" / "x")


def test_a_full_disk_names_the_file_and_not_its_temporary_name(tmp_path: Path) -> None:
    path = tmp_path / "x"

    def fail(name: str | None) -> None:
        with atomic_write(path) as file:
            named = file.name if name == "temporary" else name
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *([] if named is None else [named]))

    for name, said in [(None, str(path)), ("temporary", str(path)), ("another", "another")]:
        with pytest.raises(OSError, match="No space left") as caught:
            fail(name)
        assert caught.value.filename == said
    assert list(tmp_path.iterdir()) == []


def test_folders_pipes_and_devices_are_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path, b"")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(OSError, match="not a regular file"):
            write_atomically(tmp_path / "pipe", b"")
    with pytest.raises(OSError, match="not a regular file"):
        write_atomically("/dev/stdout", b"")
    with pytest.raises(OSError, match="not written to standard output"):
        write_atomically("-", b"")
