"""How the blobs of a layer become the entries of a PyTorch state_dict, and how they come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.normalization.rules import Averaging

__all__ = ["Averages", "Entry", "Same"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Same:
    """A blob as one entry, in another shape; `transposed` swaps the axes of a matrix.

    key: behind the name of the submodule; "" for a parameter of the module itself. index: of the blob. shape: the
    entry's.
    """

    key: str
    index: int
    shape: tuple[int, ...]
    transposed: bool = False
    prefix: str = ""

    def named(self, prefix: str) -> Same:
        """The entry of the submodule `prefix`."""
        return replace(self, prefix=prefix)

    @property
    def keys(self) -> dict[str, tuple[int, ...]]:
        """The keys of the state_dict with the shapes of their values."""
        return {f"{self.prefix}.{self.key}".rstrip("."): self.shape}

    @property
    def indices(self) -> tuple[int, ...]:
        """The blobs that the entry holds."""
        return (self.index,)

    def to_torch(self, blobs: Sequence[Array]) -> dict[str, Array]:
        """The values for the state_dict from the blobs of the layer."""
        value = blobs[self.index]
        if self.transposed:
            value = value.reshape(self.shape[::-1]).T
        (key,) = self.keys
        return {key: np.ascontiguousarray(value).reshape(self.shape)}

    def to_blobs(self, state: Mapping[str, Array]) -> dict[int, Array]:
        """The values of the blobs, by index, flat or in any shape of as many values."""
        (key,) = self.keys
        value = state[key]
        return {self.index: np.ascontiguousarray(value.reshape(self.shape).T) if self.transposed else value}


@dataclass(frozen=True)
class Averages:
    """The running statistics of a batch normalisation, divided by the weight of the average as PyTorch has them.

    mean, variance, weight: indices of the blobs; weight None in forms that have none. `variance_key` is running_var
    unless it is a covariance.
    """

    mean: int
    variance: int
    weight: int | None
    shapes: tuple[tuple[int, ...], tuple[int, ...]]  # of mean and variance in PyTorch
    averaging: Averaging
    variance_key: str = "running_var"
    prefix: str = ""

    def named(self, prefix: str) -> Averages:
        """The entries of the submodule `prefix`."""
        return replace(self, prefix=prefix)

    @property
    def keys(self) -> dict[str, tuple[int, ...]]:
        """The keys of the state_dict with the shapes of their values."""
        found = dict(zip((self._key("running_mean"), self._key(self.variance_key)), self.shapes, strict=True))
        return found if self.weight is None else found | {self._key("average_weight"): (1,)}

    @property
    def indices(self) -> tuple[int, ...]:
        """The blobs that the entries hold."""
        found = (self.mean, self.variance)
        return found if self.weight is None else (*found, self.weight)

    def _key(self, name: str) -> str:
        return f"{self.prefix}.{name}"

    def to_torch(self, blobs: Sequence[Array]) -> dict[str, Array]:
        """The values for the state_dict from the blobs of the layer."""
        mean, variance = blobs[self.mean], blobs[self.variance]
        weight = None if self.weight is None else blobs[self.weight].reshape(1)
        if self.averaging.deviation is not None:
            variance = (variance.astype(np.float64) ** 2 - self.averaging.deviation).astype(variance.dtype)
        else:
            mean, variance = self.averaging.read((mean, variance), weight)
        values = [mean.reshape(self.shapes[0]), variance.reshape(self.shapes[1])]
        if weight is not None:
            given = self.averaging.full and not weight.any() and (mean.any() or variance.any())
            values.append(np.ones_like(weight) if given else weight)
        return dict(zip(self.keys, values, strict=True))

    def to_blobs(self, state: Mapping[str, Array]) -> dict[int, Array]:
        """The values of the blobs, by index; a state_dict without average_weight holds a full average, of weight 1."""
        mean, variance = state[self._key("running_mean")], state[self._key(self.variance_key)]
        if self.averaging.deviation is not None:
            root = np.sqrt(np.maximum(variance.astype(np.float64) + self.averaging.deviation, 0))
            return {self.mean: mean, self.variance: root.astype(variance.dtype)}
        if self.weight is None:
            return {self.mean: mean, self.variance: variance}
        weight = state.get(self._key("average_weight"), np.ones(1, mean.dtype)).reshape(1)
        factor = np.ones_like(weight) if self.averaging.divided else weight
        return {self.mean: mean * factor, self.variance: variance * factor, self.weight: weight}


Entry = Same | Averages
