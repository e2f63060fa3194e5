"""The probe jacobian."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from dragon.errors import UsageError
from dragon.memory.storage import Array
from dragon.probes.probe import Probe, setting
from dragon.probes.probe_net import Batch, ProbeNet
from dragon.probes.registry import register
from dragon.probes.run import Run

__all__ = ["Jacobian", "jacobians"]


@register("jacobian")
@dataclass(kw_only=True, eq=False)
class Jacobian(Probe):
    """Singular values of the derivative of a layer's output by the net's input, of small nets.

    J = dy / dx for each image, row by row, each an exact backward pass in float64 by NumPy; `largest` and `smallest` of
    its min(outputs, inputs) singular values and `condition`, their ratio, each the mean over the images. With
    `batch_statistics` the images of the batch depend on each other, and J is that of the whole batch. Cost: one
    backward pass for each output, with batch_statistics for each output and image; an SVD.
    """

    layer: str = setting("", "the layer that makes y; by default the one that makes the scores")
    images: int = setting(4, "how many images", least=1)
    batch_statistics: bool = setting(False, "normalise by the batch, not by running statistics")

    def measure(self, run: Run) -> Mapping[str, float]:
        net = run.clone(engine="numpy", dtype=np.float64, input_gradients=True, batch_statistics=self.batch_statistics)
        found = jacobians(net, run.batch(0, self.images), self.layer, self.batch_statistics)
        ends = []
        for one in found:
            values = np.linalg.svd(one, compute_uv=False) if np.isfinite(one).all() else np.full(2, math.nan)
            ends.append((values[0], values[-1], values[0] / values[-1] if values[-1] else math.inf))
        largest, smallest, condition = np.mean(ends, axis=0)
        return {"largest": float(largest), "smallest": float(smallest), "condition": float(condition)}


def jacobians(net: ProbeNet, batch: Batch, layer: str, joint: bool) -> Array:
    """The derivatives by the images, (images, outputs, inputs); of the batch as one image if `joint`.

    Raises UsageError for a layer whose first top has no axis of images.
    """
    node = net.node(layer) if layer else net.scores()
    top, x = node.tops[0], net.net.blobs[net.images(node)]
    net.load(batch)
    net.net.run_forward(0, node.index)
    images = batch.extent
    if not top.count or top.shape[:1] != (images,):
        raise UsageError(f'probe "jacobian": layer "{node.name}" gives no value for each image, but shape {top.shape}')
    outputs = top.count if joint else top.count // images
    rows = []
    with _only_what_is_set(net):
        for k in range(outputs):
            diff = top.diff.reshape(-1 if joint else (images, -1))
            diff[...] = 0
            diff[..., k] = 1
            net.net.run_backward(node.index)
            rows.append(x.peek_diff().reshape(1 if joint else images, -1).copy())
    return np.stack(rows, axis=1)


@contextmanager
def _only_what_is_set(net: ProbeNet) -> Iterator[None]:
    """Set all gradients of blobs to 0, and give losses their weights back at the end.

    Backward from a layer would add those of the losses before it, and what an earlier pass left where no reader of a
    blob is run.
    """
    tops = [top for node in net.net.nodes for top in node.tops]
    weights = [(top, top.peek_diff().copy()) for node in net.net.nodes if node.makes_loss for top in node.tops]
    for top in tops:
        top.diff[...] = 0
    try:
        yield
    finally:
        for top, weight in weights:
            top.diff[...] = weight
