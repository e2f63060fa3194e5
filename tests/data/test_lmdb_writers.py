"""Reading an LMDB while somebody writes it, shortens it or replaces it, and where nothing may be written."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb
import pytest

from dragon.data import LmdbReader, write_lmdb
from dragon.data.lmdb_file import LmdbFile
from dragon.errors import DataError

RECORDS = 400

# Each record holds its key and a digest of itself, and is written again and again in other sizes.
WRITER = """
    import hashlib, random, sys, lmdb
    folder, lock = sys.argv[1], sys.argv[2] == "lock"
    environment = lmdb.open(folder, map_size=1 << 28, lock=lock, sync=False, metasync=False)
    chance, wrote = random.Random(1), False
    while True:
        with environment.begin(write=True) as transaction:
            for _ in range(20):
                key = b"%05d" % chance.randrange(400)
                body = key + chance.randbytes(chance.choice((20, 900, 3000, 9000)))
                if chance.random() < 0.3:
                    transaction.delete(key)
                transaction.put(key, hashlib.sha1(body).digest() + body)
        if not wrote:
            print("writing", flush=True)
            wrote = True
"""


def record(key: bytes) -> bytes:
    return hashlib.sha1(key).digest() + key


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "a"
    keys = [b"%05d" % i for i in range(RECORDS)]
    write_lmdb(path, ((key, record(key)) for key in keys))
    return path


@contextmanager
def writer(folder: Path, lock: str = "lock") -> Iterator[None]:
    """Another process that writes all the time."""
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(folder), lock]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"writing\n"
            yield
        finally:
            process.kill()


def check(value: bytes) -> bytes:
    """The key of a whole record."""
    assert hashlib.sha1(value[20:]).digest() == value[:20]
    return value[20:25]


def test_a_writer_at_work_is_not_seen(folder: Path) -> None:
    with LmdbReader(folder) as reader, writer(folder):
        for start in range(0, 20 * RECORDS, 64):
            for i, value in enumerate(reader.read(64)):
                assert check(value) == b"%05d" % ((start + i) % RECORDS)
        for i in range(0, RECORDS, 7):
            assert check(reader.get(b"%05d" % i)) == b"%05d" % i
        assert reader.keys() == [b"%05d" % i for i in range(RECORDS)]


def test_several_readers_beside_a_writer(folder: Path) -> None:
    with LmdbReader(folder) as first, LmdbReader(folder) as second, writer(folder):
        for i in range(5 * RECORDS):
            for reader in (first, second):
                assert check(reader.read(1)[0]) == b"%05d" % (i % RECORDS)


def test_a_writer_without_a_lock_file_gives_whole_records_or_an_error(folder: Path) -> None:
    with LmdbReader(folder) as reader, writer(folder, "no lock"):
        assert not (folder / "lock.mdb").exists()
        try:
            for _ in range(RECORDS):
                check(reader.read(1)[0])
        except DataError as error:
            assert "it is written to all the time" in str(error)  # noqa: PT017
    assert not (folder / "lock.mdb").exists()


def test_a_program_that_has_the_folder_open_itself(folder: Path) -> None:
    with (
        lmdb.open(str(folder), map_size=1 << 28, sync=False, metasync=False) as environment,
        LmdbReader(folder) as reader,
    ):
        for i in range(RECORDS):
            for _ in range(3):
                with environment.begin(write=True) as transaction:
                    transaction.put(b"%05d" % i, record(b"%05dx" % i))
            assert check(reader.read(1)[0]) == b"%05d" % i


def test_records_that_were_added_are_seen_in_the_end(folder: Path) -> None:
    with LmdbReader(folder) as reader:
        reader.read(RECORDS - 1)
        with lmdb.open(str(folder), map_size=1 << 28, sync=False, metasync=False) as environment:
            for i in range(RECORDS, RECORDS + 30):
                with environment.begin(write=True) as transaction:
                    transaction.put(b"%05d" % i, record(b"%05d" % i))
        assert [check(value) for value in reader.read(3)] == [b"%05d" % (RECORDS - 1 + i) for i in range(3)]
        assert len(reader) == RECORDS + 30


def test_a_reader_slot_is_released(folder: Path) -> None:
    lmdb.open(str(folder)).close()  # makes the lock file
    with LmdbReader(folder) as reader:
        assert "no active readers" in lmdb_readers(folder)
        reader._pages.follow()
        assert "pid" in lmdb_readers(folder)
    assert "no active readers" in lmdb_readers(folder)
    again = LmdbReader(folder)
    again._pages.follow()
    assert "pid" in lmdb_readers(folder)
    del again  # not closed
    assert "no active readers" in lmdb_readers(folder)


def lmdb_readers(folder: Path) -> str:
    """The readers as another process sees them."""
    command = "import lmdb, sys; print(lmdb.open(sys.argv[1]).readers())"
    return subprocess.run([sys.executable, "-c", command, str(folder)], capture_output=True, text=True).stdout


@pytest.mark.parametrize("size", [0, 100, 4096, 8192, 20_000])
def test_a_file_that_shrinks_is_an_error(folder: Path, size: int) -> None:
    with LmdbReader(folder) as reader:
        reader.read(10)
        os.truncate(folder / "data.mdb", size)
        with pytest.raises(DataError, match=r"cut short|cannot be opened"):
            reader.read(RECORDS)
        with pytest.raises(DataError, match=r"cut short|cannot be opened"):
            reader.get(b"00399")


def test_a_file_that_shrinks_while_a_reader_has_a_slot_is_an_error(folder: Path) -> None:
    (folder / "lock.mdb").touch()
    with LmdbReader(folder) as reader:
        reader._pages.follow()
        reader.read(10)
        os.truncate(folder / "data.mdb", 0)
        with pytest.raises(DataError, match="cut short"):
            reader.read(RECORDS)


def test_another_database_copied_over_it_is_noticed(folder: Path, tmp_path: Path) -> None:
    write_lmdb(tmp_path / "b", ((b"%05d" % i, record(b"other%d" % i)) for i in range(50)))
    with LmdbReader(folder) as reader:
        reader.read(3)
        shutil.copyfile(tmp_path / "b" / "data.mdb", folder / "data.mdb")
        assert [value[20:] for value in reader.read(2)] == [b"other3", b"other4"]
        assert len(reader) == 50


def test_a_read_only_folder(folder: Path) -> None:
    folder.chmod(0o555)
    (folder / "data.mdb").chmod(0o444)
    with LmdbReader(folder) as reader:
        assert [check(value) for value in reader.read(RECORDS)] == [b"%05d" % i for i in range(RECORDS)]
    assert os.listdir(folder) == ["data.mdb"]
    folder.chmod(0o755)


def test_a_lock_file_that_cannot_be_opened_is_done_without(folder: Path) -> None:
    (folder / "lock.mdb").mkdir()
    file = LmdbFile(str(folder))
    file.follow()
    assert file.is_unchanged()
    assert file.header.entries == RECORDS
    file.close()
