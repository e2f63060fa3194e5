"""The ranges that a calibration found, and the file that has them: docs/int8.md describes it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import yaml

from dragon.engines.int8.arithmetic import LARGEST, Range
from dragon.errors import UsageError, nearest
from dragon.files.atomic import write_atomically
from dragon.files.kinds import CALIBRATION
from dragon.files.yaml_section import Section
from dragon.files.yaml_tree import read_yaml

if TYPE_CHECKING:
    from dragon.graph.net import Net
    from dragon.graph.node import Node

__all__ = ["FLOAT32", "HEAD", "METHODS", "Calibration", "digest_of", "products", "read"]

METHODS = ("max", "percentile")
FLOAT32 = "float32"
FORMAT = 1
_KEYS = ("format", "net", "weights", "method", "percentile", "batches", "layers")
HEAD = "# Ranges of what layers read, for --precision int8; written by `dragon calibrate`, described in docs/int8.md.\n"


@dataclass(frozen=True)
class Calibration:
    """The range of what each convolution and inner product of a net reads.

    net: its name. weights: `digest_of` the net that was calibrated. method: one of METHODS; percentile: that of
    "percentile". layers: by name, None for a layer that stays in float32. file: where it was read; lines: of its
    layers.
    """

    net: str
    weights: str
    method: str
    percentile: float | None
    batches: int
    layers: Mapping[str, Range | None]
    file: str = ""
    lines: Mapping[str, int] | None = None

    # -- the file -------------------------------------------------------------------------------------------
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file. Raises OSError."""
        layers = {
            name: FLOAT32 if of is None else {"limit": float(of.limit), "signed": of.signed}
            for name, of in self.layers.items()
        }
        content = {
            "format": FORMAT, "net": self.net, "weights": self.weights, "method": self.method,
            **({} if self.percentile is None else {"percentile": self.percentile}),
            "batches": self.batches, "layers": layers,
        }  # fmt: skip
        text = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, allow_unicode=True, width=120)
        write_atomically(path, (HEAD + text).encode())

    @staticmethod
    def read(path: str | os.PathLike[str]) -> Calibration:
        """Read the file. Raises UsageError, with file and line, for anything wrong."""
        top, _ = read_yaml(path, CALIBRATION)
        top.check_keys(_KEYS, tuple(key for key in _KEYS if key != "percentile"))
        if top.integer("format") != FORMAT:
            top.fail(f'"format" must be {FORMAT}: this version of Dragon knows no other', "format")
        layers = top.section("layers")
        assert layers is not None  # its key is required, as those of net, weights and batches
        method = top.choice("method", METHODS, METHODS[0])
        return Calibration(
            net=top.text("net") or "",
            weights=top.text("weights") or "",
            method=method,
            percentile=_percentile(top, method),
            batches=top.integer("batches") or 1,
            layers={name: _range(layers, name) for name in layers.values},
            file=os.fspath(path),
            lines=layers.lines,
        )

    # -- a net ----------------------------------------------------------------------------------------------
    def ranges(self, net: Net) -> dict[str, Range]:
        """The ranges of a net's layers that are to run in int8. Raises UsageError where the table is of another net."""
        own = {node.name: node for node in products(net)}
        what = f'{self._name} of net "{self.net}"' if self.net != net.name else self._name
        for name, node in own.items():
            if name not in self.layers:
                raise UsageError(f"the {what} does not name it{nearest(name, self.layers)}", layer=node.layer.where)
        for name in self.layers:
            if name not in own:
                line = f":{self.lines[name]}" if self.lines else ""
                raise UsageError(
                    f'{self.file}{line}: net "{net.name}" has no convolution or inner product "{name}"'
                    f"{nearest(name, own)}" + (f'; the file is of net "{self.net}"' if self.net != net.name else "")
                )
        return {name: of for name, of in self.layers.items() if of is not None}

    @property
    def _name(self) -> str:
        return f"calibration {self.file}" if self.file else "calibration"


def _percentile(top: Section, method: str) -> float | None:
    """The percentile of the file; None for a method without one."""
    percentile = top.number("percentile")
    if percentile is not None and not 0 < percentile <= 100:
        top.fail(f'"percentile" must be above 0 and at most 100, got {percentile:g}', "percentile")
    if method != "percentile":
        return None
    if percentile is None:
        key = "percentile" if "percentile" in top.values else "method"
        top.fail('method percentile needs a "percentile" above 0 and at most 100', key)
    return percentile


def _range(layers: Section, name: str) -> Range | None:
    """The range of a layer in the file."""
    given = layers.values[name]
    if given == FLOAT32:
        return None
    if not isinstance(given, Section):
        layers.fail(f'"{layers.name(name)}" must be {FLOAT32}, or a mapping with limit and signed', name)
    given.check_keys(("limit", "signed"), ("limit", "signed"))
    limit = given.number("limit")
    if limit is None or not 0 <= limit <= LARGEST:
        given.fail(f'"{given.name("limit")}" must be a float32 number of at least 0, got {limit}', "limit")
    return Range(limit, given.flag("signed", False))


def products(net: Net) -> list[Node]:
    """The layers of a net that may run in int8, in order."""
    return [node for node in net.nodes if node.layer.runs_in_int8]


def digest_of(net: Net) -> str:
    """A hash of the names, shapes and values of a net's blobs, whatever file they come from."""
    digest = hashlib.sha256()
    for node in net.nodes:
        for i, blob in enumerate(node.layer.blobs):
            digest.update(f"{node.name}/{i} {blob.shape}\n".encode())
            digest.update(np.ascontiguousarray(blob.peek(), "<f4").tobytes())
    return f"sha256:{digest.hexdigest()}"


def read(calibration: Calibration | str | Path) -> Calibration:
    """A calibration, from its file where a path is given. Raises UsageError for anything wrong in it."""
    return calibration if isinstance(calibration, Calibration) else Calibration.read(calibration)
