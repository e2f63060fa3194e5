"""A new normalisation that starts as the identity: gamma = sqrt(var + eps), beta = mean, for any mean and variance.

The running statistics are those of the values that it reads, so that training goes on from where the net is. Those that
are shared, as by the towers of a siamese net, are those of all values that the layers read together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.bases.batch_statistics import normalization_of
from dragon.bases.layer import TEST, TRAIN
from dragon.data.progress import Progress, silent
from dragon.errors import UsageError
from dragon.surgery.model import Model
from dragon.surgery.prove import build_net
from dragon.surgery.recalibrate import Pool
from dragon.surgery.samples import feed

__all__ = ["Made", "Statistics", "measure", "start_as_identity"]

Statistics = Callable[[Model, Sequence[str]], Mapping[str, Pool]]  # by names of layers: of their tops


@dataclass
class Made:
    """A normalisation that is inserted.

    target, spot, like: positions of the chosen layer, of the one it is put behind, and of the one whose rules it has.
    """

    target: int
    spot: int
    like: int
    layer: str  # name of the chosen layer
    behind: str  # name of the layer whose top its statistics are those of
    name: str
    scale: str  # name of its Scale, if it is scaled
    scaled: bool = False
    shared: str = ""  # the name under which layers share the weight before it, and so the normalisation
    dropped: bool = False  # whether the bias of the chosen layer was dropped


def measure(
    model: Model,
    names: Sequence[str],
    batches: int = 4,
    shape: tuple[int, ...] | None = None,
    progress: Progress = silent,
) -> dict[str, Pool]:
    """Mean and variance of each channel of the tops of layers, over batches in TRAIN, or in TEST where TRAIN lacks one.

    The data is that of a proof (see `prove`). Raises UsageError for a layer that neither phase has.
    """
    found: dict[str, Pool] = {}
    for phase in (TRAIN, TEST):
        missing = [name for name in names if name not in found]
        if missing:
            found.update(_measure_in(model, missing, phase, batches, shape, progress))
    for name in names:
        if name not in found:
            raise UsageError(f'layer "{name}" runs in no phase: its values cannot be measured')
    return found


def _measure_in(
    model: Model, names: Sequence[str], phase: int, batches: int, shape: tuple[int, ...] | None, progress: Progress
) -> dict[str, Pool]:
    net = build_net(model, phase, shape)
    try:
        pools = {node.index: (node.name, Pool()) for node in net.nodes if node.name in names}
        for index in pools:
            if not net.nodes[index].tops[0].ndim:
                raise UsageError("makes a single number: no normalisation can follow it", layer=net.layers[index].where)
        rng = np.random.default_rng(3)
        for batch in range(batches if pools else 0):
            feed(net, rng)
            begin = 0
            for index, (_, pool) in pools.items():
                net.run_forward(begin, index)
                pool.add(net.nodes[index].tops[0].peek())
                begin = index + 1
            progress("batches for statistics", batch + 1, batches)
        return dict(pools.values())
    finally:
        net.close()


def start_as_identity(old: Model, new: Model, made: Sequence[Made], statistics: Statistics) -> None:
    """Give the new layers of a model with weights their values, and take dropped biases out of the weights.

    Layers without running statistics start with scale 1 and shift 0: they are no identity.
    """
    by_name = {layer.name: layer for layer in new.net.layer}
    once: dict[str, Made] = {}  # layers of one name have one normalisation
    for one in made:
        once.setdefault(one.name, one)
    biases = {name: _take_bias(new, one) for name, one in once.items() if one.dropped}
    averaged = [one for name, one in once.items() if _averages(by_name[name])]
    if not averaged:
        return
    pools = statistics(old, list(dict.fromkeys(one.behind for one in averaged)))
    read = {one.name: Pool() for one in averaged}  # by normalisation, what it reads: the values without the bias
    shared: dict[str, Pool] = {}
    for one in averaged:
        if one.shared:
            read[one.name] = shared.setdefault(one.shared, read[one.name])
        bias = biases.get(one.name)
        read[one.name].join(pools[one.behind], 0.0 if bias is None else -bias)
    for one in averaged:
        pool, bias = read[one.name], biases.get(one.name)
        _identity(new, by_name, one, pool, pool.mean if bias is None else pool.mean + bias)


def _take_bias(model: Model, one: Made) -> NDArray[Any] | None:
    """Take the bias out of the weights of a layer and return it, (C,), float64; None if the weights have none."""
    weights = model.arrays.get(one.layer, [])
    if len(weights) < 2:
        return None
    model.arrays[one.layer] = weights[:1]
    return weights[1].reshape(-1).astype(np.float64)


def _averages(layer: Any) -> bool:
    settings = normalization_of(layer)
    return settings is not None and settings.averages


def _identity(
    model: Model,
    layers: Mapping[str, Any],
    one: Made,
    pool: Pool,
    beta: NDArray[Any],
) -> None:
    settings = normalization_of(layers[one.name])
    assert settings is not None
    at = settings.blobs
    arrays: list[NDArray[Any]] = [np.zeros(1, np.float32)] * at.count
    gamma = np.sqrt(pool.variance + settings.eps)
    values = {
        at.mean: pool.mean,
        at.variance: pool.variance,
        at.weight: np.ones(1),
        at.gamma: gamma,
        at.beta: beta,
        at.iterations: np.zeros(1),
    }
    for index, value in values.items():
        if index is not None:
            arrays[index] = value.astype(np.float32)
    model.arrays[one.name] = arrays
    if one.scaled:
        model.arrays[one.scale] = [gamma.astype(np.float32), beta.astype(np.float32)]
