"""Worker of the CPU benchmarks: PyTorch, in an interpreter of its own that needs only PyTorch and NumPy.

The net is built from the same prototxt, which comes as plain layer descriptions (cpu_nets.describe) with the weights.
"""

# mypy: disable-error-code="misc,no-any-return,arg-type,assignment"
# (types of PyTorch are known only where it is installed)

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from benchmarks._harness import Step, serve

__all__ = ["answer", "build", "facts", "joined", "make"]


class Scale(nn.Module):
    """Caffe's Scale along axis 1."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.view(1, -1, 1, 1))
        self.bias = None if bias is None else nn.Parameter(bias.view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight if self.bias is None else x * self.weight + self.bias


class WithinChannelLRN(nn.Module):
    """x / (1 + alpha * mean of squares over size x size) ** beta; windows at the edge still divide by their area."""

    def __init__(self, size: int, alpha: float, beta: float) -> None:
        super().__init__()
        self.size, self.alpha, self.beta = size, alpha, beta

    def forward(self, x: Tensor) -> Tensor:
        mean = F.avg_pool2d(x * x, self.size, 1, (self.size - 1) // 2)
        return x * (1 + self.alpha * mean).pow(-self.beta)


def joined(layers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The layers with each BatchNorm and the Scale and bias of its result as one, as PyTorch's users write them.

    A Scale of its own would be a further pass, in float32 under autocast.
    """
    readers = [bottom for layer in layers for bottom in layer["bottom"]]
    found: list[dict[str, Any]] = []
    for layer in layers:
        before = found[-1] if found else None
        if (
            before is not None and before["type"] == "BatchNorm" and layer["type"] == "Scale" and layer["bias"]
            and layer["bottom"] == before["top"]
            and (layer["top"] == before["top"] or readers.count(before["top"][0]) == 1)
        ):  # fmt: skip
            kept = {"type": "BN", "bottom": before["bottom"], "eps": before["eps"], "statistics": before["name"]}
            found[-1] = {**layer, **kept}
        else:
            found.append(layer)
    return found


