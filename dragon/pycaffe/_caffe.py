"""The names that scripts take from `caffe._caffe`, pycaffe's compiled part."""

from dragon.memory.blob import Blob
from dragon.memory.blob import BlobList as BlobVec
from dragon.memory.blob import BlobList as RawBlobVec
from dragon.modes import set_device, set_mode_cpu, set_mode_gpu, set_random_seed
from dragon.proto.dragon_pb2 import LayerParameter, SolverParameter
from dragon.pycaffe.runtime import (
    NCCL,
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    Layer,
    NesterovSolver,
    Net,
    RMSPropSolver,
    SGDSolver,
    Solver,
    Timer,
    get_solver,
    has_nccl,
    init_log,
    layer_type_list,
    log,
    set_multiprocess,
    set_solver_count,
    set_solver_rank,
    solver_count,
    solver_rank,
)
from dragon.version import __version__

BoolVec = IntVec = LayerVec = NetVec = StringVec = list  # what nets and solvers have in place of C++'s vectors

__all__ = [
    "NCCL",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "Blob",
    "BlobVec",
    "BoolVec",
    "IntVec",
    "Layer",
    "LayerParameter",
    "LayerVec",
    "NesterovSolver",
    "Net",
    "NetVec",
    "RMSPropSolver",
    "RawBlobVec",
    "SGDSolver",
    "Solver",
    "SolverParameter",
    "StringVec",
    "Timer",
    "__version__",
    "get_solver",
    "has_nccl",
    "init_log",
    "layer_type_list",
    "log",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_multiprocess",
    "set_random_seed",
    "set_solver_count",
    "set_solver_rank",
    "solver_count",
    "solver_rank",
]
