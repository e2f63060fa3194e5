"""Writes a net as a PyTorch module: OUT.py, and OUT.safetensors with the values of its state_dict."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from dragon.errors import UsageError
from dragon.export.torch.module import Exported, export
from dragon.files.atomic import atomic_path
from dragon.files.safetensors import write_safetensors
from dragon.graph.net import Net

__all__ = ["Written", "values_path", "write_module"]


@dataclass(frozen=True)
class Written:
    """The files of a module, and what was written."""

    source: Path
    values: Path
    exported: Exported


def values_path(path: str | Path) -> Path:
    """Where the values of a module are written: beside its source. Raises UsageError unless `path` ends in .py."""
    found = Path(path)
    if found.suffix != ".py":
        raise UsageError(f"{path}: the source of a PyTorch module ends in .py")
    return found.with_suffix(".safetensors")


def write_module(net: Net, path: str | Path, about: str = "") -> Written:
    """Write the module of a net; each file appears whole or not at all, and neither without the other.

    about: what the source says the net comes from. Raises PrototxtError that names all layers that cannot be written,
    UsageError for a path that does not end in .py, OSError, and WeightsError without the package safetensors.
    """
    values = values_path(path)
    exported = export(net, about)
    table = [[node.name, node.layer.where.type, len(node.layer.blobs)] for node in net.nodes if len(node.layer.blobs)]
    metadata = {"format": "pt", "net": net.name, "layers": json.dumps(table, ensure_ascii=False)}
    with atomic_path(path) as source:  # gets its name when the values have theirs
        source.write_bytes(exported.source.encode())
        write_safetensors(values, exported.state(), metadata)
    return Written(Path(path), values, exported)
