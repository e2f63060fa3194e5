"""The GPU engine: CuPy arrays, kernels of our own, cuBLAS, and steady parts of a net replayed as CUDA graphs."""

from __future__ import annotations

from dragon.engines.cuda.device.device import problem
from dragon.engines.cuda.executor import CudaExecutor
from dragon.engines.cuda.plan.figures import PlanFigures, plan_figures

__all__ = ["CudaExecutor", "PlanFigures", "plan_figures", "problem"]
