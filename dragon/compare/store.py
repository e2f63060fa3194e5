"""The store of finished runs: a folder of KEY.json, where KEY is a hash of everything that decides the result.

The key is made of the nets and the solver as they are after all changes, the seed, the data by digest, what is tested
and probed, engine, precision and Dragon's version. It has no paths and no names of variants or experiments, so that
experiments share runs.
"""

from __future__ import annotations

import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from dragon.compare.nets import reads_data
from dragon.data import source_digest
from dragon.files.reading import read_bytes, read_text
from dragon.proto import dragon_pb2 as pb
from dragon.version import __version__

__all__ = ["data_digest", "file_digest", "key_of", "read_result", "run_key"]

Record = dict[str, Any]

_KEY_DIGITS = 20
_IRRELEVANT = ("snapshot_prefix", "display", "snapshot", "debug_info", "snapshot_after_train", "snapshot_format")


def run_key(solver: pb.SolverParameter, start_from: pb.NetParameter | None, settings: Record) -> str:
    """The key of a training run. settings: what else decides its result, for JSON. Raises DataError."""
    general = pb.SolverParameter()
    general.CopyFrom(solver)
    for field in _IRRELEVANT:
        general.ClearField(field)
    weights = [file_digest(path) for path in general.weights]
    general.ClearField("weights")
    general.weights.extend(weights)
    for net in (general.train_net_param, *general.test_net_param):
        _without_paths(net)
    start = pb.NetParameter()
    if start_from is not None:
        start.CopyFrom(start_from)
        _without_paths(start)
    return key_of([_digest(general), _digest(start), settings])


def _digest(message: Message) -> str:
    return hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()


def key_of(content: Any) -> str:
    """A key for whatever decides a result, as JSON, and Dragon's version."""
    text = json.dumps([content, __version__], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_DIGITS]


def _without_paths(net: pb.NetParameter) -> None:
    """Put digests in place of the paths of data, and leave out the net's name."""
    net.ClearField("name")
    for layer in reads_data(net):
        layer.data_param.source = data_digest(layer.data_param.source, layer.data_param.backend)
        if layer.transform_param.mean_file:
            layer.transform_param.mean_file = file_digest(layer.transform_param.mean_file)


def data_digest(path: str, backend: int) -> str:
    """The digest of a database's records, computed once for each state of its files. Raises DataError."""
    return _source_digest_at(path, backend, *_stamp(Path(path)), *_stamp(Path(path).parent / "dataset.json"))


@lru_cache(maxsize=64)
def _source_digest_at(path: str, backend: int, *stamps: int) -> str:
    return source_digest(path, backend)


def file_digest(path: str) -> str:
    """The digest of a file's bytes; the path if it cannot be read, which the layer reports later."""
    return _file_digest_at(path, *_stamp(Path(path)))


@lru_cache(maxsize=64)
def _file_digest_at(path: str, *stamps: int) -> str:
    try:
        return hashlib.sha256(read_bytes(path)).hexdigest()
    except OSError:
        return path


def _stamp(path: Path) -> tuple[int, ...]:
    """Times of change and sizes of a file, or of the files in a folder: after a change it is digested anew."""
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        found = [os.stat(file) for file in files]
    except OSError:
        return ()
    return tuple(number for stat in found for number in (stat.st_mtime_ns, stat.st_size))


def read_result(path: Path) -> Record | None:
    """A finished result; None when the file is missing or damaged."""
    try:
        content = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
