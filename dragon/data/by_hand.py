"""The files of a dataset in archives that were downloaded by hand, known by their content whatever their names are."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from dragon.counting import how_many
from dragon.errors import DataError
from dragon.files.folders import files_below
from dragon.files.kinds import kind_of
from dragon.files.reading import read_bytes

__all__ = ["files_by_hand"]

_LARGEST = 1 << 26  # bytes of a file inside; those of CIFAR-10 and MNIST have 30 and 47 million
_MOST = 200  # files in an archive or a folder
_GZIP = b"\x1f\x8b"
_PICKLE = b"\x80"
_PIXELS = 3 * 32 * 32  # of an image of CIFAR-10
_NUMBERS = ("BININT", "BININT1", "BININT2")


def files_by_hand(label: str, given: Sequence[Path], digests: Mapping[str, str]) -> dict[str, bytes]:
    """The contents of the files of a dataset by name, from archives, single files (.gz or not) or folders of them.

    digests: SHA-256 of each file that is needed. Raises DataError, which names what was given and what is missing.
    """
    names = {digest: name for name, digest in digests.items()}
    found: dict[str, bytes] = {}
    for path in given:
        before = len(found)
        for content in _contents(path):
            name = names.get(hashlib.sha256(content).hexdigest())
            if name is not None:
                found[name] = content
        if len(found) == before:
            kind = "a folder" if path.is_dir() else kind_of(str(path)) or "an unknown file"
            compared = "their SHA-256 are compared, so a damaged file counts as none"
            raise DataError(f"{path} ({kind}) holds no file of {label}: {compared}")
    missing = [name for name in digests if name not in found]
    if missing:
        raise DataError(
            f"{', '.join(map(str, given))}: {len(found)} of the {how_many(len(digests), 'file')} of {label} are there; "
            f"missing: {', '.join(missing)}"
        )
    return found


def _contents(path: Path) -> Iterator[bytes]:
    """The contents that a path may stand for, unpacked."""
    if path.is_dir():
        files = files_below(path)
        if len(files) > _MOST:
            raise DataError(
                f"{path}: has {how_many(len(files), 'file')}; give the folder that holds those of the dataset alone"
            )
        for one in files:
            yield from _unpacked(_content(one))
        return
    try:
        yield from _members(path)
    except tarfile.ReadError:
        yield from _unpacked(_content(path))
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise DataError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def _content(path: Path) -> bytes:
    try:
        return read_bytes(str(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def _members(path: Path) -> Iterator[bytes]:
    """The contents of the files of a tar archive. Raises tarfile.ReadError for a file that is none."""
    with io.BytesIO(_content(path)) as file, tarfile.open(fileobj=file, mode="r:*") as tar:
        for count, member in enumerate(tar):
            if count >= _MOST:
                return
            inside = tar.extractfile(member) if member.isfile() and member.size <= _LARGEST else None
            if inside is not None:
                yield from _unpacked(inside.read())


def _unpacked(content: bytes) -> Iterator[bytes]:
    if content.startswith(_GZIP):
        try:
            with gzip.open(io.BytesIO(content)) as file:
                content = file.read(_LARGEST + 1)
        except (OSError, EOFError, zlib.error):
            return
    yield content
    if content.startswith(_PICKLE):
        rows = _cifar10_rows(content)
        if rows is not None:
            yield rows


def _cifar10_rows(content: bytes) -> bytes | None:
    """The file of CIFAR-10's binary version out of one of its Python version; None for another content.

    The Python version is a pickle. Its instructions are looked at, not carried out: the pixels are one long string, the
    labels the numbers behind the key "labels".
    """
    import pickletools  # rarely needed: not for every `import dragon`

    pixels, labels, among_labels = b"", bytearray(), False
    try:
        for code, value, _ in pickletools.genops(content):
            if isinstance(value, (str, bytes)):
                text = value.encode("latin1") if isinstance(value, str) else value
                among_labels = text == b"labels"
                pixels = max(pixels, text, key=len)
            elif among_labels and code.name in _NUMBERS and isinstance(value, int):
                labels.append(value)
    except ValueError:  # damaged, or a label beyond a byte
        return None
    if len(pixels) != _PIXELS * len(labels):
        return None
    rows = np.frombuffer(pixels, np.uint8).reshape(len(labels), _PIXELS)
    return np.concatenate([np.frombuffer(labels, np.uint8)[:, None], rows], axis=1).tobytes()
