"""Worker of the benchmark of updates for Dragon."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import numpy as np

from benchmarks._harness import ROOT, Step, serve
from dragon.bases.layer import TEST
from dragon.engines import Options
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.solver.update import Updater

__all__ = ["answer", "make", "shapes"]

_NO_MOMENTUM = ("AdaGrad", "RMSProp")
_made: list[tuple[Net, Step]] = []  # nets, and their updates


def shapes(net: str) -> list[list[int]]:
    """The shapes of the learned blobs of a net of the zoo."""
    with Net(str(ROOT / "models" / net / "deploy.prototxt"), phase=TEST, engine="numpy") as made:
        return [list(p.blob.shape) for p in made.learnable if p.lr_mult]


def make(shapes: Sequence[Sequence[int]], rule: str, threads: int) -> Step:
    """The update of blobs of these shapes; their gradients are the last steps, as after training's own update."""
    made = pb.NetParameter()
    for k, shape in enumerate(shapes):
        layer = made.layer.add(name=f"blob {k}", type="Parameter", top=[f"blob {k}"])
        layer.parameter_param.shape.dim.extend(shape)
    net = Net(made, phase=TEST, engine="onednn", options=Options(threads=threads))
    random = np.random.default_rng(0)
    for p in net.learnable:
        p.blob.data[...] = random.standard_normal(p.blob.shape, np.float32)
        p.blob.diff[...] = random.standard_normal(p.blob.shape, np.float32)
    momentum = 0.0 if rule in _NO_MOMENTUM else 0.9
    param = pb.SolverParameter(type=rule, momentum=momentum, rms_decay=0.99, delta=1e-8, weight_decay=5e-4)
    updater = Updater(net, param)
    numbers = count()

    def step() -> None:
        net.executor.update(updater, 0.1, next(numbers))

    _made.append((net, step))
    return step


def answer() -> list[float]:
    """The first weight of each blob that was made last, after a step."""
    net, step = _made[-1]
    step()
    return [float(p.blob.data.flat[0]) for p in net.learnable]


if __name__ == "__main__":
    serve({"shapes": shapes, "answer": answer}, make)
