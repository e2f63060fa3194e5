"""Whether a worker elsewhere has the same data sets under the same paths."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dragon.compare.data_files import file_digest, forget_files, named_digest, named_files
from dragon.compare.nets import reads_data
from dragon.compare.store import data_digest
from dragon.errors import DataError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text

__all__ = ["Data", "check_data", "data_of"]

# path, backend of a database (None: another file), field that names it with the prefix of the names in it and the
# folder in which they are looked for, and digest
Data = list[tuple[str, int | None, list[Any], str]]


def data_of(content: Mapping[str, Any]) -> Data:
    """The databases, lists, other files and first weights that a job reads. content: see dragon.compare.worker."""
    solver = parse_text(content.get("solver") or "", pb.SolverParameter(), "<job>")
    folder = content.get("net_folder")
    texts = [(content[key], folder) for key in ("first", "second", "net") if key in content]
    several = content.get("nets", [])
    texts += zip(several, content.get("net_folders", [None] * len(several)), strict=True)
    nets = [(net, folder) for net in (solver.train_net_param, *solver.test_net_param)]
    nets += [(parse_text(text, pb.NetParameter(), "<job>"), folder) for text, folder in texts]
    found: Data = [(path, None, ["weights", ""], file_digest(path)) for path in solver.weights]
    for net, folder in nets:
        for layer in reads_data(net):
            source, backend = layer.data_param.source, layer.data_param.backend
            found.append((source, backend, ["source", ""], data_digest(source, backend)))
        for message, field, root in named_files(net):
            path = getattr(message, field)
            found.append((path, None, [field, root, folder], named_digest(path, field, root, folder)))
    return [one for k, one in enumerate(found) if one not in found[:k]]


def check_data(data: Data) -> None:
    """Raise DataError if one of them is missing on this machine, or is another."""
    forget_files()
    for path, backend, named, expected in data:
        where, what = f"{platform.node()}: {Path(path).absolute()}", "file" if backend is None else "data set"
        if not Path(path).exists():
            raise DataError(f"{where}: no such {what}; workers need those of the experiment under the same path")
        found = named_digest(path, *named) if backend is None else data_digest(path, backend)
        if found != expected:
            raise DataError(
                f"{where}: another {what} than the experiment's: digest {found[:12]}, expected {expected[:12]}"
            )
