"""Python layers for nets on the emulated GPU: they run on the host."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragon.bases.layer import Layer
from dragon.memory.blob import Blob


def python(name: str, layer: str, bottom: str, *tops: str, param_str: str = "") -> str:
    """One of the layers of this file as prototxt."""
    wires = (f'bottom: "{bottom}" ' if bottom else "") + " ".join(f'top: "{top}"' for top in tops)
    own = f'module: "{__name__}" layer: "{layer}" param_str: "{param_str}"'
    return f'layer {{ name: "{name}" type: "Python" {wires} python_param {{ {own} }} }}\n'


class Batches(Layer):
    """Images and labels in batches of changing size. param_str: the sizes, which are repeated."""

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.sizes = [int(size) for size in self.param_str.split()]
        self.made = 0

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        n = self.sizes[self.made % len(self.sizes)]
        top[0].reshape(n, 3, 6, 6)
        top[1].reshape(n)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        random = np.random.default_rng(self.made)
        self.made += 1
        n = len(top[0].data)
        top[0].data[...] = random.standard_normal((n, 3, 6, 6))
        top[1].data[...] = random.integers(0, 4, n)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        pass


class Twice(Layer):
    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].data[...] = 2 * bottom[0].data

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        bottom[0].diff[...] = 2 * top[0].diff
