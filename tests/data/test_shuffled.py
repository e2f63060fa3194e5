"""Shuffled reading: every record once an epoch, in an order that the position alone brings back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dragon.data import LmdbReader, ShuffledReader
from tests.data.conftest import RECORDS


def order(epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng(epoch).permutation(count)


def test_each_epoch_holds_every_record_once_in_another_order(lmdb_folder: Path) -> None:
    plain = LmdbReader(lmdb_folder).read(RECORDS)
    reader = ShuffledReader(LmdbReader(lmdb_folder), order)
    epochs = [reader.read(RECORDS) for _ in range(3)]
    assert all(sorted(epoch) == sorted(plain) for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert epochs[1] != epochs[2]


def test_seek_brings_back_the_same_records_across_epochs(lmdb_folder: Path) -> None:
    reader = ShuffledReader(LmdbReader(lmdb_folder), order)
    reader.read(5)
    position = reader.position
    following = reader.read(9)
    again = ShuffledReader(LmdbReader(lmdb_folder), order)
    again.seek(position)
    assert again.read(9) == following


def test_a_seek_within_the_epoch_asks_for_the_order_anew(lmdb_folder: Path) -> None:
    """A restored seed gives another order than the one that the reader began with."""
    seed = 1

    def by_seed(epoch: int, count: int) -> NDArray[np.int64]:
        return np.random.default_rng([seed, epoch]).permutation(count)

    reader = ShuffledReader(LmdbReader(lmdb_folder), by_seed)
    reader.read(2)
    expected = reader.read(3)
    seed = 2
    other = ShuffledReader(LmdbReader(lmdb_folder), by_seed)
    assert other.read(5)[2:] != expected
    seed = 1
    other.seek(2)
    assert other.read(3) == expected


def test_reads_across_epochs_are_the_keys_records(lmdb_folder: Path) -> None:
    source = LmdbReader(lmdb_folder)
    reader = ShuffledReader(LmdbReader(lmdb_folder), order)
    expected = [source.get(reader.key(i)) for i in range(3 * RECORDS)]
    reader.seek(0)
    assert [record for count in (5, 1, 12, 3) for record in reader.read(count)] == expected