class Converter:
    """Builds an fx graph, which runs as straight-line Python code, so that no interpreter of layers is timed."""

    def __init__(self, arrays: dict[str, np.ndarray[Any, Any]]) -> None:
        self.arrays = {name: torch.from_numpy(np.array(value)) for name, value in arrays.items()}
        self.rates: dict[str, tuple[float, float]] = {}  # parameter -> multipliers of learning rate and decay
        self.modules: dict[str, nn.Module] = {}
        self.graph = fx.Graph()
        self.now = {"data": self.graph.placeholder("x")}
        self.channels = {"data": int(self.arrays["data"].shape[1])}
        self.flat: set[str] = set()

    def module(self, layers: Sequence[dict[str, Any]]) -> nn.Module:
        """The module of all layers but a loss, whose bottom is the result."""
        for layer in layers:
            if layer["type"] == "SoftmaxWithLoss":
                break
            self._add(layer)
        self.graph.output(self.now[layers[-1]["bottom" if layers[-1]["type"] == "SoftmaxWithLoss" else "top"][0]])
        return fx.GraphModule(self.modules, self.graph)

    def _add(self, layer: dict[str, Any]) -> None:
        bottoms = [self.now[name] for name in layer["bottom"]]
        bottom, top = layer["bottom"][0], layer["top"][0]
        channels = self.channels[bottom]
        if layer["type"] == "Eltwise":
            node = bottoms[0]
            for other in bottoms[1:]:
                node = self.graph.call_function(torch.add, (node, other))
        else:
            if layer["type"] == "InnerProduct" and bottom not in self.flat:
                bottoms = [self.graph.call_function(torch.flatten, (bottoms[0], 1))]
            name = layer["name"]
            self.modules[name] = getattr(self, f"_{layer['type'].lower()}")(layer, channels)
            for i, parameter in enumerate(self.modules[name]._parameters):
                pair = [(layer[key][i] if i < len(layer[key]) else 1.0) for key in ("lr", "decay")]
                self.rates[f"{name}.{parameter}"] = pair[0], pair[1]
            node = self.graph.call_module(name, (bottoms[0],))
        self.now[top] = node
        self.channels[top] = layer.get("out", channels)
        if layer["type"] == "InnerProduct" or bottom in self.flat:
            self.flat.add(top)

    def _load(self, module: Any, name: str, blobs: Sequence[str]) -> nn.Module:
        with torch.no_grad():
            for i, blob in enumerate(blobs):
                getattr(module, blob).copy_(self.arrays[f"{name}/{i}"].reshape(getattr(module, blob).shape))
        return module

    def _convolution(self, p: dict[str, Any], channels: int) -> nn.Module:
        module = nn.Conv2d(channels, p["out"], p["kernel"], p["stride"], p["pad"], groups=p["group"], bias=p["bias"])
        return self._load(module, p["name"], ["weight", "bias"][: 1 + p["bias"]])

    def _innerproduct(self, p: dict[str, Any], channels: int) -> nn.Module:
        module = nn.Linear(self.arrays[f"{p['name']}/0"].shape[1], p["out"], bias=p["bias"])
        return self._load(module, p["name"], ["weight", "bias"][: 1 + p["bias"]])

    def _pooling(self, p: dict[str, Any], channels: int) -> nn.Module:
        if p["global"]:
            return nn.AdaptiveAvgPool2d(1) if p["method"] == "AVE" else nn.AdaptiveMaxPool2d(1)
        kind = nn.AvgPool2d if p["method"] == "AVE" else nn.MaxPool2d
        return kind(p["kernel"], p["stride"], p["pad"], ceil_mode=True)

    def _statistics(self, p: dict[str, Any], channels: int, affine: bool) -> nn.Module:
        module = nn.BatchNorm2d(channels, p["eps"], affine=affine)
        assert module.running_mean is not None
        assert module.running_var is not None
        statistics = p.get("statistics", p["name"])
        module.running_mean.copy_(self.arrays[f"{statistics}/mean"])
        module.running_var.copy_(self.arrays[f"{statistics}/variance"])
        return module

    def _batchnorm(self, p: dict[str, Any], channels: int) -> nn.Module:
        return self._statistics(p, channels, affine=False)

    def _bn(self, p: dict[str, Any], channels: int) -> nn.Module:
        return self._load(self._statistics(p, channels, affine=True), p["name"], ["weight", "bias"])

    def _scale(self, p: dict[str, Any], channels: int) -> nn.Module:
        return Scale(self.arrays[f"{p['name']}/0"], self.arrays[f"{p['name']}/1"] if p["bias"] else None)

    def _lrn(self, p: dict[str, Any], channels: int) -> nn.Module:
        if p["within"]:
            return WithinChannelLRN(p["size"], p["alpha"], p["beta"])
        return nn.LocalResponseNorm(p["size"], p["alpha"], p["beta"], p["k"])

    def _relu(self, p: dict[str, Any], channels: int) -> nn.Module:
        return nn.ReLU(inplace=True)

    def _sigmoid(self, p: dict[str, Any], channels: int) -> nn.Module:
        return nn.Sigmoid()

    def _softmax(self, p: dict[str, Any], channels: int) -> nn.Module:
        return nn.Softmax(1)


def build(
    layers: Sequence[dict[str, Any]], arrays: str, join: bool = False
) -> tuple[nn.Module, Tensor, Tensor | None, Any]:
    """The module, images (N, C, H, W), labels (N) and the multipliers of each parameter. join: see `joined`."""
    with np.load(arrays) as stored:
        loaded = dict(stored)
    converter = Converter(loaded)
    module = converter.module(joined(layers) if join else layers)
    labels = torch.from_numpy(loaded["label"].astype(np.int64)) if "label" in loaded else None
    return module, torch.from_numpy(loaded["data"]), labels, converter.rates


