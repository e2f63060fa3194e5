"""`dragon data`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dragon.data import write_synthetic
from dragon.data.dataset import Dataset, Kind, Split, write_dataset
from dragon.data.progress import Progress, silent
from dragon.tools import data
from tests.tools.conftest import Dragon


def test_validation_and_subset_go_to_folders_of_their_own(
    tmp_path: Path, dragon: Dragon, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = []

    def fetch(folder: str, progress: Progress = silent) -> Dataset:
        fetched.append(folder)
        return write_synthetic(folder, train=60, test=20, progress=progress)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(data.FETCH, "cifar10", fetch)
    result = dragon("data", "cifar10", "--validation", "20")
    assert result.code == 0, result.err
    assert "val    data/cifar10_val20/synthetic_val_lmdb  20 images" in result.out
    assert "train  data/cifar10_val20/synthetic_train_lmdb  40 images" in result.out
    assert dragon("data", "cifar10", "--validation", "20", "--subset", "10").code == 0
    assert dragon("data", "cifar10", "--subset", "10", "--seed", "4", "--dir", "data/few").code == 0
    assert sorted(p.name for p in Path("data").iterdir()) == [
        "cifar10",
        "cifar10_val20",
        "cifar10_val20_subset10",
        "few",
    ]
    assert set(fetched) == {"data/cifar10"}
    assert json.loads(Path("data/few/dataset.json").read_text())["chosen_seed"] == 4
    assert "val" not in json.loads(Path("data/cifar10/dataset.json").read_text())


def test_a_synthetic_set_with_validation_images(
    tmp_path: Path, dragon: Dragon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = dragon("data", "synthetic", "--train", "30", "--test", "10", "--seed", "2", "--validation", "10")
    assert result.code == 0, result.err
    found = json.loads(Path("data/synthetic_val10/dataset.json").read_text())
    assert (found["train"], found["val"], found["seed"], found["chosen_seed"]) == (20, 10, 2, 2)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("cifar10", "--train", "5"), "--train is for synthetic data only"),
        (("cifar10", "--seed", "5"), "--seed is for synthetic data, --validation and --subset"),
        (("synthetic", "--validation", "0"), "0"),
        (("synthetic", "--train", "30", "--test", "10", "--validation", "30"), "too few for 30 validation images"),
        (
            ("synthetic", "--train", "30", "--test", "10", "--subset", "3", "--dir", "synthetic"),
            "holds another dataset",
        ),
    ],
)
def test_refused(
    args: tuple[str, ...], message: str, tmp_path: Path, dragon: Dragon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = dragon("data", *args)
    assert result.code == 2
    assert message in result.error


def test_files_downloaded_by_hand(tmp_path: Path, dragon: Dragon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.tar.gz").write_text("<html>not found</html>")
    result = dragon("data", "cifar10", "--from", "page.tar.gz")
    assert result.code == 2
    assert (
        "page.tar.gz (a web page (HTML), perhaps that of the file and not the file) holds no file of CIFAR-10"
        in result.error
    )
    assert "does not exist" in dragon("data", "mnist", "--from", "nothing.gz").error
    assert "not for synthetic" in dragon("data", "synthetic", "--from", "page.tar.gz").error


def test_lines_of_digits(tmp_path: Path, dragon: Dragon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images = np.full((6, 1, 28, 28), 255, np.uint8)
    parts = (Split(images, np.arange(6, dtype=np.uint8)),) * 2

    def fetch(folder: Path, progress: Progress = silent) -> Dataset:
        assert folder == Path("data/mnist")
        return write_dataset(folder, Kind("MNIST", "mnist", 6, 6, (1, 28, 28)), lambda: parts, progress)

    monkeypatch.setattr(data, "fetch_mnist", fetch)
    result = dragon("data", "mnist_lines", "--train", "5", "--test", "2", "--seed", "3")
    assert result.code == 0, result.err
    assert "MNIST lines in data/mnist_lines: written" in result.out
    assert "train  data/mnist_lines/train.txt  5 lines" in result.out
    assert json.loads(Path("data/mnist_lines/dataset.json").read_text())["seed"] == 3
    assert "complete already" in dragon("data", "mnist_lines", "--train", "5", "--test", "2", "--seed", "3").out
    assert "not for mnist_lines" in dragon("data", "mnist_lines", "--subset", "2").error


def test_data_is_written_once(work: Path, dragon: Dragon) -> None:
    args = ["data", "synthetic", "--dir", "s", "--train", "20", "--test", "10"]
    first = dragon(*args)
    assert (first.code, "written: synthetic_train_lmdb" in first.out) == (0, True)
    assert "no real images" in first.out
    assert "synthetic_train_lmdb: 20" in first.err
    stamp = (work / "s" / "synthetic_train_lmdb" / "data.mdb").stat().st_mtime_ns
    again = dragon(*args)
    assert (again.code, "was complete already" in again.out) == (0, True)
    assert (work / "s" / "synthetic_train_lmdb" / "data.mdb").stat().st_mtime_ns == stamp
