"""Archives that somebody has downloaded, in place of fetching them."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dragon.data import fetch, fetch_cifar10, fetch_mnist, read_split
from dragon.data.by_hand import files_by_hand
from dragon.errors import DataError
from tests.data.test_fetch import ROWS, cifar_rows, pack

__all__ = ["cifar_rows"]

Rows = dict[str, NDArray[np.uint8]]


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise AssertionError("nothing is to be fetched")

    monkeypatch.setattr(fetch, "download", fail)
    monkeypatch.setattr(fetch, "npm_package", fail)


def python_version(rows: Rows, archive: Path) -> Path:
    members = {}
    for name, row in rows.items():
        batch = {b"data": row[:, 1:], b"labels": row[:, 0].tolist(), b"batch_label": b"x"}
        members[f"cifar-10-batches-py/{name}"] = pickle.dumps(batch, protocol=2)
    return pack(archive, {**members, "cifar-10-batches-py/readme.html": b"<p>"})


def binary_version(rows: Rows, archive: Path) -> Path:
    return pack(archive, {f"cifar-10-batches-bin/{name}.bin": row.tobytes() for name, row in rows.items()})


@pytest.mark.parametrize("make", [python_version, binary_version])
def test_both_versions_of_cifar10(
    cifar_rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Rows, Path], Path]
) -> None:
    offline(monkeypatch)
    archive = make(cifar_rows, tmp_path / "any name.bin")
    dataset = fetch_cifar10(tmp_path / "out", given=[archive])
    split = read_split(dataset.train)
    whole = np.concatenate(list(cifar_rows.values()))[: 5 * ROWS]
    np.testing.assert_array_equal(split.labels, whole[:, 0])
    np.testing.assert_array_equal(np.asarray(split.images).reshape(len(whole), -1), whole[:, 1:])


def test_an_unpacked_folder_does_too(cifar_rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offline(monkeypatch)
    (tmp_path / "bin").mkdir()
    for name, row in cifar_rows.items():
        (tmp_path / "bin" / name).write_bytes(row.tobytes())
    assert fetch_cifar10(tmp_path / "out", given=[tmp_path / "bin"]).train_count == 5 * ROWS


def test_files_of_mnist_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = {name: os.urandom(20) for name in fetch._MNIST_FILES}
    monkeypatch.setattr(fetch, "_MNIST_FILES", {k: hashlib.sha256(v).hexdigest() for k, v in content.items()})
    given = []
    for k, one in enumerate(content.values()):
        given.append(tmp_path / f"{k}.gz")
        given[-1].write_bytes(gzip.compress(one) if k % 2 else one)
    assert files_by_hand("MNIST", given, fetch._MNIST_FILES) == content
    with pytest.raises(DataError, match=r"3 of the 4 files of MNIST are there; missing: t10k-labels-idx1-ubyte"):
        fetch_mnist(tmp_path / "out", given=given[:3])


def test_a_wrong_file_is_one_line(cifar_rows: Rows, tmp_path: Path) -> None:
    good = binary_version(cifar_rows, tmp_path / "good.tar.gz")
    bad = tmp_path / "bad.tar.gz"
    bad.write_bytes(good.read_bytes()[:-300])
    text = tmp_path / "page.html"
    text.write_text("<html>404</html>")
    for path in (bad, text):
        with pytest.raises(DataError) as caught:
            fetch_cifar10(tmp_path / "out", given=[path])
        assert str(caught.value).startswith(str(path))
        assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(DataError, match=r"page.html \(.*\) holds no file of CIFAR-10"):
        fetch_cifar10(tmp_path / "out", given=[good, text])


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch ran",)


def test_a_pickle_runs_nothing(cifar_rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    archive = pack(tmp_path / "evil.tar.gz", {"cifar-10-batches-py/data_batch_1": pickle.dumps(Evil())})
    with pytest.raises(DataError, match="holds no file of CIFAR-10"):
        fetch_cifar10(tmp_path / "out", given=[archive])
    assert not (tmp_path / "ran").exists()


def test_members_that_are_links_are_left_out(tmp_path: Path) -> None:
    archive = tmp_path / "link.tar"
    with tarfile.open(archive, "w") as tar:
        link = tarfile.TarInfo("data_batch_1")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link, io.BytesIO())
    with pytest.raises(DataError, match="holds no file of X"):
        files_by_hand("X", [archive], {"a": "0" * 64})
