"""Dragon: Caffe's nets, run and trained from prototxt. `import dragon as caffe` serves scripts written for pycaffe."""

from __future__ import annotations

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

__all__ = [
    "TEST",
    "TRAIN",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "AdamWSolver",
    "DataError",
    "DragonError",
    "EngineError",
    "Layer",
    "NesterovSolver",
    "Net",
    "NumericError",
    "Observer",
    "PrototxtError",
    "RMSPropSolver",
    "SGDSolver",
    "ShapeError",
    "Solver",
    "UsageError",
    "WeightsError",
    "__version__",
    "get_solver",
    "set_device",
    "set_engine",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_random_seed",
]
