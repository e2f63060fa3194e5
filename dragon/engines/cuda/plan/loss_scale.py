"""The loss scale of fp16: gradients of activations are multiplied by it, so that small ones do not become 0.

It lies on the GPU, where the update changes it, so that a captured iteration stays right: gradients that are NaN or
infinite skip the step and halve the scale, INTERVAL good steps in a row double it (Micikevicius et al. 2018). The new
scale is adopted when the next step clears the gradients, so that those of the last step can still be read. The scale of
a net that is never updated is 1.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from dragon.counting import how_many
from dragon.engines.cuda.device.gpu import Gpu
from dragon.engines.cuda.kernels.solver import adopt_scale
from dragon.errors import NumericError
from dragon.memory.storage import Array

__all__ = ["INITIAL", "INTERVAL", "STATE", "LossScale"]

log = logging.getLogger("dragon")
INITIAL = 65536.0
INTERVAL = 2000  # good steps until it is doubled, as in solver.cu
STATE = 5  # scale, its inverse, the next scale, good steps in a row, steps skipped in all; float32 each
SCALE, INVERSE, NEXT, GOOD, SKIPPED = range(5)
LEAST = 1.0  # as in solver.cu
KEYS = {"loss_scale": NEXT, "good_steps": GOOD, "skipped_steps": SKIPPED}  # of a snapshot


class LossScale:
    """The loss scale of one net. array: float32 (STATE,) on the device."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self.array = gpu.empty(STATE, np.float32)
        self._seen = 0  # skipped steps that were logged
        self._put(1.0, INITIAL, 0, 0)

    def _put(self, scale: float, following: float, good: float, skipped: float) -> None:
        self._seen = int(skipped)
        self._gpu.upload(self.array, np.array([scale, 1 / scale, following, good, skipped], np.float32))

    @property
    def scale(self) -> Any:
        """The scale, (1) on the device."""
        return self.array[SCALE : SCALE + 1]

    @property
    def inverse(self) -> Any:
        """1 / scale, (1) on the device."""
        return self.array[INVERSE : INVERSE + 1]

    def adopt(self) -> None:
        """Launch the adoption of the scale that the last update chose, before a pass or into a captured graph."""
        adopt_scale(self._gpu, np.float32, scale=self.array)

    def check(self, found: Array) -> None:
        """Log newly skipped steps, given the values copied to the host. NumericError at the least scale."""
        skipped = int(found[SKIPPED])
        if skipped > self._seen:
            log.info(
                "fp16: a gradient overflowed, %s skipped (%d in all); the loss scale is now %g",
                "a step was" if skipped == self._seen + 1 else f"{skipped - self._seen} steps were", skipped,
                found[NEXT],
            )  # fmt: skip
            stuck = found[SCALE] <= LEAST
            self._seen = skipped
            if stuck:
                raise NumericError(f"gradients are not finite in fp16, even with a loss scale of {LEAST:g}")

    def values(self) -> Array:
        """The values of `array`, once the GPU has finished."""
        with self._gpu.active():
            found: Array = self.array.get(stream=self._gpu.stream)
        return found

    def remark(self) -> str:
        """One line: scale, good steps, skipped steps."""
        found = self.values()
        return (
            f"Loss scale: {found[NEXT]:g} after {how_many(int(found[GOOD]), 'good step')} in a row; "
            f"{how_many(int(found[SKIPPED]), 'step')} skipped"
        )

    def state(self) -> dict[str, float]:
        """The values for a snapshot."""
        found = self.values()
        return {key: float(found[at]) for key, at in KEYS.items()}

    def load_state(self, values: Mapping[str, float]) -> None:
        """Continue from a snapshot's values. A scale that is not finite or below the least one is ignored."""
        scale = float(values.get("loss_scale", INITIAL))
        if math.isfinite(scale) and scale >= LEAST:
            with self._gpu.active():
                self._put(scale, scale, float(values.get("good_steps", 0)), float(values.get("skipped_steps", 0)))
