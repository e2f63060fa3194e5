"""The loss scale of fp16: gradients of activations are multiplied with it, so that small ones do not become 0.

All of it lies on the GPU, where the update decides: gradients that are no numbers halve the scale and skip the step,
many good steps in a row double it (Micikevicius et al. 2018). So a captured iteration stays right. A new scale is taken
into use when an update's gradients are cleared, hence those of the last step can still be read. A net that nobody
updates has a scale of 1.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from dragon.engines.cuda.device.device import Gpu
from dragon.engines.cuda.kernels.solver import adopt_scale
from dragon.errors import NumericError
from dragon.memory.storage import Array

__all__ = ["INITIAL", "INTERVAL", "LossScale"]

log = logging.getLogger("dragon")
INITIAL = 65536.0
INTERVAL = 2000  # good steps until it is doubled, as in solver.cu
STATE = 5  # scale, its inverse, the next scale, good steps in a row, steps skipped in all; float32 each
SCALE, INVERSE, NEXT, GOOD, SKIPPED = range(5)
LEAST = 1.0  # as in solver.cu
KEYS = {"loss_scale": NEXT, "good_steps": GOOD, "skipped_steps": SKIPPED}  # of a snapshot


class LossScale:
    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self.array = gpu.empty(STATE, np.float32)
        self._seen = 0  # steps skipped, as far as the host knows
        self._put(1.0, INITIAL, 0, 0)

    def _put(self, scale: float, following: float, good: float, skipped: float) -> None:
        self._seen = int(skipped)
        self._gpu.upload(self.array, np.array([scale, 1 / scale, following, good, skipped], np.float32))

    @property
    def scale(self) -> Any:
        """One number on the device."""
        return self.array[SCALE : SCALE + 1]

    @property
    def inverse(self) -> Any:
        return self.array[INVERSE : INVERSE + 1]

    def adopt(self) -> None:
        """Use the scale that the last update chose; before a pass, now or into the graph that is being captured."""
        adopt_scale(self._gpu, np.float32, scale=self.array)

    def heard(self, found: Array) -> None:
        """The host has got these values: what happened is logged. NumericError when a smaller scale cannot help."""
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
        """All of it, once the GPU has done what it was told."""
        with self._gpu.active():
            found: Array = self.array.get(stream=self._gpu.stream)
        return found

    def remark(self) -> str:
        """One line about it."""
        found = self.values()
        return (
            f"Loss scale: {found[NEXT]:g} after {int(found[GOOD])} good steps in a row; "
            f"{int(found[SKIPPED])} steps skipped"
        )

    def state(self) -> dict[str, float]:
        """For a snapshot."""
        found = self.values()
        return {key: float(found[at]) for key, at in KEYS.items()}

    def load_state(self, values: Mapping[str, float]) -> None:
        """Go on from a snapshot; values that make no sense are left aside."""
        scale = float(values.get("loss_scale", INITIAL))
        if math.isfinite(scale) and scale >= LEAST:
            with self._gpu.active():
                self._put(scale, scale, float(values.get("good_steps", 0)), float(values.get("skipped_steps", 0)))
