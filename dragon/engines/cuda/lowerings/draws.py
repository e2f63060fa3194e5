"""Lowerings that draw random numbers on the GPU, the same as every other engine draws."""

from __future__ import annotations

from typing import Any

import numpy as np

from dragon.engines.cuda.lowerings.lowering import Lowering

__all__ = ["Drawing"]


class Drawing(Lowering):
    @property
    def draws(self) -> bool:
        """Whether the layer, in its present phase, draws in each forward."""
        raise NotImplementedError

    @property
    def stream(self) -> Any:
        """What random.cuh takes: the key and the number of the draw."""
        return self.buffer("stream", 3, np.uint64)

    def prepare(self) -> None:
        """The draw's key and number go to the device before each run, so a replayed graph draws anew."""
        if self.draws:
            rng = self.layer.rng
            self.device.upload(self.stream, np.array([*rng.key, rng.draws], np.uint64))
            rng.draws += 1
