"""LevelDB: the same records as an LMDB gives, and one-line errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dragon.data import LevelDbReader, open_source, write_leveldb
from dragon.errors import DataError
from dragon.proto import dragon_pb2 as pb

plyvel = pytest.importorskip("plyvel", reason="plyvel-ci is not installed")
RECORDS = [(f"{i:05d}".encode(), bytes([i]) * 3) for i in range(7)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "level"
    with plyvel.DB(str(path), create_if_missing=True) as db:
        for key, value in reversed(RECORDS):
            db.put(key, value)
    return path


def test_reads_in_key_order_and_wraps_around(folder: Path) -> None:
    reader = LevelDbReader(folder)
    assert len(reader) == 7
    values = [value for _, value in RECORDS]
    assert reader.read(5) == values[:5]
    assert reader.position == 5
    assert reader.read(4) == [*values[5:], *values[:2]]
    assert reader.position == 2
    reader.seek(6)
    assert reader.read(1) == values[6:]
    assert reader.keys() == [key for key, _ in RECORDS]
    assert reader.get(b"00003") == values[3]
    reader.close()
    reader.close()


def test_open_source_takes_the_backend_at_its_word(folder: Path) -> None:
    reader = open_source(folder, pb.DataParameter.LEVELDB)
    assert isinstance(reader, LevelDbReader)
    reader.close()
    with pytest.raises(DataError, match="is a LevelDB, backend says LMDB"):
        open_source(folder, pb.DataParameter.LMDB)


def test_missing_empty_and_damaged_folders(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(DataError, match="no file CURRENT"):
        LevelDbReader(tmp_path)
    plyvel.DB(str(tmp_path / "empty"), create_if_missing=True).close()
    with pytest.raises(DataError, match="is empty"):
        LevelDbReader(tmp_path / "empty")
    (folder / "CURRENT").write_text("nonsense")
    with pytest.raises(DataError, match="cannot be opened") as caught:
        LevelDbReader(folder)
    assert "\n" not in str(caught.value)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    many = [(f"{i:05d}".encode(), bytes([i % 256]) * 2000) for i in range(950)]
    assert write_leveldb(tmp_path / "new", iter(many)) == 950
    reader = LevelDbReader(tmp_path / "new")
    assert reader.read(950) == [value for _, value in many]
    assert reader.read(3) == [value for _, value in many[:3]]
    with pytest.raises(DataError, match="has no record b'x'"):
        reader.get(b"x")
    reader.close()
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    with pytest.raises(DataError, match="exists already"):
        write_leveldb(tmp_path / "new", many)


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[tuple[bytes, bytes]]:
        yield from RECORDS
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_leveldb(tmp_path / "a", broken())
    assert list(tmp_path.iterdir()) == []


def test_damage_behind_the_front_page_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    with plyvel.DB(str(folder), create_if_missing=True) as db:
        for key, value in RECORDS:
            db.put(key, value)
        db.compact_range()
    table = next(folder.glob("*.ldb"))
    table.write_bytes(b"x" * table.stat().st_size)
    with pytest.raises(DataError, match=r'^LevelDB ".*" cannot be (read|opened): Corruption') as caught:
        LevelDbReader(folder)
    assert "\n" not in str(caught.value)


def test_a_block_outside_its_table_is_one_line(folder: Path) -> None:
    with plyvel.DB(str(folder)) as db:
        db.compact_range()
    (table,) = folder.glob("*.ldb")
    content = table.read_bytes()
    at = next(i for i in range(len(content) - 48, len(content)) if content[i : i + 1] == b"\0") - 1
    huge = content[:at] + b"\xff\xff\xff\xff\x7f"  # the size of the index: 34 GB, which LevelDB would allocate
    table.write_bytes(huge + content[len(huge) :])
    with pytest.raises(DataError, match=r"damaged: .*\.ldb has .* bytes, and names a block of 34,.* at"):
        LevelDbReader(folder)


def test_a_table_without_places_of_blocks_is_one_line(folder: Path) -> None:
    with plyvel.DB(str(folder)) as db:
        db.compact_range()
    (table,) = folder.glob("*.ldb")
    content = table.read_bytes()
    table.write_bytes(content[:-48] + b"\xff" * 40 + content[-8:])
    with pytest.raises(DataError, match=r"damaged: .*\.ldb does not say where its blocks are"):
        LevelDbReader(folder)
