"""The CUDA engine: CuPy arrays, CUDA kernels, cuBLAS and cuDNN; parts of a net are replayed as CUDA graphs."""

from __future__ import annotations

from dragon.engines.cuda.device.availability import problem
from dragon.engines.cuda.executor import CudaExecutor
from dragon.engines.cuda.plan.figures import PlanFigures, plan_figures

__all__ = ["CudaExecutor", "PlanFigures", "plan_figures", "problem"]
