"""Lowerings that use random numbers on the GPU, the same ones as every other engine (see `dragon.rng`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from dragon.engines.cuda.lowerings.lowering import Lowering

__all__ = ["RandomLowering"]


class RandomLowering(Lowering):
    """The lowering of a layer that takes a draw from its stream in each forward while `is_random`."""

    @staticmethod
    def shares_draws(layer: Any) -> bool:
        """Whether the layer takes a part of each draw, as one of several ranks, which array code does."""
        return bool(layer.rng.share.ranks > 1)

    @property
    def is_random(self) -> bool:
        """Whether forward uses random numbers in the layer's present phase and settings."""
        raise NotImplementedError

    @property
    def has_host_part(self) -> bool:
        return self.is_random

    @property
    def stream(self) -> Any:
        """The argument `stream` of random.cuh: the key (2 words) and the number of the draw, on the device."""
        return self.staged("stream", 3, np.uint64).array

    def prepare(self) -> None:
        """Send the draw's key and number to the device before each run, so that a replayed graph uses new numbers."""
        if self.is_random:
            rng = self.layer.rng
            self.staged("stream", 3, np.uint64).set(np.array([*rng.key, rng.draws], np.uint64))
            rng.draws += 1