def _optimizer(module: nn.Module, rates: Any, solver: dict[str, Any], fused: bool) -> torch.optim.Optimizer:
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        groups.setdefault(rates[name], []).append(parameter)
    settings = [
        {"params": params, "lr": solver["base_lr"] * lr, "weight_decay": solver["weight_decay"] * decay}
        for (lr, decay), params in groups.items()
    ]
    return torch.optim.SGD(settings, lr=solver["base_lr"], momentum=solver["momentum"], fused=fused or None)


def _trainer(
    layers: Sequence[dict[str, Any]],
    arrays: str,
    solver: dict[str, Any],
    channels_last: bool,
    bf16: bool,
    compiled: bool,
) -> Callable[[], tuple[Tensor, Tensor]]:
    module, images, labels, rates = build(layers, arrays)
    module.train()
    if channels_last:
        module, images = module.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    # the plain form is what a user writes first; the tuned forms use the fused optimiser as well
    optimizer = _optimizer(module, rates, solver, fused=channels_last or compiled)

    def compute(x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            scores = module(x)
        return F.cross_entropy(scores.float(), labels), scores

    run = torch.compile(compute) if compiled else compute

    def step() -> tuple[Tensor, Tensor]:
        optimizer.zero_grad(set_to_none=True)
        loss, scores = run(images)
        loss.backward()
        optimizer.step()
        return loss, scores

    return step


def _inferrer(
    layers: Sequence[dict[str, Any]], arrays: str, channels_last: bool, bf16: bool, compiled: bool
) -> Callable[[], Tensor]:
    module, images, _, _ = build(layers, arrays)
    module.eval()
    if channels_last:
        module, images = module.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    if bf16:
        module, images = module.to(torch.bfloat16), images.to(torch.bfloat16)
    if compiled:
        from torch._inductor import config

        config.freezing = True  # folds batch normalisation and packs weights
        module = torch.compile(module)

    def step() -> Tensor:
        with torch.inference_mode() if not compiled else torch.no_grad():
            result: Tensor = module(images)
            return result

    return step


def make(
    mode: str,
    layers: Sequence[dict[str, Any]],
    arrays: str,
    solver: dict[str, Any],
    channels_last: bool = False,
    bf16: bool = False,
    compiled: bool = False,
    threads: int | None = None,
) -> Step:
    """A step of `mode` train or infer, as cpu_ours.make."""
    if mode == "infer":
        step: Step = _inferrer(layers, arrays, channels_last, bf16, compiled)
    else:
        step = _trainer(layers, arrays, solver, channels_last, bf16, compiled)
    if threads is None:
        return step

    def with_threads() -> object:
        torch.set_num_threads(threads)
        return step()

    return with_threads


def answer(
    mode: str, layers: Sequence[dict[str, Any]], arrays: str, solver: dict[str, Any], bf16: bool = False
) -> dict[str, list[float]]:
    """The scores and losses that cpu_ours.answer returns, by PyTorch."""
    if mode == "infer":
        scores = _inferrer(layers, arrays, True, bf16, False)()
        return {"scores": scores.float().ravel().tolist(), "losses": []}
    step = _trainer(layers, arrays, solver, True, bf16, False)
    runs = [step() for _ in range(3)]
    return {
        "scores": runs[0][1].detach().float().ravel().tolist(),
        "losses": [float(loss.detach()) for loss, _ in runs],
    }


def facts() -> dict[str, Any]:
    """Versions and the number of threads."""
    return {
        "torch": torch.__version__, "numpy": np.__version__, "threads": torch.get_num_threads(),
        "mkldnn": torch.backends.mkldnn.is_available(),
    }  # fmt: skip


if __name__ == "__main__":
    serve({"answer": answer, "facts": facts, "reset": torch.compiler.reset}, make)
