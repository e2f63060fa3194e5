"""Batches from records: what is looked up for messages only, and what is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragon.data import BatchReader, LmdbReader, Transformer, encode_datum, write_lmdb
from dragon.errors import DataError
from dragon.proto import dragon_pb2 as pb
from dragon.rng import Stream
from tests.data.conftest import small_images


def reader_of(folder: Path, crop: int = 0) -> BatchReader:
    param = pb.TransformationParameter(crop_size=crop)
    return BatchReader(LmdbReader(folder), Transformer(param, pb.TRAIN, Stream(1, "transform")), 4)


@pytest.mark.parametrize("as_bytes", [False, True])
def test_keys_are_not_looked_up_for_batches_that_fit(
    lmdb_folder: Path, monkeypatch: pytest.MonkeyPatch, as_bytes: bool
) -> None:
    """A database is read from its beginning to find a key, which takes longer than to read the batch."""
    reader = reader_of(lmdb_folder)
    reader.maker.as_bytes = as_bytes
    monkeypatch.setattr(LmdbReader, "key", lambda self, position: pytest.fail("a key was looked up"))
    for _ in range(3):
        reader.fill()


def test_a_record_that_does_not_fit_is_named_by_its_key(tmp_path: Path) -> None:
    images = [*small_images(5), *small_images(1, (3, 2, 8))]
    write_lmdb(tmp_path / "a", ((b"key%d" % i, encode_datum(image, i)) for i, image in enumerate(images)))
    reader = reader_of(tmp_path / "a", crop=5)
    reader.fill()
    with pytest.raises(DataError, match=r'record 5 \(key "key5"\): crop_size 5 is larger than the image'):
        reader.fill()
