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

__all__ = ["IMAGES", "Values", "dummy", "looked_at", "make_solver", "observe", "with_sigmoid"]

Values = Mapping[str, float | None]

# images of a database, cropped and mirrored at random, in place of the random input of TRAINABLE
IMAGES = """
layer { name: "data" type: "Data" top: "data" top: "label"
  transform_param { mirror: true crop_size: 5 scale: 0.01 mean_value: 128 }
  data_param { source: "SOURCE" batch_size: 8 backend: LMDB } }
"""


def dummy(data: str, label: int = 4, net: str = "", force: str = "") -> str:
    """A net of random data of shape `data` ("8 2 5 5"), below `net`."""
    dims = " ".join(f"dim: {d}" for d in data.split())
    labels = f"shape {{ dim: {data.split()[0]} }}" if label else ""
    tops = 'top: "data" top: "label"' if label else 'top: "data"'
    filler = 'data_filler { type: "constant" value: 1 }' if label else ""
    return f"""layer {{ name: "data" type: "DummyData" {tops} dummy_data_param {{
        shape {{ {dims} }} {labels} data_filler {{ type: "gaussian" std: 1 }} {filler} }} }}
        {net}{force}"""


def with_sigmoid(net: str = TRAINABLE) -> str:
    return net.replace('type: "ReLU"', 'type: "Sigmoid"')


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


def looked_at(net: str, name: str, dtype: Any = np.float32, engine: str = "numpy", **settings: Any) -> Values:
    """What a probe measures on a net as it is."""
    seed = settings.pop("seed", 1)
    param = parse_text(net, pb.NetParameter())
    train, test = (Net(param, phase=phase, dtype=dtype, engine=engine, seed=seed) for phase in (TRAIN, TEST))
    test.share_with(train)
    run = Run(train, test)
    try:
        return measure(create(name, settings), run)
    finally:
        run.close()
