from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest

from dragon.data import LmdbReader, open_source, write_lmdb
from dragon.errors import DataError
from dragon.proto import dragon_pb2


def records(count: int, size: int = 4, letter: bytes = b"v") -> list[tuple[bytes, bytes]]:
    return [(f"{i:05d}".encode(), f"{i:05d}".encode() + letter * size) for i in range(count)]


def test_reads_in_key_order_and_wraps(tmp_path: Path) -> None:
    assert write_lmdb(tmp_path / "a", records(5)) == 5
    with LmdbReader(tmp_path / "a") as reader:
        assert len(reader) == 5
        read = reader.read(12)
        assert [int(r[:5]) for r in read] == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]
        assert reader.position == 2


@pytest.mark.parametrize("start", [0, 3])
@pytest.mark.parametrize("target", [0, 1, 4, 5, 13])
def test_seek_reads_on_from_the_index(tmp_path: Path, start: int, target: int) -> None:
    write_lmdb(tmp_path / "a", records(5))
    with LmdbReader(tmp_path / "a") as reader:
        reader.read(start)
        reader.seek(target)
        assert reader.position == target % 5
        assert int(reader.read(1)[0][:5]) == target % 5


def test_two_readers_of_one_folder_are_independent(tmp_path: Path) -> None:
    write_lmdb(tmp_path / "a", records(5))
    first, second = LmdbReader(tmp_path / "a"), LmdbReader(tmp_path / "a")
    first.read(2)
    first.close()
    first.close()
    assert int(second.read(1)[0][:5]) == 0
    second.close()


def test_relative_path_survives_a_change_of_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lmdb(tmp_path / "a", records(5))
    monkeypatch.chdir(tmp_path)
    reader = LmdbReader("a")
    monkeypatch.chdir("/")
    assert len(reader.read(7)) == 7
    reader.close()


def test_a_folder_written_anew_is_read_anew(tmp_path: Path) -> None:
    write_lmdb(tmp_path / "a", records(5))
    old = LmdbReader(tmp_path / "a")
    shutil.rmtree(tmp_path / "a")
    write_lmdb(tmp_path / "a", records(6, letter=b"w"))
    old.close()
    with LmdbReader(tmp_path / "a") as new:
        assert len(new) == 6
        assert new.read(1)[0] == b"00000wwww"


def test_grows_past_the_first_map_size(tmp_path: Path) -> None:
    big = [(f"{i:05d}".encode(), bytes(1 << 20)) for i in range(100)]
    assert write_lmdb(tmp_path / "a", big) == 100
    with LmdbReader(tmp_path / "a") as reader:
        assert sum(len(r) for r in reader.read(100)) == 100 << 20


def test_reads_with_plain_lmdb_and_leaves_no_other_file(tmp_path: Path) -> None:
    write_lmdb(tmp_path / "a", records(5))
    assert os.listdir(tmp_path) == ["a"]
    assert os.listdir(tmp_path / "a") == ["data.mdb"]
    with lmdb.open(str(tmp_path / "a"), readonly=True) as environment, environment.begin() as transaction:
        assert list(transaction.cursor()) == records(5)


@pytest.mark.parametrize("keys", [[b"b", b"a"], [b"a", b"a"]], ids=["descending", "twice"])
def test_keys_must_ascend(tmp_path: Path, keys: list[bytes]) -> None:
    with pytest.raises(DataError, match="twice or out of order"):
        write_lmdb(tmp_path / "a", [(key, b"v") for key in keys])
    assert os.listdir(tmp_path) == []


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[tuple[bytes, bytes]]:
        yield from records(5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_lmdb(tmp_path / "a", broken())
    assert os.listdir(tmp_path) == []


def test_a_failed_check_leaves_nothing(tmp_path: Path) -> None:
    def refuse(folder: Path) -> None:
        raise DataError(f"{len(LmdbReader(folder))} records are too few")

    with pytest.raises(DataError, match="5 records are too few"):
        write_lmdb(tmp_path / "a", records(5), refuse)
    assert os.listdir(tmp_path) == []


def test_never_writes_over_something(tmp_path: Path) -> None:
    write_lmdb(tmp_path / "a", records(5))
    with pytest.raises(DataError, match="exists already"):
        write_lmdb(tmp_path / "a", records(6))
    (tmp_path / "link").symlink_to("nothing")
    with pytest.raises(DataError, match="exists already"):
        write_lmdb(tmp_path / "link", records(6))


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'^LMDB ".*nowhere" does not exist$'):
        LmdbReader(tmp_path / "nowhere")


def test_folder_without_an_lmdb(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no data\.mdb"):
        LmdbReader(tmp_path)


def test_empty_lmdb(tmp_path: Path) -> None:
    write_lmdb(tmp_path / "a", [])
    with pytest.raises(DataError, match="is empty"):
        LmdbReader(tmp_path / "a")


def test_garbage_and_cut_files(tmp_path: Path) -> None:
    (tmp_path / "garbage").mkdir()
    (tmp_path / "garbage" / "data.mdb").write_bytes(b"no lmdb " * 4096)
    with pytest.raises(DataError, match=r'^LMDB ".*garbage" cannot be opened: .*not an LMDB'):
        LmdbReader(tmp_path / "garbage")
    write_lmdb(tmp_path / "cut", records(500, 100))
    content = (tmp_path / "cut" / "data.mdb").read_bytes()
    (tmp_path / "cut" / "data.mdb").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"is cut short: data\.mdb has"):
        LmdbReader(tmp_path / "cut")


def test_open_source_follows_the_backend(tmp_path: Path) -> None:
    lmdb_backend, leveldb_backend = dragon_pb2.DataParameter.LMDB, dragon_pb2.DataParameter.LEVELDB
    write_lmdb(tmp_path / "a", records(5))
    source = open_source(tmp_path / "a", lmdb_backend)
    assert len(source) == 5
    source.close()
    with pytest.raises(DataError, match=r"is an LMDB, .*set data_param \{ backend: LMDB \}"):
        open_source(tmp_path / "a", leveldb_backend)
    with pytest.raises(DataError, match="does not exist"):
        open_source(tmp_path / "nowhere", leveldb_backend)
    (tmp_path / "level").mkdir()
    (tmp_path / "level" / "CURRENT").write_text("MANIFEST-000001\n")
    with pytest.raises(DataError, match=r"is a LevelDB, .*set data_param \{ backend: LEVELDB \}"):
        open_source(tmp_path / "level", lmdb_backend)
