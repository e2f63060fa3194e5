"""Dragon: Caffe's nets, run and trained from prototxt. `import dragon as caffe` serves scripts written for pycaffe."""

from __future__ import annotations

import os as _os

# OpenBLAS's threads spin after a product and fight those of other engines; read when NumPy is first imported
_os.environ["OPENBLAS_THREAD_TIMEOUT"] = _os.environ.get("OPENBLAS_THREAD_TIMEOUT", "10")

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dragon.errors import (
    DataError,
    DragonError,
    EngineError,
    NumericError,
    PrototxtError,
    ShapeError,
    UsageError,
    WeightsError,
)
from dragon.layer import TEST, TRAIN, Layer
from dragon.modes import set_device, set_engine, set_mode_cpu, set_mode_gpu, set_random_seed
from dragon.net import Net
from dragon.proto import caffe_pb2 as caffe_pb2  # scripts reach it as caffe.proto.caffe_pb2
from dragon.pycaffe import (
    NCCL,
    Timer,
    has_nccl,
    init_log,
    layer_type_list,
    log,
    set_logging,
    set_multiprocess,
    set_solver_count,
    set_solver_rank,
    solver_count,
    solver_rank,
)
from dragon.solver import Observer, Solver
from dragon.solvers.types import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    AdamWSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    get_solver,
)
from dragon.version import __version__

if TYPE_CHECKING:
    from dragon import classifier, coord_map, detector, draw, io, layers, net_spec, params, proto
    from dragon.classifier import Classifier
    from dragon.detector import Detector
    from dragon.net_spec import NetSpec, to_proto

__all__ = [
    "NCCL",
    "TEST",
    "TRAIN",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "AdamWSolver",
    "Classifier",
    "DataError",
    "Detector",
    "DragonError",
    "EngineError",
    "Layer",
    "NesterovSolver",
    "Net",
    "NetSpec",
    "NumericError",
    "Observer",
    "PrototxtError",
    "RMSPropSolver",
    "SGDSolver",
    "ShapeError",
    "Solver",
    "Timer",
    "UsageError",
    "WeightsError",
    "__version__",
    "classifier",
    "coord_map",
    "detector",
    "draw",
    "get_solver",
    "has_nccl",
    "init_log",
    "io",
    "layer_type_list",
    "layers",
    "log",
    "net_spec",
    "params",
    "proto",
    "set_device",
    "set_engine",
    "set_logging",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_multiprocess",
    "set_random_seed",
    "set_solver_count",
    "set_solver_rank",
    "solver_count",
    "solver_rank",
    "to_proto",
]

# What scripts reach as attributes of the package, loaded when they do.
_SUBMODULES = ("classifier", "coord_map", "detector", "draw", "io", "layers", "net_spec", "params", "proto")
_ELSEWHERE = {
    "Classifier": "classifier",
    "Detector": "detector",
    "NetSpec": "net_spec",
    "to_proto": "net_spec",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name in _SUBMODULES:
            return import_module(f"dragon.{name}")
        if name in _ELSEWHERE:
            return getattr(import_module(f"dragon.{_ELSEWHERE[name]}"), name)
        raise AttributeError(f"module 'dragon' has no attribute {name!r}")
