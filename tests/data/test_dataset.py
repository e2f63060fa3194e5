from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dragon.data import dataset_label, read_mean, read_split, write_synthetic
from dragon.data.dataset import Dataset, Kind, Split, open_dataset, write_dataset
from dragon.errors import DataError
from tests.data.conftest import small_images

KIND = Kind("Small things", "small", train=7, test=3, shape=(3, 6, 8))


def load() -> tuple[Split, Split]:
    return tuple(Split(small_images(n, seed=n), np.arange(n, dtype=np.uint8)) for n in (KIND.train, KIND.test))  # type: ignore[return-value]


def never() -> tuple[Split, Split]:
    raise AssertionError("must not be loaded again")


def written(folder: Path) -> Dataset:
    return write_dataset(folder, KIND, load)


def test_writes_everything(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    dataset = write_dataset(tmp_path / "new" / "set", KIND, load, lambda *call: seen.append(call))
    train, test = load()
    for path, split in ((dataset.train, train), (dataset.test, test)):
        found = read_split(path)
        np.testing.assert_array_equal(found.images, split.images)
        np.testing.assert_array_equal(found.labels, split.labels)
        assert found.digest() == split.digest()
    np.testing.assert_allclose(read_mean(dataset.mean), train.images.mean(0), rtol=1e-6)
    assert dataset.written == ("small_train_lmdb", "small_test_lmdb", "mean.binaryproto")
    assert sorted(os.listdir(dataset.folder)) == sorted([*dataset.written, "dataset.json"])
    assert ("small_train_lmdb", 7, 7) in seen
    assert ("small_test_lmdb", 3, 3) in seen


def test_a_second_call_keeps_what_is_there(tmp_path: Path) -> None:
    first = written(tmp_path)
    before = first.train.joinpath("data.mdb").stat()
    second = write_dataset(tmp_path, KIND, never)
    assert second == replace(first, written=())
    assert open_dataset(tmp_path, KIND) == second
    assert first.train.joinpath("data.mdb").stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("missing", ["small_test_lmdb/data.mdb", "mean.binaryproto"])
def test_only_what_is_missing_is_written(tmp_path: Path, missing: str) -> None:
    written(tmp_path)
    content = tmp_path.joinpath(missing).read_bytes()
    tmp_path.joinpath(missing).unlink()
    if "/" in missing:
        tmp_path.joinpath(missing).parent.rmdir()
    assert open_dataset(tmp_path, KIND) is None
    assert written(tmp_path).written == (missing.split("/")[0],)
    assert tmp_path.joinpath(missing).read_bytes() == content


def test_the_mean_comes_from_the_records_that_are_there(tmp_path: Path) -> None:
    dataset = written(tmp_path)
    content = dataset.mean.read_bytes()
    dataset.mean.unlink()
    assert write_dataset(tmp_path, KIND, never).written == ("mean.binaryproto",)
    assert dataset.mean.read_bytes() == content


def test_a_failed_load_leaves_the_folder_free(tmp_path: Path) -> None:
    def fail() -> tuple[Split, Split]:
        raise DataError("no route")

    with pytest.raises(DataError, match="no route"):
        write_dataset(tmp_path, KIND, fail)
    assert os.listdir(tmp_path) == []


def test_another_dataset_is_not_mixed_in(tmp_path: Path) -> None:
    written(tmp_path)
    other = replace(KIND, label="Other things", prefix="other")
    with pytest.raises(DataError, match=r"holds another dataset: label Small things there"):
        write_dataset(tmp_path, other, never)


def test_another_count_is_an_error(tmp_path: Path) -> None:
    written(tmp_path)
    kind = replace(KIND, test=4)
    (tmp_path / "dataset.json").write_text(json.dumps(kind.description()))
    with pytest.raises(DataError, match=r'small_test_lmdb" holds 3 records, expected 4'):
        write_dataset(tmp_path, kind, never)


def test_another_mean_is_an_error(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "dataset.json").unlink()
    with pytest.raises(DataError, match=r"has shape \(3, 6, 8\), expected \(3, 6, 9\)"):
        write_dataset(tmp_path, replace(KIND, shape=(3, 6, 9)), never)


def test_damaged_description(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        open_dataset(tmp_path, KIND)
    assert dataset_label(tmp_path / "small_train_lmdb") == "unlabelled data"


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot be written: .*file.? is a file, not a folder"):
        write_dataset(tmp_path / "file" / "set", KIND, load)


def test_label_of_a_source(tmp_path: Path) -> None:
    dataset = written(tmp_path)
    assert dataset_label(dataset.train) == "Small things"
    assert dataset_label(str(dataset.test) + "/") == "Small things"
    assert dataset_label(tmp_path / "nowhere" / "x_lmdb") == "unlabelled data"
    assert dataset_label("moved/synthetic_train_lmdb") == "synthetic"


def test_the_digest_is_that_of_label_and_pixels() -> None:
    import hashlib

    split = load()[1]
    joined = b"".join(bytes([i]) + image.tobytes() for i, image in enumerate(split.images))
    assert split.digest() == hashlib.sha256(joined).hexdigest()


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff", b"5", b"null", b'{"label": ' + b"9" * 5000 + b"}"])
def test_an_odd_description(content: bytes, tmp_path: Path) -> None:
    write_synthetic(tmp_path, train=4, test=4)
    (tmp_path / "dataset.json").write_bytes(content)
    assert dataset_label(tmp_path / "synthetic_train_lmdb") == "synthetic"
    with pytest.raises(DataError, match=r"is damaged|its description cannot be read"):
        write_synthetic(tmp_path, train=4, test=4)


def test_a_label_is_one_short_line(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text('{"label": "a\\nb' + "c" * 1000 + '"}')
    label = dataset_label(tmp_path / "train_lmdb")
    assert label.startswith("a\\nbccc")
    assert len(label) == 100
