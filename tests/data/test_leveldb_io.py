"""LevelDB: the same records as an LMDB gives, and one-line errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragon.data import LevelDbReader, open_source
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
