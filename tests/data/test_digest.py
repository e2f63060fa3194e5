from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from dragon.data import LmdbReader, encode_datum, source_digest, write_lmdb, write_synthetic
from dragon.data.digest import records_digest
from dragon.errors import DataError
from tests.data.conftest import small_images


def test_the_digest_is_that_of_the_records_with_their_lengths(lmdb_folder: Path) -> None:
    with LmdbReader(lmdb_folder) as reader:
        records = reader.read(len(reader))
    joined = b"".join(len(record).to_bytes(8, "little") + record for record in records)
    assert source_digest(lmdb_folder) == hashlib.sha256(joined).hexdigest()


def test_one_pixel_changes_the_digest(tmp_path: Path, lmdb_folder: Path) -> None:
    images = small_images()
    images[4, 1, 2, 3] ^= 1
    write_lmdb(tmp_path / "other", ((f"{i}".encode(), encode_datum(image, i)) for i, image in enumerate(images)))
    assert source_digest(tmp_path / "other") != source_digest(lmdb_folder)


def test_dataset_json_records_what_the_records_give(tmp_path: Path) -> None:
    dataset = write_synthetic(tmp_path, train=30, test=10)
    recorded = json.loads((tmp_path / "dataset.json").read_text())["digests"]
    assert recorded == {path.name: records_digest(path) for path in (dataset.train, dataset.test)}
    marked = json.loads((tmp_path / "dataset.json").read_text())
    marked["digests"]["synthetic_train_lmdb"] = "recorded"
    (tmp_path / "dataset.json").write_text(json.dumps(marked))
    assert source_digest(dataset.train) == "recorded"


def test_a_set_without_digests_stays_as_it_is(tmp_path: Path) -> None:
    dataset = write_synthetic(tmp_path, train=30, test=10)
    old = json.loads((tmp_path / "dataset.json").read_text())
    digests = old.pop("digests")
    (tmp_path / "dataset.json").write_text(json.dumps(old))
    assert write_synthetic(tmp_path, train=30, test=10).written == ()
    assert json.loads((tmp_path / "dataset.json").read_text()) == old
    assert source_digest(dataset.train) == digests["synthetic_train_lmdb"]


@pytest.mark.parametrize("digests", ["5", "[1]", "null"])
def test_an_odd_entry_is_computed_anew(tmp_path: Path, digests: str) -> None:
    dataset = write_synthetic(tmp_path, train=30, test=10)
    (tmp_path / "dataset.json").write_text(f'{{"digests": {digests}}}')
    assert source_digest(dataset.train) == records_digest(dataset.train)


def test_a_part_that_is_written_again_gets_its_digest(tmp_path: Path) -> None:
    dataset = write_synthetic(tmp_path, train=30, test=10)
    content = (tmp_path / "dataset.json").read_bytes()
    (dataset.test / "data.mdb").unlink()
    dataset.test.rmdir()
    assert write_synthetic(tmp_path, train=30, test=10).written == ("synthetic_test_lmdb",)
    assert (tmp_path / "dataset.json").read_bytes() == content


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        source_digest(tmp_path / "nowhere")
