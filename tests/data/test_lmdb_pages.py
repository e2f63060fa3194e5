"""The reader of pages against the library: the same records, by number and by key, in files of several shapes."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path

import lmdb
import pytest

from dragon.data import LmdbReader, write_lmdb
from dragon.data.lmdb_pages import LmdbPages
from dragon.errors import DataError

Records = list[tuple[bytes, bytes]]


def made(count: int, least: int, most: int) -> Records:
    chance = random.Random(count)
    keys = sorted({chance.randbytes(chance.randrange(1, 40)) for _ in range(count)})
    return [(key, chance.randbytes(chance.randrange(least, most))) for key in keys]


@pytest.mark.parametrize(
    ("count", "least", "most"),
    [(1, 0, 1), (3, 0, 9), (1500, 0, 30), (700, 900, 2500), (60, 3000, 90000), (20000, 0, 4)],
    ids=["one", "one leaf", "small", "some on pages of their own", "large", "three levels"],
)
def test_the_same_as_the_library(tmp_path: Path, count: int, least: int, most: int) -> None:
    records = made(count, least, most)
    write_lmdb(tmp_path / "a", records)
    pages = LmdbPages(str(tmp_path / "a"))
    assert len(pages) == len(records)
    assert list(pages.records(keys=True)) == [key for key, _ in records]
    assert list(pages.records()) == [value for _, value in records]
    for start in (1, len(records) // 2, len(records) - 1):
        assert list(pages.records(start)) == [value for _, value in records[start:]]
    for key, value in records[:: max(1, len(records) // 300)]:
        assert pages.find(key) == value
        assert pages.find(key + b"\0") is None
    assert pages.find(b"") is None
    pages.close()


def test_a_file_that_was_changed_after_it_was_written(tmp_path: Path) -> None:
    records = dict(made(2000, 0, 3000))
    write_lmdb(tmp_path / "a", sorted(records.items()))
    chance = random.Random(1)
    for _ in range(5):
        with (
            lmdb.open(str(tmp_path / "a"), map_size=1 << 28, lock=False) as environment,
            environment.begin(write=True) as t,
        ):
            for key in chance.sample(sorted(records), 200):
                if chance.random() < 0.5:
                    t.delete(key)
                    del records[key]
                else:
                    records[key] = chance.randbytes(chance.randrange(5000))
                    t.put(key, records[key])
    with LmdbReader(tmp_path / "a") as reader:
        assert reader.keys() == sorted(records)
        assert reader.read(len(reader)) == [value for _, value in sorted(records.items())]


def test_what_caffe_does_not_write_is_refused(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path / "a"), max_dbs=2, lock=False) as environment:
        inner = environment.open_db(b"inner")
        with environment.begin(write=True) as transaction:
            transaction.put(b"k", b"v", db=inner)
    with pytest.raises(DataError, match="holds a database of its own"):
        LmdbReader(tmp_path / "a").read(1)


def test_circles_and_wild_pages_are_damage(tmp_path: Path) -> None:
    write_lmdb(tmp_path / "a", made(5000, 0, 30))
    path = tmp_path / "a" / "data.mdb"
    content = bytearray(path.read_bytes())
    pages = LmdbPages(str(tmp_path / "a"))
    root, size = pages._root, pages._page
    first = int.from_bytes(content[root * size + 16 : root * size + 18], "little") + root * size
    for page, message in ((root, "has kind"), (1 << 20, "is outside of the file"), (0, "is outside")):
        content[first : first + 4] = page.to_bytes(4, "little")
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            LmdbReader(tmp_path / "a").read(5000)


def test_what_is_remembered_of_one_pass_is_right_in_the_next(tmp_path: Path) -> None:
    records = made(700, 900, 2500)
    write_lmdb(tmp_path / "a", records)
    values = [value for _, value in records]
    pages = LmdbPages(str(tmp_path / "a"))
    assert list(islice(pages.records(650), 10)) == values[650:660]  # before anything is known of the first ones
    for stop in (0, 1, 300, 299):  # a pass that ends early, one that goes on from there, one within what is known
        assert list(islice(pages.records(), stop)) == values[:stop]
    assert list(islice(pages.records(200), 300)) == values[200:500]
    assert list(pages.records(450)) == values[450:]
    for start in (0, 10, 699, 700, 800):
        assert list(pages.records(start)) == values[start:]
    assert list(pages.records(keys=True)) == [key for key, _ in records]
    pages.close()


def test_passes_that_take_turns_miss_nothing(tmp_path: Path) -> None:
    records = made(300, 900, 2500)
    write_lmdb(tmp_path / "a", records)
    values = [value for _, value in records]
    pages = LmdbPages(str(tmp_path / "a"))
    assert list(islice(pages.records(), 50)) == values[:50]
    slow = pages.records()
    assert next(slow) == values[0]
    assert list(islice(pages.records(), 200)) == values[:200]
    assert list(slow) == values[1:]
    pages.close()


def test_values_are_picked_by_their_number_among_the_keys(tmp_path: Path) -> None:
    records = made(500, 900, 2500)  # some on overflow pages
    write_lmdb(tmp_path / "a", records)
    pages = LmdbPages(str(tmp_path / "a"))
    keys = pages.keys()
    assert keys == [key for key, _ in records]
    assert [pages.pick(keys, i) for i in range(500)] == [value for _, value in records]
    assert pages.pick([b"", keys[7]], 1) == records[7][1]  # another list: by the key
    assert pages.pick([b"\0"], 0) is None
    pages.close()


def test_a_pick_after_a_change_goes_by_the_key(tmp_path: Path) -> None:
    records = made(500, 900, 2500)
    write_lmdb(tmp_path / "a", records)
    reader = LmdbReader(tmp_path / "a")
    keys = reader.keys()
    for _ in range(3):  # so that pages are used again
        with lmdb.open(str(tmp_path / "a"), map_size=1 << 28) as environment, environment.begin(write=True) as t:
            for key, value in records[250:]:
                t.put(key, value[::-1])
            for key, _ in records[:100]:
                t.delete(key)
    assert reader.pick(keys, [499, 100, 250]) == [records[499][1][::-1], records[100][1], records[250][1][::-1]]
    with pytest.raises(DataError, match="has no record"):
        reader.pick(keys, [0])
    reader.close()


def test_a_pick_notices_damaged_overflow_pages(tmp_path: Path) -> None:
    write_lmdb(tmp_path / "a", [(b"a", b"x" * 9000), (b"b", b"y" * 9000)])
    path = tmp_path / "a" / "data.mdb"
    content = bytearray(path.read_bytes())
    at = content.index(b"y" * 9000)
    content[at - 6 : at - 4] = b"\0\0"  # the flags of the page
    path.write_bytes(content)
    reader = LmdbReader(tmp_path / "a")
    keys = reader.keys()
    assert reader.pick(keys, [0]) == [b"x" * 9000]
    with pytest.raises(DataError, match="is not the value"):
        reader.pick(keys, [1])
    reader.close()
