"""Lines of digits: what the files hold, that test lines have test digits, and that a seed gives the same bytes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dragon.data.drawn import Digits
from dragon.data.mnist_lines import BLANK, compose_lines, write_lines
from dragon.errors import DataError
from dragon.files.hdf5 import open_h5
from tests.layers.helpers import One


def bars(heights: range) -> tuple[np.ndarray, np.ndarray]:
    """Digits whose ink is a block of 10 columns, as many rows high as `heights` say, with their labels."""
    images = np.zeros((len(heights), 28, 28), np.uint8)
    for image, height in zip(images, heights, strict=True):
        image[2 : 2 + height, 9:19] = 255
    return images, np.arange(len(heights), dtype=np.uint8)


DIGITS = Digits(bars(range(2, 12)), bars(range(14, 24)))


def test_the_files_feed_a_net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = write_lines("data/lines", lambda: DIGITS, train=12, test=5)
    assert made.written
    assert Path("data/lines/train.txt").read_text() == "data/lines/train.h5\n"
    layer = One(
        'type: "HDF5Data" top: "data" top: "label" hdf5_data_param { source: "data/lines/test.txt" batch_size: 5 }',
        n_top=2,
    )
    layer.forward()
    data, label = (blob.data for blob in layer.top)
    assert data.shape == (5, 1, 32, 100)
    assert label.shape == (5, 5)
    assert data.min() >= 0
    assert data.max() <= 1
    assert json.loads(Path("data/lines/dataset.json").read_text())["blank"] == BLANK


def test_labels_are_those_of_the_digits_from_left_to_right() -> None:
    """The height of each block of ink tells which digit it is."""
    data, labels, sizes = compose_lines(DIGITS.test, 40, np.random.default_rng(3), lengths=(1, 3))
    for line, sequence, size in zip(data[:, 0], labels, sizes[:, 0].astype(int), strict=True):
        assert (sequence[size:] == BLANK).all()
        ink = line > (line.min() + line.max()) / 2
        columns = np.flatnonzero(np.diff(np.pad(ink.any(axis=0), 1).astype(int)))
        blocks = [int(ink[:, a:b].any(axis=1).sum()) for a, b in columns.reshape(-1, 2)]
        assert len(blocks) == size
        for height, label in zip(blocks, sequence, strict=False):
            assert 0.8 * (14 + label) - 1.5 <= height <= 1.15 * (14 + label) + 1.5


def test_a_seed_decides_all(tmp_path: Path) -> None:
    write_lines(tmp_path / "a", lambda: DIGITS, train=6, test=3)
    write_lines(tmp_path / "b", lambda: DIGITS, train=6, test=3)
    write_lines(tmp_path / "c", lambda: DIGITS, train=6, test=3, seed=2)

    def content(name: str, part: str) -> bytes:
        with open_h5(tmp_path / name / f"{part}.h5") as file:
            return b"".join(file[key][()].tobytes() for key in ("data", "label", "label_length"))

    assert content("a", "train") == content("b", "train")
    assert content("a", "train") != content("c", "train")


def test_many_lines_lie_in_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dragon.data.mnist_lines._ROWS", 4)
    write_lines(tmp_path / "a", lambda: DIGITS, train=10, test=4)
    rows = []
    for name in (tmp_path / "a" / "train.txt").read_text().split():
        with open_h5(name) as file:
            rows.append(file["label"].shape[0])
    assert rows == [4, 4, 2]


def test_a_complete_folder_is_kept_and_another_one_refused(tmp_path: Path) -> None:
    def never() -> Digits:
        raise AssertionError

    write_lines(tmp_path / "a", lambda: DIGITS, train=6, test=3)
    assert not write_lines(tmp_path / "a", never, train=6, test=3).written
    with pytest.raises(DataError, match="holds another dataset: seed 1 there, 2 wanted"):
        write_lines(tmp_path / "a", never, train=6, test=3, seed=2)
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match="holds no drawn data"):
        write_lines(tmp_path / "other", never, train=6, test=3)


@pytest.mark.parametrize(
    ("train", "lengths", "width"), [(0, (2, 5), 100), (5, (3, 2), 100), (5, (0, 2), 100), (5, (2, 6), 100)]
)
def test_refused(tmp_path: Path, train: int, lengths: tuple[int, int], width: int) -> None:
    with pytest.raises(DataError, match="lines"):
        write_lines(tmp_path / "a", lambda: DIGITS, train=train, test=1, lengths=lengths, width=width)
    assert list(tmp_path.iterdir()) == []
