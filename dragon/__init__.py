"""Dragon: Caffe's nets, run and trained from prototxt. `import dragon as caffe` serves scripts written for pycaffe."""

from __future__ import annotations

import os as _os

# OpenBLAS's threads spin after a product and fight those of other engines; read when NumPy is first imported
_os.environ["OPENBLAS_THREAD_TIMEOUT"] = _os.environ.get("OPENBLAS_THREAD_TIMEOUT", "10")

from importlib import import_module
from importlib.util import find_spec as _find_spec
from typing import TYPE_CHECKING, Any

from dragon.pycaffe import alias as _alias

if TYPE_CHECKING:
    from dragon import layers, proto
    from dragon.bases.layer import TEST, TRAIN, Layer
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
    from dragon.graph.net import Net
    from dragon.modes import (
        set_device,
        set_engine,
        set_mode_cpu,
        set_mode_gpu,
        set_phase_test,
        set_phase_train,
        set_random_seed,
    )
    from dragon.proto import caffe_pb2 as caffe_pb2  # scripts reach it as caffe.proto.caffe_pb2
    from dragon.pycaffe import classifier, coord_map, detector, draw, io, net_spec, params
    from dragon.pycaffe.alias import install_as_caffe, load_ipython_extension
    from dragon.pycaffe.classifier import Classifier
    from dragon.pycaffe.detector import Detector
    from dragon.pycaffe.net_spec import NetSpec, to_proto
    from dragon.pycaffe.runtime import (
        NCCL,
        Timer,
        has_nccl,
        init_log,
        layer_type_list,
        log,
        set_logging,
        set_logging_disabled,
        set_multiprocess,
        set_solver_count,
        set_solver_rank,
        solver_count,
        solver_rank,
    )
    from dragon.solver.solver import Observer, Solver
    from dragon.solver.types import (
        AdaDeltaSolver,
        AdaGradSolver,
        AdamSolver,
        AdamWSolver,
        LAMBSolver,
        LARSSolver,
        NesterovSolver,
        RMSPropSolver,
        SGDSolver,
        get_solver,
        get_solver_from_string,
    )
    from dragon.version import __version__

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
    "LAMBSolver",
    "LARSSolver",
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
    "get_solver_from_string",
    "has_nccl",
    "init_log",
    "install_as_caffe",
    "io",
    "layer_type_list",
    "layers",
    "load_ipython_extension",
    "log",
    "net_spec",
    "params",
    "proto",
    "set_device",
    "set_engine",
    "set_logging",
    "set_logging_disabled",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_multiprocess",
    "set_phase_test",
    "set_phase_train",
    "set_random_seed",
    "set_solver_count",
    "set_solver_rank",
    "solver_count",
    "solver_rank",
    "to_proto",
]

_alias.install_modules()

# Modules and names that scripts use as attributes of the package, loaded at first use.
_PYCAFFE = [name for name in _alias.MODULES if not name.startswith("_")]
_SUBMODULES = {
    **{name: f"dragon.pycaffe.{name}" for name in _PYCAFFE},
    "_caffe": "dragon.pycaffe._caffe",
    "caffe_pb2": "dragon.proto.caffe_pb2",
    "layers": "dragon.layers",
    "proto": "dragon.proto",
}
_ELSEWHERE = {
    "Classifier": "classifier",
    "Detector": "detector",
    "NetSpec": "net_spec",
    "to_proto": "net_spec",
}
_LATER = {  # by module: so `import dragon` is quick, and an interrupted command says so from its first moment on
    "bases.layer": ["TEST", "TRAIN", "Layer"],
    "errors": [name for name in __all__ if name.endswith("Error")],
    "graph.net": ["Net"],
    "modes": [
        "set_device", "set_engine", "set_mode_cpu", "set_mode_gpu", "set_phase_test", "set_phase_train",
        "set_random_seed",
    ],
    "pycaffe.alias": ["install_as_caffe", "load_ipython_extension"],
    "solver.types": [name for name in __all__ if name.endswith("Solver") and name != "Solver"]
    + ["get_solver", "get_solver_from_string"],
    "solver.solver": ["Observer", "Solver"],
    "pycaffe.runtime": [
        "NCCL", "Timer", "has_nccl", "init_log", "layer_type_list", "log", "set_logging", "set_logging_disabled",
        "set_multiprocess", "set_solver_count", "set_solver_rank", "solver_count", "solver_rank",
    ],
    "version": ["__version__"],
}  # fmt: skip
# Packages that scripts may use as attributes, though nobody has imported them, with the module that loads their parts.
_PACKAGES = {"data": "data", "extras": "extras", "solver": "solver.types", "version": "version"}
_PACKAGES |= dict.fromkeys(["bases", "files", "graph", "memory", "rng", "share"], "graph.net")
_PACKAGES |= {name: name for name in ("engines", "errors", "modes")}

if not TYPE_CHECKING:

    def __dir__() -> list[str]:
        return sorted(__all__)

    def __getattr__(name: str) -> Any:
        if name in _SUBMODULES:
            return import_module(_SUBMODULES[name])
        if name in _ELSEWHERE:
            return getattr(import_module(f"dragon.pycaffe.{_ELSEWHERE[name]}"), name)
        for module, names in _LATER.items():
            if name in names:
                globals()[name] = found = getattr(import_module(f"dragon.{module}"), name)
                return found
        if name in _PACKAGES:
            import_module(f"dragon.{_PACKAGES[name]}")
            return import_module(f"dragon.{name}")
        if _find_spec(f"dragon.{name}") is not None:  # a module, which the import system loads
            raise AttributeError(f"module 'dragon' has no attribute {name!r}")
        raise import_module("dragon.pycaffe.missing_names").missing_name("", name, __all__)
