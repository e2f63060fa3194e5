"""One layer without a net: made from prototxt text, run on arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from google.protobuf import text_format
from numpy.typing import ArrayLike, DTypeLike

from dragon.bases.layer import TRAIN, Context, Layer, create
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb
from dragon.rng import Stream


class One:
    """A layer with its bottoms and tops; `text` is what stands between the braces of `layer { }`."""

    def __init__(
        self,
        text: str,
        *bottom: ArrayLike,
        phase: int = TRAIN,
        n_top: int = 1,
        in_place: bool = False,
        dtype: DTypeLike = np.float32,
        seed: int = 3,
        context: Context | None = None,
    ) -> None:
        param = pb.LayerParameter()
        text_format.Parse(text, param)
        param.name = param.name or "one"
        self.layer: Layer = create(param, phase, context or Context(dtype=dtype, seed=seed))
        self.bottom: list[Blob] = []
        for value in bottom:
            array = np.asarray(value)
            self.bottom.append(Blob(array.shape, dtype))
            self.bottom[-1].data[...] = array
        self.top = [Blob((), dtype) for _ in range(n_top)]
        if in_place:
            self.top[0] = self.bottom[0]
        self.layer.check_counts(len(self.bottom), len(self.top))
        self.layer.setup(self.bottom, self.top)
        self.layer.reshape(self.bottom, self.top)

    @property
    def blobs(self) -> list[Array]:
        return [blob.data for blob in self.layer.blobs]

    def forward(self, *bottom: ArrayLike) -> Any:
        """Top 0 after forward; new bottom values may be given."""
        for blob, value in zip(self.bottom, bottom, strict=False):
            blob.reshape(np.shape(value))
            blob.data[...] = value
        self.layer.reshape(self.bottom, self.top)
        self.layer.forward(self.bottom, self.top)
        return self.top[0].data

    def backward(self, *diff: ArrayLike, propagate_down: Sequence[bool] | None = None) -> Any:
        """Diff of bottom 0, given those of the tops."""
        for blob, value in zip(self.top, diff, strict=True):
            blob.diff[...] = value
        down = [self.layer.can_propagate(i) for i in range(len(self.bottom))]
        self.layer.backward(self.top, propagate_down or down, self.bottom)
        return self.bottom[0].diff


def goes_on_as(one: One, other: One) -> None:
    """Compare four batches of a data layer with those of another one that resumes from its state; close both.

    The other one was made with another seed, as a resumed training makes its nets before it reads the seed.
    """
    seed, context = one.layer.context.seed, other.layer.context
    assert context.seed != seed
    context.seed = seed
    other.layer.rng = Stream(seed, other.layer.identity, context.share)
    other.layer.rng.draws = one.layer.rng.draws
    other.layer.load_state(one.layer.state())
    for _ in range(4):
        for layer in (one, other):
            layer.forward()
        for a, b in zip(one.top, other.top, strict=True):
            np.testing.assert_array_equal(b.data, a.data)
    one.layer.close()
    other.layer.close()
