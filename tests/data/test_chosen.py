"""Sets with validation images or fewer training images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dragon.data import read_mean, read_split, source_digest, write_chosen, write_synthetic
from dragon.data.chosen import choose
from dragon.data.dataset import Dataset
from dragon.errors import DataError
from dragon.rng import Stream


@pytest.fixture
def full(tmp_path: Path) -> Dataset:
    return write_synthetic(tmp_path / "synthetic", train=60, test=20)


def rows(path: Path) -> list[bytes]:
    split = read_split(path)
    return [bytes([label]) + image.tobytes() for label, image in zip(split.labels, split.images, strict=True)]


def test_every_training_image_is_in_one_part_and_the_order_stays(full: Dataset, tmp_path: Path) -> None:
    made = write_chosen(full, tmp_path / "val20", validation=20)
    assert (made.train_count, made.val_count, made.test_count) == (40, 20, 20)
    assert made.val == tmp_path / "val20" / "synthetic_val_lmdb"
    all_rows, train, val = rows(full.train), rows(made.train), rows(made.val)
    assert sorted(train + val) == sorted(all_rows)
    for part in (train, val):
        places = [all_rows.index(row) for row in part]
        assert places == sorted(places)
    assert rows(made.test) == rows(full.test)
    assert np.bincount(read_split(made.val).labels).tolist() == [2] * 10
    np.testing.assert_allclose(read_mean(made.mean), read_split(made.train).images.mean(0), rtol=1e-6)


def test_the_seed_decides_and_the_subset_does_not_change_the_validation_images(full: Dataset, tmp_path: Path) -> None:
    made = write_chosen(full, tmp_path / "a", validation=20)
    small = write_chosen(full, tmp_path / "b", validation=20, subset=10)
    other = write_chosen(full, tmp_path / "c", validation=20, seed=2)
    held = [rows(dataset.val) for dataset in (made, small, other) if dataset.val]
    assert held[0] == held[1] != held[2]
    assert small.train_count == 10
    assert set(rows(small.train)) < set(rows(made.train))
    assert np.bincount(read_split(small.train).labels).tolist() == [1] * 10


def test_a_subset_alone_has_no_validation_part(full: Dataset, tmp_path: Path) -> None:
    made = write_chosen(full, tmp_path / "s", subset=30)
    assert (made.train_count, made.val, made.val_count) == (30, None, 0)
    assert not list((tmp_path / "s").glob("*val*"))


def test_a_second_call_writes_nothing_and_another_seed_is_refused(full: Dataset, tmp_path: Path) -> None:
    write_chosen(full, tmp_path / "a", validation=20)
    assert write_chosen(full, tmp_path / "a", validation=20).written == ()
    with pytest.raises(DataError, match=r"another dataset: chosen_seed 1 there, 2 wanted"):
        write_chosen(full, tmp_path / "a", validation=20, seed=2)


@pytest.mark.parametrize(
    ("validation", "subset", "message"),
    [
        (60, 0, "60 training images, too few for 60 validation images"),
        (0, 61, "60 training images, too few for 61 training images"),
        (50, 11, "too few for 50 validation images and 11 training images"),
    ],
)
def test_too_few_images(full: Dataset, tmp_path: Path, validation: int, subset: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        write_chosen(full, tmp_path / "a", validation, subset)
    assert not (tmp_path / "a").exists()


def test_classes_of_different_sizes_are_chosen_in_proportion() -> None:
    labels = np.repeat(np.arange(3, dtype=np.uint8), (60, 30, 10))[np.random.default_rng(1).permutation(100)]
    picked = choose(labels, 25, Stream(1, "x"))
    assert (np.diff(picked) > 0).all()
    assert np.bincount(labels[picked]).tolist() == [15, 8, 2]  # 7.5 and 2.5: of equal remainders the smaller label


def test_the_description_has_the_choice_and_the_digests(full: Dataset, tmp_path: Path) -> None:
    made = write_chosen(full, tmp_path / "a", validation=20, seed=3)
    found = json.loads((tmp_path / "a" / "dataset.json").read_text())
    assert (found["train"], found["val"], found["chosen_from"], found["chosen_seed"]) == (40, 20, 60, 3)
    assert set(found["digests"]) == {"synthetic_train_lmdb", "synthetic_val_lmdb", "synthetic_test_lmdb"}
    assert source_digest(made.test) == source_digest(full.test)
    assert source_digest(made.train) != source_digest(full.train)
