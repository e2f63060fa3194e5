"""Where NaN and infinities come out of a layer on an engine, and where on the reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import dragon
from dragon.bases.layer import Layer
from dragon.errors import DragonError
from tests.layers.catalogue import Case

__all__ = ["CHAINS", "CONV", "POOL", "RELU", "Chain", "faults", "layer", "places"]

Array = NDArray[Any]
MakeNet = Callable[[str, str], dragon.Net]  # text, engine

VALUES = [float("nan"), float("inf"), float("-inf")]
PROBES = [1e4, -1e4]  # finite values that show what depends on an element


CONVOLUTION = 'convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } }'
POINTWISE = 'convolution_param { num_output: 4 kernel_size: 1 stride: %d weight_filler { type: "xavier" } }'
RUNNING = "batch_norm_param { use_global_stats: true }"
POOL = "pooling_param { kernel_size: 2 stride: 2 }"


def layer(kind: str, bottom: str, top: str, settings: str = "") -> str:
    return f'layer {{ name: "{kind} {top}" type: "{kind}" bottom: "{bottom}" top: "{top}" {settings} }}\n'


CONV = layer("Convolution", "x0", "y", CONVOLUTION)
RELU = layer("ReLU", "y", "y")
INNER = layer("InnerProduct", "x0", "y", 'inner_product_param { num_output: 4 weight_filler { type: "xavier" } }')
SCALE = layer("Scale", "y", "y", "scale_param { bias_term: true }")
CHAINS = {
    "convolution, ReLU": CONV + RELU,
    "convolution, leaky ReLU": CONV + layer("ReLU", "y", "y", "relu_param { negative_slope: 0.1 }"),
    "convolution, ReLU up to 6": CONV + layer("ReLU", "y", "y", "relu_param { relu6: true }"),
    "convolution, Sigmoid": CONV + layer("Sigmoid", "y", "y"),
    "convolution, TanH": CONV + layer("TanH", "y", "y"),
    "convolution, ELU": CONV + layer("ELU", "y", "y"),
    "convolution, PReLU": CONV + layer("PReLU", "y", "y"),
    "convolution, ReLU, pooling": CONV + RELU + layer("Pooling", "y", "y1", POOL),
    "convolution, pooling, ReLU": CONV + layer("Pooling", "y", "y1", POOL) + layer("ReLU", "y1", "y1"),
    "convolution, pooling, convolution, ReLU": CONV.replace("pad: 1", "pad: 0")
    + layer("Pooling", "y", "y1", POOL)
    + layer("ReLU", "y1", "y1")
    + layer("LRN", "y1", "y2")
    + layer("Convolution", "y2", "y3", CONVOLUTION.replace("pad: 1", "pad: 0"))
    + layer("ReLU", "y3", "y3"),
    "ReLU, pooling": layer("Power", "x0", "y", "power_param { scale: 2 }") + RELU + layer("Pooling", "y", "y1", POOL),
    "ReLU, dropout": layer("Power", "x0", "y", "power_param { scale: 2 }") + RELU + layer("Dropout", "y", "y"),
    "BatchNorm, ReLU": layer("BatchNorm", "x0", "y") + RELU,
    "BatchNorm, ReLU, another top": layer("BatchNorm", "x0", "y") + layer("ReLU", "y", "y1"),
    "BatchNorm, Scale, ReLU": layer("BatchNorm", "x0", "y") + SCALE + RELU,
    "BatchNorm on running statistics, ReLU": layer("BatchNorm", "x0", "y", RUNNING) + RELU,
    "convolution, BatchNorm, ReLU": CONV + layer("BatchNorm", "y", "y") + RELU,
    "convolution, BatchNorm, Scale, ReLU, pooling": CONV
    + layer("BatchNorm", "y", "y")
    + SCALE
    + RELU
    + layer("Pooling", "y", "y1", POOL),
    "convolution, BN, ReLU": CONV + layer("BN", "y", "y") + RELU,
    "convolution, sum, ReLU": layer("Convolution", "x0", "y", CONVOLUTION.replace("4", "3", 1))
    + 'layer { name: "sum" type: "Eltwise" bottom: "y" bottom: "x0" top: "y1" }\n'
    + layer("ReLU", "y1", "y1"),
    "convolution, 1 x 1 convolution with a stride": CONV + RELU + layer("Convolution", "y", "y1", POINTWISE % 2),
    "1 x 1 convolution, average pooling": layer("Convolution", "x0", "y", POINTWISE % 1)
    + layer("Pooling", "y", "y1", POOL.replace("{", "{ pool: AVE")),
    "inner product, ReLU": INNER + RELU,
    "inner product, ELU": INNER + layer("ELU", "y", "y"),
    "inner product, Sigmoid": INNER + layer("Sigmoid", "y", "y"),
    "concatenation, pooling": CONV
    + layer("ReLU", "y", "y")
    + 'layer { name: "both" type: "Concat" bottom: "y" bottom: "x0" top: "y1" }\n'
    + layer("Pooling", "y1", "y2", POOL),
}  # fmt: skip


@dataclass(frozen=True)
class Chain:
    """Layers behind an input x0 of Gaussian values, to be used as a case of the catalogue is."""

    layers: str
    shape: tuple[int, ...] = (2, 3, 8, 8)
    inputs: tuple[str, ...] = ("x0",)

    def text(self) -> str:
        dims = " ".join(f"dim: {dim}" for dim in self.shape)
        head = f'layer {{ name: "x0" type: "Input" top: "x0" input_param {{ shape {{ {dims} }} }} }}\n'
        return "force_backward: true\n" + head + self.layers

    def values(self) -> dict[str, Array]:
        return {"x0": (np.round(np.random.default_rng(3).standard_normal(self.shape) * 256) + 0.5) / 256}


def places(case: Case | Chain) -> list[str]:
    """Where to plant: a bottom's name, or "top" for the diffs of the outputs."""
    return [*(f"x{i}" for i in range(len(case.inputs))), "top"]


