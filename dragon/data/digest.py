"""The digest of a database's records, by which experiments tell data apart.

The SHA-256 over the length (8 bytes, little-endian) and the bytes of each record, in order of the keys. A dataset
folder's `dataset.json` records it for each of its LMDBs.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from dragon.data.source import open_source
from dragon.files.reading import read_text
from dragon.proto import dragon_pb2 as pb

__all__ = ["DESCRIPTION", "DIGESTS", "recorded_digests", "records_digest", "source_digest"]

DESCRIPTION = "dataset.json"
DIGESTS = "digests"  # its entry: digests by the name of the LMDB's folder
_CHUNK = 1000


def source_digest(path: str | os.PathLike[str], backend: int = pb.DataParameter.LMDB) -> str:
    """The digest of the `source` of a data_param: that of its dataset.json, else computed. Raises DataError.

    One that was recorded before the database was last written is computed anew.
    """
    source = Path(path)
    recorded = recorded_digests(source.parent).get(source.name)
    return recorded if recorded and not _written_since(source) else records_digest(source, backend)


def _written_since(source: Path) -> bool:
    """Whether a file of the database is newer than the folder's description; readers write lock.mdb alone."""
    try:
        described = (source.parent / DESCRIPTION).stat().st_mtime_ns
        files = [file for file in source.iterdir() if file.name != "lock.mdb"] if source.is_dir() else [source]
        return any(file.stat().st_mtime_ns > described for file in files)
    except OSError:
        return True


def records_digest(path: str | os.PathLike[str], backend: int = pb.DataParameter.LMDB) -> str:
    """The digest computed from the records, as hexadecimal digits. Reads the whole database. Raises DataError."""
    total = hashlib.sha256()
    reader = open_source(path, backend)
    try:
        for start in range(0, len(reader), _CHUNK):
            for record in reader.read(min(_CHUNK, len(reader) - start)):
                total.update(len(record).to_bytes(8, "little"))
                total.update(record)
    finally:
        reader.close()
    return total.hexdigest()


def recorded_digests(folder: str | os.PathLike[str]) -> dict[str, str]:
    """The digests in a folder's dataset.json by the name of the LMDB's folder; empty if there are none to read."""
    try:
        found = json.loads(read_text(Path(folder) / DESCRIPTION))[DIGESTS]
        return {str(name): str(digest) for name, digest in found.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
