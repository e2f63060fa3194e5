"""A file that cannot be written says what is wrong with its folder."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dragon.files.atomic import check_writable, write_atomically
from dragon.files.folders import check_folder, files_below, make_folder, walk


@pytest.mark.parametrize(
    ("path", "number", "reason"),
    [
        ("none/x", errno.ENOENT, 'the folder "none" does not exist'),
        ("folder/none/deep/x", errno.ENOENT, f'the folder "{Path("folder/none/deep")}" does not exist'),
        ("file/x", errno.ENOTDIR, '"file" is a file, not a folder'),
        ("file/deep/x", errno.ENOTDIR, '"file" is a file, not a folder'),
    ],
)
def test_the_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, number: int, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("file").touch()
    for attempt in (check_writable, lambda place: write_atomically(place, b"")):
        with pytest.raises(OSError, match=reason.replace("\\", ".")) as caught:
            attempt(path)
        assert (caught.value.errno, caught.value.filename) == (number, path)
    if number == errno.ENOENT:
        check_writable(path, made=True)
        make_folder(Path(path).parent)
        write_atomically(path, b"")
        return
    with pytest.raises(NotADirectoryError, match=reason):
        check_writable(path, made=True)
    with pytest.raises(NotADirectoryError, match=reason):
        make_folder(Path(path).parent)


@pytest.mark.parametrize("path", ["link", "link/deep"])
def test_a_link_to_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("link").symlink_to("gone")
    for attempt in (make_folder, lambda place: check_writable(Path(place) / "x", made=True)):
        with pytest.raises(FileNotFoundError, match=r'"link" is a link to "gone", which does not exist'):
            attempt(path)


def test_a_write_protected_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError) as caught:
        check_writable(tmp_path / "x")
    assert caught.value.strerror == f'the folder "{tmp_path}" cannot be written to'
    with pytest.raises(PermissionError) as caught:
        check_folder(tmp_path / "a" / "b", tmp_path / "a" / "b", made=True)
    assert caught.value.strerror == f'the folder "{tmp_path}" cannot be written to'


def test_a_folder_that_cannot_be_made_in_a_write_protected_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: str | os.PathLike[str], mode: int = 0) -> None:
        if not Path(path).parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(os, "mkdir", refused)
    with pytest.raises(PermissionError) as caught:
        make_folder(tmp_path / "a" / "b")
    assert caught.value.filename == str(tmp_path / "a" / "b")
    assert caught.value.strerror == f'the folder "{tmp_path}" cannot be written to'


@pytest.fixture
def deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A path of 1,200 levels. They are removed here: pytest would nest its calls for them."""
    monkeypatch.chdir(tmp_path)
    yield Path("/".join("d" * 1200))
    for place, names in reversed(list(walk("d"))):
        for name in names:
            os.unlink(os.path.join(place, name))
        if os.path.isdir(place):
            os.rmdir(place)


def test_any_depth(deep: Path) -> None:
    """Deeper than Python's calls may nest; the path has to be as short as the system takes."""
    check_folder(deep, deep / "x", made=True)
    with pytest.raises(OSError, match="does not exist"):
        check_folder(deep, deep / "x")
    make_folder(deep)
    make_folder(deep)
    (deep / "x").touch()
    check_folder(deep, deep / "x")
    assert files_below("d") == [deep / "x"]
    assert len(list(walk("d"))) == 1200
    Path("d/file").touch()
    with pytest.raises(NotADirectoryError, match='file" is a file, not a folder'):
        make_folder("d/file/deep/er")


def test_files_come_before_those_of_folders_below(tmp_path: Path) -> None:
    for name in ("b/2", "b/a/3", "b/1", "a/0", "z", ".hidden/4"):
        make_folder((tmp_path / name).parent)
        (tmp_path / name).touch()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    seen = [(os.path.relpath(place, tmp_path), names) for place, names in walk(tmp_path, lambda name: name[0] != ".")]
    assert seen == [(".", ["z"]), ("a", ["0"]), ("b", ["1", "2"]), (os.path.join("b", "a"), ["3"])]
    assert [path.name for path in files_below(tmp_path)] == ["4", "0", "1", "2", "3", "z"]
    assert list(walk(tmp_path / "z")) == [(str(tmp_path / "z"), [])]
