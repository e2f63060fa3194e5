"""The layer type MalisLoss."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dragon.bases.layer import register
from dragon.bases.loss import Loss
from dragon.counting import how_many
from dragon.errors import DataError
from dragon.memory.blob import Blob
from dragon.memory.storage import Array

__all__ = ["MalisLoss"]

_AXES = 3  # Z, Y, X: an edge is given by its distance along each


@register()
class MalisLoss(Loss):
    """The maximin affinity loss of segmentations (Turaga et al. 2009), as the Caffe of Greentea has it.

    Bottoms: predicted affinities (N, edges, [Z, [Y,]] X), in [0, 1]; the true ones, of the same shape; the segments (N,
    1 or 2, [Z, [Y,]] X), 0 where there is none; optionally the edges (edges, 3), the distance of the second voxel of an
    edge along Z, Y and X. Without them the edges are the last of +Z, +Y, +X. Of two channels of segments, the first is
    for pairs in different segments and the second for pairs in one. A voxel at the end of an axis begins no edge.

    The affinity m of two voxels is that of the weakest edge on the path whose weakest edge is strongest. With
    min(predicted, true) as affinities the loss of pairs in one segment is the mean of (1 - m)^2; with
    max(predicted, true) that of pairs in different segments is the mean of m^2. top: half their sum, averaged over the
    items. The gradient is that of this loss; Greentea's backward gives half of it times N, also where the true affinity
    decides.
    """

    type = "MalisLoss"
    bottoms = (3, 4)
    labels = frozenset({1, 2, 3})
    host_only = "joins segments edge by edge"

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape, segments = bottom[0].shape, bottom[2].shape
        if not 3 <= len(shape) <= 2 + _AXES:
            self.bad_shape(f"needs affinities (N, edges, [Z, [Y,]] X), got shape {shape}")
        if bottom[1].shape != shape:
            self.bad_shape(
                f"predicted and true affinities must have one shape: expected {shape}, got {bottom[1].shape}"
            )
        if (
            len(segments) != len(shape)
            or segments[:1] + segments[2:] != shape[:1] + shape[2:]
            or segments[1] not in (1, 2)
        ):
            self.bad_shape(f"needs segments (N, 1 or 2, ...) for affinities of shape {shape}, got shape {segments}")
        if len(bottom) > 3 and bottom[3].count != _AXES * shape[1]:
            self.bad_shape(f"needs edges of shape {(shape[1], _AXES)}, got {bottom[3].shape}")
        if len(bottom) == 3 and shape[1] > _AXES:
            self.bad_shape(f"needs a bottom with {how_many(shape[1], 'edge')}; without it there are at most {_AXES}")
        self.volume = (1,) * (2 + _AXES - len(shape)) + shape[2:]
        top[0].reshape(())

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        n, edges = shape[:2]
        first, second, where = self._edges(bottom, edges)
        voxels = math.prod(self.volume)  # -1 would have no value in a batch of no items
        predicted, true = (blob.data.reshape(n, edges, voxels) for blob in bottom[:2])
        segments = bottom[2].data.reshape(n, bottom[2].shape[1], voxels).astype(np.int64)
        slope = np.zeros(predicted.shape, np.float64)
        total = 0.0
        for item in range(n):
            for same in (False, True):
                choose = np.minimum if same else np.maximum
                affinity = choose(predicted[item], true[item]).reshape(-1)[where].astype(np.float64)
                labels = segments[item, -1 if same else 0]
                pairs = _pairs(affinity, first, second, labels, same)
                count = _count(labels, same)
                if not count:
                    continue
                miss = affinity - 1 if same else affinity
                total += float((pairs * miss * miss).sum()) / count / 2
                decided = predicted[item].reshape(-1)[where] == affinity.astype(predicted.dtype)
                slope[item].reshape(-1)[where] += np.where(decided, pairs * miss / count, 0)
        self.slope = (slope / max(1, n)).astype(predicted.dtype).reshape(shape)
        top[0].data[...] = total / max(1, n)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        self.check_propagation(propagate_down)
        if propagate_down[0]:
            np.multiply(self.slope, top[0].diff, out=bottom[0].diff)

    def _edges(self, bottom: Sequence[Blob], edges: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
        """The two voxels of each edge, and where its affinity stands among those of an item."""
        steps = np.eye(_AXES, dtype=np.int64)[_AXES - edges :]
        if len(bottom) > 3:
            steps = bottom[3].data.reshape(edges, _AXES).astype(np.int64)
        voxels = np.arange(math.prod(self.volume)).reshape(self.volume)
        at = np.stack(np.meshgrid(*map(np.arange, self.volume), indexing="ij"))
        size = np.array(self.volume).reshape(-1, 1, 1, 1)
        begins = (at < np.maximum(size - 1, 1)).all(0)
        first, second, where = [], [], []
        for edge, step in enumerate(steps):
            end = at + step.reshape(-1, 1, 1, 1)
            inside = begins & (end >= 0).all(0) & (end < size).all(0)
            if not step.any():
                raise DataError(f"edge {edge} has no distance", layer=self.where)
            first.append(voxels[inside])
            second.append(voxels[tuple(end[axis][inside] for axis in range(_AXES))])
            where.append(edge * voxels.size + first[-1])
        return np.concatenate(first), np.concatenate(second), np.concatenate(where)


def _count(labels: NDArray[np.int64], same: bool) -> int:
    """How many pairs of voxels with a segment are in one segment, or in different ones."""
    sizes = np.unique(labels[labels != 0], return_counts=True)[1].tolist()
    voxels: int = sum(sizes)
    together: int = sum(size * (size - 1) // 2 for size in sizes)
    return together if same else voxels * (voxels - 1) // 2 - together


def _pairs(
    affinity: Array, first: NDArray[np.int64], second: NDArray[np.int64], labels: NDArray[np.int64], same: bool
) -> NDArray[np.float64]:
    """For each edge the number of pairs whose affinity it decides, by Kruskal's algorithm: strongest edge first."""
    parent = list(range(len(labels)))
    inside: list[dict[int, int]] = [{label: 1} if label else {} for label in labels.tolist()]
    found = np.zeros(len(affinity))

    def root(voxel: int) -> int:
        while parent[voxel] != voxel:
            parent[voxel] = parent[parent[voxel]]
            voxel = parent[voxel]
        return voxel

    order = np.argsort(-affinity, kind="stable")
    for edge, a, b in zip(order.tolist(), first[order].tolist(), second[order].tolist(), strict=True):
        a, b = root(a), root(b)
        if a == b:
            continue
        if len(inside[a]) < len(inside[b]):
            a, b = b, a
        large, small = inside[a], inside[b]
        together = sum(count * large.get(label, 0) for label, count in small.items())
        found[edge] = together if same else sum(large.values()) * sum(small.values()) - together
        for label, count in small.items():
            large[label] = large.get(label, 0) + count
        parent[b], inside[b] = a, {}
    return found
