"""The store of finished runs: a folder of KEY.json, where KEY is a hash of everything that decides the result.

The key is made of the nets and the solver as they are after all changes, the seed, the data and other files that
layers read by digest, the code of Python layers' modules, what is tested and probed, engine, precision and Dragon's
version. It has no paths and no names of variants or experiments, so that experiments share runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from dragon.compare.data_files import file_digest, module_digest, named_digest, named_files, stamp
from dragon.compare.nets import reads_data
from dragon.compare.stand_ins import stand_in_digest
from dragon.data import source_digest
from dragon.files.reading import read_text
from dragon.proto import dragon_pb2 as pb
from dragon.solver.rate import PLATEAU
from dragon.version import __version__

__all__ = ["data_digest", "key_of", "read_result", "run_key"]

Record = dict[str, Any]

_KEY_DIGITS = 20
# what the results of each kind have; those of runs, which have no kind in their name, first
_NEEDED: Mapping[str, Mapping[str, Any]] = {
    "": {
        "series": dict, "chance": dict, "iterations": int, "done": int, "train_s": int | float, "batch_size": int,
        "diverged": object, "stopped": object,
    },
    "pair": {"settings": list, "own_start": list},
    "budget": {"iterations": int},
    "cost": {"series": list},
}  # fmt: skip
# fields of the solver that decide nothing: of what is shown, stored or sent between ranks, or given beside the solver
_IRRELEVANT = (
    "average_loss", "debug_info", "device_id", "display", "engine", "layer_wise_reduce", "precision",
    "show_per_class_result", "snapshot", "snapshot_after_train", "snapshot_diff", "snapshot_format", "snapshot_prefix",
)  # fmt: skip


def run_key(
    solver: pb.SolverParameter, start_from: pb.NetParameter | None, settings: Record, folder: str | None = None
) -> str:
    """The key of a training run. Raises DataError.

    settings: what else decides its result, for JSON. folder: where files are looked for that lists name.
    """
    general = pb.SolverParameter()
    general.CopyFrom(solver)
    for field in _IRRELEVANT:
        if field != "average_loss" or general.lr_policy != PLATEAU:  # which steps down by the averaged loss
            general.ClearField(field)
    general.solver_mode = pb.SolverParameter.CPU  # decides nothing, and stands so in the keys of runs that are stored
    weights = [file_digest(path) for path in general.weights]
    general.ClearField("weights")
    general.weights.extend(weights)
    for net in (general.train_net_param, *general.test_net_param):
        _without_paths(net, folder)
    start = pb.NetParameter()
    if start_from is not None:
        start.CopyFrom(start_from)
        _without_paths(start, folder)
    return key_of([_digest(general), _digest(start), settings])


def _digest(message: Message) -> str:
    return hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()


def key_of(content: Any) -> str:
    """A key for whatever decides a result, as JSON, and Dragon's version."""
    text = json.dumps([content, __version__], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_DIGITS]


def _without_paths(net: pb.NetParameter, folder: str | None) -> None:
    """Put digests in place of the paths of data and of code, and leave out the net's name."""
    net.ClearField("name")
    for layer in reads_data(net):
        layer.data_param.source = data_digest(layer.data_param.source, layer.data_param.backend)
    for message, field, root in list(named_files(net)):
        setattr(message, field, named_digest(getattr(message, field), field, root, folder))
        if root:
            message.ClearField("root_folder")
    for layer in net.layer:
        if layer.type == "Python":
            code = module_digest(layer.python_param.module, folder)
            layer.python_param.module += code + stand_in_digest(layer, folder)


def data_digest(path: str, backend: int) -> str:
    """The digest of a database's records, computed once for each state of its files. Raises DataError."""
    return _source_digest_at(path, backend, *stamp(Path(path)), *stamp(Path(path).parent / "dataset.json"))


@lru_cache(maxsize=64)
def _source_digest_at(path: str, backend: int, *stamps: int) -> str:
    return source_digest(path, backend)


def read_result(path: Path) -> Record | None:
    """A finished result; None when the file is missing, damaged, or without what a result of its kind has."""
    try:
        content = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError):
        return None
    kind, _, key = path.stem.rpartition("_")
    needed = _NEEDED.get(kind, {}) if len(key) == _KEY_DIGITS else {}
    if not isinstance(content, dict) or not all(
        name in content and isinstance(content[name], of) for name, of in needed.items()
    ):
        return None
    return content
