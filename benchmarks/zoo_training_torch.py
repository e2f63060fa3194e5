"""Worker of the benchmark of training nets of the zoo, for PyTorch: the module that Dragon wrote."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._harness import Step, serve

__all__ = ["answer", "make"]

_made: list[tuple[Any, Callable[[], Any]]] = []  # modules, and their steps


def make(folder: str, threads: int, channels_last: bool) -> Step:
    """Forward and backward from inputs on the host; the loss is the sum of all outputs."""
    torch.set_num_threads(threads)
    path = Path(folder)
    spec = importlib.util.spec_from_file_location("net", path / "net.py")
    assert spec is not None
    assert spec.loader is not None
    source = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(source)
    module = source.load().train()
    inputs = [torch.from_numpy(values) for values in np.load(path / "inputs.npz").values()]
    if channels_last:
        module = module.to(memory_format=torch.channels_last)
        inputs = [x.to(memory_format=torch.channels_last) if x.ndim == 4 else x for x in inputs]

    def step() -> Any:
        for p in module.parameters():
            p.grad = None
        made = module(*inputs)
        loss = sum(y.sum() for y in made.values()) if isinstance(made, dict) else made.sum()
        loss.backward()
        return loss

    _made.append((module, step))
    return step


def answer() -> list[float]:
    """The loss of the module that was made last, and the norm of its gradients."""
    module, step = _made[-1]
    loss = float(step())
    squares = sum(float(p.grad.double().square().sum()) for p in module.parameters() if p.grad is not None)
    return [loss, squares**0.5]


if __name__ == "__main__":
    serve({"answer": answer}, make)
