"""The four rules of the running average as numbers, which the NumPy, oneDNN and CUDA code all takes from here.

A running average is a sum r of the batches' statistics and the sum w of their weights:

    after each training batch    r <- momentum r + new batch    w <- momentum w + new
    TEST reads                   r / w

f is set in the prototxt (`moving_average_fraction`, `decay` or `momentum`); m is the number of values per channel in a
batch.

    rule        momentum   new     factor of the variance      the blobs hold   a weight of 0 is read as
    CAFFE       f          1       m / (m - 1)                 r and w          statistics of 0
    EMA         f          1 - f   1                           r and w          a full average: w = 1
    CUMULATIVE  1          1       1                           r / w and w      statistics as they are stored
    LATEST      1 - f      f       1                           r and w          a full average: w = 1

So f is the weight of the history, except for LATEST, where it is the weight of the newest batch. CUMULATIVE ignores f.

The first Dragon averages the standard deviation sqrt(variance + eps) in place of the variance (`deviation`).
"""

from __future__ import annotations

from dataclasses import dataclass

from dragon.memory.storage import Array
from dragon.memory.xp import xp_of
from dragon.proto import dragon_pb2 as pb

__all__ = ["Averaging", "averaging"]


@dataclass(frozen=True)
class Averaging:
    """The numbers of one rule: a line of the table above."""

    momentum: float  # weight of the old sum
    new: float  # weight of the batch
    unbiased: bool = False  # the variance is multiplied by m / (m - 1)
    divided: bool = False  # the blobs hold r / w in place of r
    full: bool = False  # statistics stored with a weight of 0 are a full average, of weight 1
    deviation: float | None = None  # eps, if the sums are of sqrt(variance + eps); None: of the variance

    def correction(self, count: int) -> float:
        """The factor by which the biased variance of `count` values is multiplied; 1 for a single value."""
        return count / (count - 1) if self.unbiased and count > 1 else 1.0

    def accumulate(
        self, running: tuple[Array, Array], weight: Array | None, batch: tuple[Array, Array], count: int
    ) -> None:
        """Add a batch's (mean, biased variance), (C) each, over `count` values per channel to `running`, in place.

        weight: the sum of the weights, one element; None in layouts of forks that have no blob for it. Raises
        ValueError without a weight for a rule that needs one.
        """
        if weight is None and not self.full:
            raise ValueError("an average by CAFFE or CUMULATIVE needs a weight")
        mean, variance = batch
        correction = self.correction(count)
        if correction != 1:
            variance = variance * variance.dtype.type(correction)
        variance = self.spread(variance)
        if weight is not None:
            if self.full:
                given = (running[0] != 0).any() | (running[1] != 0).any()
                weight[...] = xp_of(weight).where((weight == 0) & given, 1, weight)
            weight *= self.momentum
            weight += self.new
        for r, b in zip(running, (mean, variance), strict=True):
            if self.divided and weight is not None:
                r += (b - r) / (weight / self.new)
            else:
                r *= self.momentum
                r += b * b.dtype.type(self.new)

    def read(self, running: tuple[Array, Array], weight: Array | None) -> tuple[Array, Array]:
        """Mean and variance to normalise with, (C,) each: the sums divided by their weight, so not biased to 0."""
        mean, variance = running
        if weight is not None and not self.divided:
            xp = xp_of(weight)
            safe = xp.where(weight == 0, 1, weight)
            factor = (xp.where(weight == 0, int(self.full), 1) / safe).astype(mean.dtype)
            mean, variance = mean * factor, variance * factor
        if self.deviation is not None:
            square = variance.astype("float64") ** 2 - self.deviation
            variance = square.clip(0).astype(variance.dtype)
        return mean, variance

    def spread(self, variance: Array) -> Array:
        """What is averaged beside the mean: the variance itself, or sqrt(variance + eps) with `deviation`."""
        if self.deviation is None:
            return variance
        root: Array = xp_of(variance).sqrt(variance.astype("float64") + self.deviation).astype(variance.dtype)
        return root


def averaging(rule: int, fraction: float) -> Averaging:
    """The numbers of an AverageRule; `fraction` is f. Raises ValueError for an unknown rule."""
    match rule:
        case pb.CAFFE:
            return Averaging(momentum=fraction, new=1.0, unbiased=True)
        case pb.EMA:
            return Averaging(momentum=fraction, new=1 - fraction, full=True)
        case pb.CUMULATIVE:
            return Averaging(momentum=1.0, new=1.0, divided=True)
        case pb.LATEST:
            return Averaging(momentum=1 - fraction, new=fraction, full=True)
    raise ValueError(f"there is no averaging rule {rule}")
