"""Whether a worker elsewhere has the same data sets under the same paths."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dragon.compare.nets import reads_data
from dragon.compare.store import data_digest, file_digest
from dragon.errors import DataError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text

__all__ = ["Data", "check_data", "data_of"]

Data = list[tuple[str, int | None, str]]  # path, backend (None: a plain file) and digest


def data_of(content: Mapping[str, Any]) -> Data:
    """The databases, mean files and first weights that a job reads. content: see dragon.compare.worker."""
    solver = parse_text(content.get("solver") or "", pb.SolverParameter(), "<job>")
    nets = [solver.train_net_param, *solver.test_net_param]
    texts = [content[key] for key in ("first", "second", "net") if key in content]
    nets += [parse_text(text, pb.NetParameter(), "<job>") for text in [*texts, *content.get("nets", [])]]
    found: dict[tuple[str, int | None], str] = {(path, None): file_digest(path) for path in solver.weights}
    for layer in (layer for net in nets for layer in reads_data(net)):
        source, backend, mean = layer.data_param.source, layer.data_param.backend, layer.transform_param.mean_file
        found[source, backend] = data_digest(source, backend)
        if mean:
            found[mean, None] = file_digest(mean)
    return [(path, backend, digest) for (path, backend), digest in found.items()]


def check_data(data: Data) -> None:
    """Raise DataError if one of them is missing on this machine, or is another."""
    for path, backend, expected in data:
        where, what = f"{platform.node()}: {Path(path).absolute()}", "file" if backend is None else "data set"
        if not Path(path).exists():
            raise DataError(f"{where}: no such {what}; workers need those of the experiment under the same path")
        found = file_digest(path) if backend is None else data_digest(path, backend)
        if found != expected:
            raise DataError(
                f"{where}: another {what} than the experiment's: digest {found[:12]}, expected {expected[:12]}"
            )
