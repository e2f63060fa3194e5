"""Whether a worker elsewhere has the same data sets under the same paths, and the same code of Python layers."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dragon.bases.registry import find_class
from dragon.compare.data_files import file_digest, forget_files, module_digest, named_digest, named_files
from dragon.compare.nets import reads_data
from dragon.compare.stand_ins import stand_in_digest, stand_in_nets
from dragon.compare.store import data_digest
from dragon.errors import DataError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import format_text, parse_text

__all__ = ["Data", "check_data", "data_of"]

_MODULE, _SETTINGS = "module", "settings"  # in place of a field
# path, backend of a database (None: another file), field that names it with the prefix of the names in it and the
# folder in which they are looked for, and digest. Of a Python layer: its module, None, _MODULE with the folder; its
# name, None, _SETTINGS with its definition and the folder
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
        found += _files_of(net, folder)
        for layer in net.layer:
            cls = find_class(layer.type)
            if cls is not None and cls.runs_user_code:
                found += _of_python(layer, folder)
    return [one for k, one in enumerate(found) if one not in found[:k]]


def _files_of(net: pb.NetParameter, folder: str | None) -> Data:
    return [
        (path, None, [field, root, folder], named_digest(path, field, root, folder))
        for message, field, root in named_files(net)
        for path in [getattr(message, field)]
    ]


def _of_python(layer: pb.LayerParameter, folder: str | None) -> Data:
    """The code of a Python layer; what takes the place of one of py-faster-rcnn has settings and files of its own."""
    module = layer.python_param.module
    found: Data = [(module, None, [_MODULE, folder], module_digest(module, folder))]
    for net in stand_in_nets(layer, folder):
        found += _files_of(net, folder)
    digest = stand_in_digest(layer, folder)
    if digest:
        text = format_text(pb.NetParameter(layer=[layer]))
        found.append((layer.name, None, [_SETTINGS, text, folder], digest))
    return found


def check_data(data: Data) -> None:
    """Raise DataError if one of them is missing on this machine, or is another."""
    forget_files()
    for path, backend, named, expected in data:
        if named[0] in (_MODULE, _SETTINGS):
            _check_python(path, named, expected)
            continue
        where, what = f"{platform.node()}: {Path(path).absolute()}", "file" if backend is None else "data set"
        if not Path(path).exists():
            raise DataError(f"{where}: no such {what}; workers need those of the experiment under the same path")
        found = named_digest(path, *named) if backend is None else data_digest(path, backend)
        if found != expected:
            raise DataError(
                f"{where}: another {what} than the experiment's: digest {found[:12]}, expected {expected[:12]}"
            )


def _check_python(name: str, named: list[Any], expected: str) -> None:
    """Raise DataError if the code of the module `name`, or the settings of the layer `name`, are others here."""
    if named[0] == _MODULE:
        found, what = module_digest(name, named[1]), f'the module "{name}" has other code'
        if not found and expected:
            raise DataError(f'{platform.node()}: no module "{name}"; workers need those of the experiment')
    else:
        layer = parse_text(named[1], pb.NetParameter(), "<job>").layer[0]
        found, what = stand_in_digest(layer, named[2]), f'layer "{name}" has other settings, as of rcnn.yml, or data'
    if found != expected:
        raise DataError(
            f"{platform.node()}: {what} than the experiment's: "
            f"digest {found[:12] or 'none'}, expected {expected[:12] or 'none'}"
        )