def faults(case: Case | Chain, make: MakeNet, engine: str, place: str, spreads: bool = False) -> list[str]:
    """What differs between the engine and the reference when the middle element of `place` is not finite.

    An engine need not have a non-finite number where the reference multiplies it by 0: where a result does not depend
    on the element at all. It must not have one where the reference has none, unless it `spreads`: then gradients that
    a NaN of a bottom reaches are not compared. Forward it must be NaN where the reference has NaN.
    """
    with _Reference(case, make) as reference:
        probes = [reference.results(place, probe) for probe in (None, *PROBES)]
        wanted = [reference.results(place, value) for value in VALUES]
    differing = []
    for value, expected in zip(VALUES, wanted, strict=True):
        found = _results(case, make, engine, place, value)
        if isinstance(expected, str) or isinstance(found, str):
            differing += [] if expected == found else [f"{value}: {expected} on the reference, {found} here"]
            continue
        for name, theirs in expected.items():
            if spreads and place != "top" and name.startswith("diff"):
                continue
            if theirs.shape != found[name].shape:
                differing.append(f"{value}: {name}: {found[name].shape}, expected {theirs.shape}")
                continue
            depends = _depends(probes, name, theirs)
            differing += [
                f"{value}: {name}: {fault}" for fault in _compare(theirs, found[name], depends, name, spreads)
            ]
    return differing


def _compare(theirs: Array, ours: Array, depends: Array, name: str, spreads: bool) -> Iterator[str]:
    wanted = ~np.isfinite(theirs)
    swallowed = wanted & depends & np.isfinite(ours)
    if swallowed.any():
        yield f"{swallowed.sum()} of {wanted.sum()} are finite"
    made = ~wanted & ~np.isfinite(ours)
    if made.any() and not spreads:
        yield f"{made.sum()} are not finite"
    if name.startswith("data of y") and (np.isnan(theirs) & np.isinf(ours)).any():
        yield "infinite, expected NaN"


def _depends(probes: list[dict[str, Array] | str], name: str, like: Array) -> Array:
    """Which elements of a result change with the element at the place; all where that cannot be told."""
    known = [probe[name] for probe in probes if not isinstance(probe, str)]
    if len(known) < 2 or any(result.shape != like.shape for result in known):
        return np.ones(like.shape, bool)
    changes = np.zeros(like.shape, bool)
    for other in known[1:]:
        changes |= ~np.isclose(other, known[0], rtol=1e-9, atol=1e-12, equal_nan=True)
    return changes


class _Reference:
    """Runs on the reference: of one net, where nothing that a run leaves in it changes the next one."""

    def __init__(self, case: Case | Chain, make: MakeNet) -> None:
        self._case, self._make = case, make
        self._net: dragon.Net | None = None

    def __enter__(self) -> _Reference:
        return self

    def __exit__(self, *_: object) -> None:
        if self._net is not None:
            self._net.close()

    def results(self, place: str, value: float | None) -> dict[str, Array] | str:
        net, self._net = self._net or self._make(self._case.text(), "numpy"), None
        found = _run(net, self._case, place, value)
        if isinstance(found, str) or any(_remembers(layer) for layer in net.layers):
            net.close()
        else:
            self._net = net
        return found


def _remembers(layer: Layer) -> bool:
    return bool(layer.buffers or layer.rng.draws or layer.state())


def _results(case: Case | Chain, make: MakeNet, engine: str, place: str, value: float | None) -> dict[str, Array] | str:
    """All data and diffs of a new net after forward and backward by name, or the type of the error."""
    net = make(case.text(), engine)
    try:
        return _run(net, case, place, value)
    finally:
        net.close()


def _run(net: dragon.Net, case: Case | Chain, place: str, value: float | None) -> dict[str, Array] | str:
    _set_parameters(net)
    for name, given in case.values().items():
        given = given.copy()
        if name == place and value is not None:
            given.reshape(-1)[given.size // 2] = value
        net.blobs[name].data[...] = given
    try:
        with np.errstate(all="ignore"):
            net.run_forward()
            found = {f"data of {name}": blob.peek().copy() for name, blob in net.blobs.items()}
            _set_diffs(net, value if place == "top" else None)
            net.clear_param_diffs()
            net.run_backward()
            found |= dict(_diffs(net))
    except DragonError as error:
        return type(error).__name__
    return found


def _set_parameters(net: dragon.Net) -> None:
    """Values that do not depend on the engine's rounding of fillers."""
    rng = np.random.default_rng(7)
    for layer in net.layers:
        for i, blob in enumerate(layer.blobs):
            if i not in layer.buffers:
                blob.data[...] = np.round(rng.standard_normal(blob.shape) * 64 + 0.5) / 128


def _set_diffs(net: dragon.Net, value: float | None) -> None:
    rng = np.random.default_rng(8)
    for name in net.outputs:
        diff = net.blobs[name].diff
        diff[...] = np.round(rng.standard_normal(diff.shape) * 64) / 64
        if value is not None and diff.size:
            diff.reshape(-1)[diff.size // 2] = value


def _diffs(net: dragon.Net) -> Iterator[tuple[str, Array]]:
    for name, blob in net.blobs.items():
        yield f"diff of {name}", blob.peek_diff().copy()
    for name, blobs in net.params.items():
        for i, blob in enumerate(blobs):
            yield f"diff of blob {i} of {name}", blob.peek_diff().copy()
