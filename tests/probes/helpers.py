"""Nets and runs that probes are tested on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dragon.bases.layer import TEST, TRAIN
from dragon.graph.net import Net
from dragon.probes import ProbeObserver, Run, create, measure
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.solver.solver import Solver
from dragon.solver.types import get_solver
from tests.helpers import TRAINABLE, solver_param

__all__ = ["IMAGES", "Values", "looked_at", "make_solver", "observe", "run_of"]

Values = Mapping[str, float | None]

# images of a database, cropped and mirrored at random, in place of the random input of TRAINABLE
IMAGES = """
layer { name: "data" type: "Data" top: "data" top: "label"
  transform_param { mirror: true crop_size: 5 scale: 0.01 mean_value: 128 }
  data_param { source: "SOURCE" batch_size: 8 backend: LMDB } }
"""


def make_solver(net: str = TRAINABLE, engine: str = "numpy", folder: Path | None = None, **settings: Any) -> Solver:
    """A solver with a test net."""
    if folder is not None:
        settings["snapshot_prefix"] = str(folder / "toy")
    param = solver_param(net, **{"max_iter": 6, "test_iter": [1], "test_interval": 4, "display": 3, **settings})
    return get_solver(param, engine=engine)


def observe(solver: Solver, *probes: tuple[str, Mapping[str, Any]]) -> ProbeObserver:
    """Let a solver train with probes watching."""
    observer = ProbeObserver([create(name, settings) for name, settings in probes])
    solver.observers.append(observer)
    return observer


def run_of(what: Solver | str, dtype: Any = np.float32, engine: str = "numpy", seed: int = 1) -> Run:
    """The run of a solver, or of a net that is only looked at, given as prototxt."""
    if isinstance(what, Solver):
        return Run.of(what)
    param = parse_text(what, pb.NetParameter())
    train, test = (Net(param, phase=phase, dtype=dtype, engine=engine, seed=seed) for phase in (TRAIN, TEST))
    test.share_with(train)
    return Run(train, test)


def looked_at(net: str, name: str, dtype: Any = np.float32, engine: str = "numpy", **settings: Any) -> Values:
    """What a probe measures on a net as it is."""
    run = run_of(net, dtype, engine)
    try:
        return measure(create(name, settings), run)
    finally:
        run.close()
