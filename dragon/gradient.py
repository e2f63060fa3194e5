"""Check a layer's backward against central differences of its forward, in float64.

The differentiated function is the sum of all top elements, each times a random weight; these weights are the tops'
diffs in backward. Where the derivative jumps (ReLU at 0, two equal values under one maximum) there is nothing to
compare with, so another point is tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from dragon.bases.layer import TRAIN, Context, Layer, create
from dragon.errors import DragonError
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb
from dragon.rng import Stream

__all__ = ["GradientError", "check_gradient"]


class GradientError(DragonError):
    """A layer's backward does not agree with the differences of its forward."""


def check_gradient(
    param: pb.LayerParameter | str | Layer,
    bottom: Sequence[ArrayLike],
    *,
    phase: int = TRAIN,
    n_top: int = 1,
    in_place: bool = False,
    step: float = 1e-5,
    tolerance: float = 1e-6,
    seed: int = 1,
    most: int = 150,
) -> int:
    """Compare every bottom that can have a gradient and every learned blob; return the number of elements compared.

    param: the layer (made with a float64 context), its parameter, or that as prototxt text (what is
    between the braces of `layer { }`). bottom: the bottoms' values. in_place: top 0 is bottom 0. step: half
    the distance of the two points of a difference. tolerance: largest error, relative where the derivative
    exceeds 1. most: number of elements checked of a larger blob, chosen at random. Random layers repeat the
    same draw in each run, and running statistics are restored before it.

    Raises GradientError with the layer, the blob, the element and both values.
    """
    layer = param if isinstance(param, Layer) else _layer(param, phase, seed)
    return _Check(layer, bottom, n_top, in_place, step, tolerance, Stream(seed, "gradient"), most).run()


def _layer(param: pb.LayerParameter | str, phase: int, seed: int) -> Layer:
    if isinstance(param, str):
        from google.protobuf import text_format

        text, param = param, pb.LayerParameter()
        text_format.Parse(text, param)
    return create(param, phase, Context(dtype=np.float64, seed=seed))


@dataclass
class _Check:
    layer: Layer
    start: Sequence[ArrayLike]
    n_top: int
    in_place: bool
    step: float
    tolerance: float
    stream: Stream
    most: int
    bottom: list[Blob] = field(default_factory=list)
    top: list[Blob] = field(default_factory=list)

    def run(self) -> int:
        layer = self.layer
        random = self.stream.generator()
        self.point = [np.array(value, np.float64) for value in self.start]
        self.bottom = [Blob(value.shape, np.float64) for value in self.point]
        self.top = [Blob((), np.float64) for _ in range(self.n_top)]
        if self.in_place:
            self.top[0] = self.bottom[0]
        self._restore()
        layer.check_counts(len(self.bottom), len(self.top))
        layer.setup(self.bottom, self.top)
        layer.reshape(self.bottom, self.top)
        self.draws = layer.rng.draws
        self.saved = [blob.data.copy() for blob in layer.blobs]
        self.weights = [random.standard_normal(blob.shape) for blob in self.top]
        checked = 0
        analytic = self._analytic()
        for name, kind, index in list(self._targets()):
            values = self._values(kind, index)
            elements = np.arange(values.size)
            if values.size > self.most:
                elements = np.sort(random.choice(values.size, self.most, replace=False))
            for element in elements:
                for _ in range(20):
                    verdict = self._compare(values, int(element), analytic[name])
                    if verdict is None:
                        break
                    numeric, kink = verdict
                    if not kink:
                        self._fail(name, values.shape, int(element), numeric, analytic[name])
                    values.flat[element] += random.uniform(-0.5, 0.5)
                    analytic = self._analytic()
                else:
                    element_index = tuple(int(i) for i in np.unravel_index(element, values.shape))
                    raise GradientError(f"{name}[{element_index}]: no point with a derivative found", layer=layer.where)
                checked += 1
        return checked

    def _targets(self) -> Iterator[tuple[str, str, int]]:
        for i in range(len(self.bottom)):
            if self.layer.can_propagate(i):
                yield f"bottom {i}", "bottom", i
        for i in range(len(self.saved)):
            if i not in self.layer.buffers:
                yield f"blob {i}", "blob", i

    def _values(self, kind: str, index: int) -> Array:
        return self.point[index] if kind == "bottom" else self.saved[index]

    def _restore(self) -> None:
        for blob, value in zip(self.bottom, self.point, strict=True):
            blob.data[...] = value

    def _forward(self) -> float:
        """The weighted sum of the tops at the present point."""
        self._restore()
        for blob, value in zip(self.layer.blobs, self.saved, strict=True):
            blob.data[...] = value
        self.layer.rng.draws = self.draws
        self.layer.forward(self.bottom, self.top)
        return sum(float((w * blob.data).sum()) for w, blob in zip(self.weights, self.top, strict=True))

    def _analytic(self) -> dict[str, Array]:
        layer = self.layer
        self._forward()
        for blob in self.bottom:
            blob.diff[...] = np.nan  # to be overwritten
        for blob, weight in zip(self.top, self.weights, strict=True):
            blob.diff[...] = weight
        for blob in layer.blobs:
            blob.diff[...] = 1.0  # to be added to
        layer.backward(self.top, [layer.can_propagate(i) for i in range(len(self.bottom))], self.bottom)
        found = {}
        for name, kind, i in self._targets():
            found[name] = self.bottom[i].diff.copy() if kind == "bottom" else layer.blobs[i].diff - 1.0
        return found

    def _compare(self, values: Array, element: int, analytic: Array) -> tuple[float, bool] | None:
        """None when they agree, else the numeric value and whether the derivative jumps here."""
        expected = float(analytic.flat[element])
        original = float(values.flat[element])
        centre = None
        numeric, kink = 0.0, False
        # then with a smaller step: the first may have crossed a jump nearby
        for step in (self.step, self.step / 20):
            values.flat[element] = original + step
            above = self._forward()
            values.flat[element] = original - step
            below = self._forward()
            values.flat[element] = original
            numeric = (above - below) / (2 * step)
            if abs(numeric - expected) <= self.tolerance * max(1.0, abs(numeric)):
                return None
            centre = self._forward() if centre is None else centre
            right, left = (above - centre) / step, (centre - below) / step
            kink = abs(right - left) > 1e-3 * max(1.0, abs(right), abs(left))
        return numeric, kink

    def _fail(self, name: str, shape: tuple[int, ...], element: int, numeric: float, analytic: Array) -> None:
        indices = tuple(int(i) for i in np.unravel_index(element, shape))
        raise GradientError(
            f"{name}{list(indices)} of shape {shape}: "
            f"numeric {numeric:.9g}, analytic {float(analytic.flat[element]):.9g}",
            layer=self.layer.where,
        )
