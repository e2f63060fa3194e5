"""Worker of the benchmark of updates for PyTorch's optimisers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from benchmarks._harness import Step, serve

__all__ = ["answer", "forms", "make"]

_OPTIMISERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "SGD": (torch.optim.SGD, {"momentum": 0.9}),
    "Nesterov": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "AdaGrad": (torch.optim.Adagrad, {"eps": 1e-8}),
    "RMSProp": (torch.optim.RMSprop, {"alpha": 0.99, "eps": 1e-8}),
    "AdaDelta": (torch.optim.Adadelta, {"rho": 0.9, "eps": 1e-8}),
    "Adam": (torch.optim.Adam, {"betas": (0.9, 0.999), "eps": 1e-8}),
    "AdamW": (torch.optim.AdamW, {"betas": (0.9, 0.999), "eps": 1e-8}),
}
_SETTINGS: dict[str, dict[str, bool]] = {"default": {}, "foreach": {"foreach": True}, "fused": {"fused": True}}
_made: list[tuple[list[torch.nn.Parameter], Any]] = []  # weights, and their optimisers


def forms(rule: str) -> list[str]:
    """The forms in which the optimiser exists."""
    kind = _OPTIMISERS[rule][0]
    return [form for form in _SETTINGS if form != "fused" or "fused" in kind.__init__.__code__.co_varnames]


def make(shapes: Sequence[Sequence[int]], rule: str, threads: int, form: str) -> Step:
    """The update of tensors of these shapes; the gradients stay as they are."""
    torch.set_num_threads(threads)
    random = np.random.default_rng(0)
    weights = []
    for shape in shapes:
        weight = torch.nn.Parameter(torch.from_numpy(random.standard_normal(shape, np.float32)))
        weight.grad = torch.from_numpy(random.standard_normal(shape, np.float32))
        weights.append(weight)
    kind, settings = _OPTIMISERS[rule]
    optimiser = kind(weights, lr=0.1, weight_decay=5e-4, **settings, **_SETTINGS[form])
    _made.append((weights, optimiser))
    step: Step = optimiser.step
    return step


def answer() -> list[float]:
    """The first weight of each tensor that was made last, after a step."""
    weights, optimiser = _made[-1]
    optimiser.step()
    return [float(weight.detach().flatten()[0]) for weight in weights]


if __name__ == "__main__":
    serve({"forms": forms, "answer": answer}, make)
