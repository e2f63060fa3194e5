"""The timing of ways to compute a product, under the emulation: what they launch costs fixed times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from dragon.engines.cuda.device import checking, timing
from tests.engines.cuda.emulation import standin

PLANS = "cost of plans"  # of `standin.counts`, to which plans of cuDNN add what they cost
COSTS = {
    PLANS: 1, "gemm": 1, "launches of add_bias": 10, "launches of relu_forward": 10, "launches of accumulate": 1,
    "launches of add_images": 1, "launches of channels_first": 1, "launches of im2col": 100, "launches of col2im": 100,
    "launches of im2col_3d": 100, "launches of col2im_3d": 100, "launches of im2col_last": 600,
    "launches of col2im_last": 600, "launches of bn_statistics": 1, "launches of bn_normalize": 1,
    "launches of channel_sums": 1, "launches of bn_backward": 1, "launches of bn_forward_at_once": 1,
    "launches of bn_backward_at_once": 1,
}  # fmt: skip

really = timing.milliseconds
really_trusted = checking.trusted
is_timing = False


def milliseconds(gpu: Any, run: Callable[[], Any]) -> float:
    """In place of timing.milliseconds, which runs once here where it is to find the time. The runs are not counted."""
    with uncounted(), mock.patch.multiple(timing, ROUNDS=1, MOST_RUNS=1):
        really(gpu, run)
        once = standin.counts.copy()
        run()
        return float(sum(cost * (standin.counts[name] - once[name]) for name, cost in COSTS.items()))


def trusted(*args: Any) -> Any:
    """In place of checking.trusted. The runs are not counted."""
    with uncounted():
        return really_trusted(*args)


@contextmanager
def uncounted() -> Iterator[None]:
    """Within the block, runs are those of a timing."""
    global is_timing
    before, outside = standin.counts.copy(), is_timing
    is_timing = True
    try:
        yield
    finally:
        is_timing = outside
        standin.counts.clear()
        standin.counts.update(before)
