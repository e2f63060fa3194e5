"""Normalisation by the statistics of the batch, in one launch (batch_norm_at_once.cu) or in several (batch_norm.cu).

One launch reads each array once, and takes shapes whose channels fit into shared memory. Where its blocks are few or
many for the GPU, both ways are timed when a shape is first met.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dragon.engines.cuda.device.checking import Check
from dragon.engines.cuda.kernels import batch_norm as kernels
from dragon.engines.cuda.kernels.batch_norm_at_once import bn_backward_at_once, bn_forward_at_once
from dragon.engines.cuda.kernels.channels import channel_sums_of_sum, fold_sums
from dragon.engines.cuda.lowerings.channel_slices import Slices, slices
from dragon.engines.cuda.lowerings.channels import Channels, Partial, channel_sums
from dragon.engines.cuda.lowerings.lowering import Lowering
from dragon.engines.cuda.lowerings.sums import Added, Spread
from dragon.normalization.rules import Averaging

__all__ = ["backward", "by_sums", "forward"]

Given = Mapping[str, Any]  # arguments of kernels, by name
ONE, SEVERAL = "one launch", "several launches"


def forward(
    lowering: Lowering, at: Channels, average: Averaging, given: Given, added: Added | None = None
) -> None:  # fmt: skip
    """Compute y, mean_inv and the copy of x, and update the running average, each of which may be None.

    given: arguments of bn_normalize that do not depend on how the work is shared, and the average's weight. added: what
    is added to y. The last of several launches does that, which need not read y again.
    """
    rule = {
        "momentum": average.momentum, "batch_weight": average.new, "unbiased": average.unbiased,
        "divided": average.divided, "deviation": average.deviation is not None,
    }  # fmt: skip
    x, y = given["x"], given["y"]
    arrived, before = lowering.counter("arrived"), lowering.buffer("before", 1)
    of = slices(lowering.device, at, 1, x, y, given["copy"])

    def in_one(of: Slices, given: Given) -> None:
        lowering.launch(bn_forward_at_once, **of.launch, **given, **rule, arrived=arrived, full=average.full)

    def in_several(given: Given, added: Added | None = None) -> None:
        _forward_in_several(lowering, at, average, {**given, **rule, "before": before}, added)

    def alone(x: Any, y: Any, mean_inv: Any) -> Given:
        """What is given, for arrays that are only timed."""
        none = dict.fromkeys(("copy", "gamma", "beta", "running_mean", "running_var", "weight"))
        return {**given, **none, "x": x, "y": y, "mean_inv": mean_inv}

    arrays = [x, y, given["mean_inv"]]
    if _in_one(lowering, "forward", at, of, arrays, 1, in_one, in_several, alone):
        assert of is not None
        in_one(of, given)
        if added is not None:
            added.launch(lowering, y)
    else:
        in_several(given, added)


def backward(lowering: Lowering, at: Channels, given: Given, spread: Spread | None = None) -> None:
    """Compute dx and add to dgamma and dbeta.

    given: arguments of bn_backward that do not depend on how the work is shared. spread: makes dy. The first of several
    launches does that, which need not read dy again.
    """
    masks = given["y"] is not None
    arrays = [given[name] for name in ("dy", "x", "dx", "mean_inv", *(["y"] if masks else []))]
    of = slices(lowering.device, at, 2, given["dy"], given["x"], given["y"], given["dx"], masks=masks)

    def in_one(of: Slices, given: Given) -> None:
        lowering.launch(bn_backward_at_once, **of.launch, **given)

    def in_several(given: Given, spread: Spread | None = None) -> None:
        mean, dy = given["mean_inv"][: at.c], given["dy"]
        if spread is not None and spread.is_few:
            sums = _sums_of_sum(lowering, at, spread, given["x"], mean)
        else:
            if spread is not None:
                spread.launch(lowering)
            sums = channel_sums(lowering.device, at, dy, given["x"], mean=mean, y=given["y"], slope=given["slope"])
        by_sums(lowering, at, sums, given)

    def alone(dy: Any, x: Any, dx: Any, mean_inv: Any, y: Any = None) -> Given:
        none = dict.fromkeys(("gamma", "unscale", "dgamma", "dbeta"))
        return {**given, **none, "dy": dy, "x": x, "dx": dx, "mean_inv": mean_inv, "y": y}

    if _in_one(lowering, "backward", at, of, arrays, 2, in_one, in_several, alone):
        assert of is not None
        if spread is not None:
            spread.launch(lowering)
        in_one(of, given)
    else:
        in_several(given, spread)


def _sums_of_sum(lowering: Lowering, at: Channels, spread: Spread, x: Any, mean: Any) -> Partial:
    """Partial sums, as `channel_sums` gives them, of the gradient that `spread` makes, by the launch that does."""
    device, arguments = lowering.device, spread.few_arguments()
    arrays = [array for name, array in arguments.items() if name != "slope"]
    of = at.geometry(device, *arrays, x, sums=True)
    sums = Partial.of(device, of, x.dtype)
    lowering.launch(channel_sums_of_sum, grid=of.grid, x=x, mean=mean, sums=sums.array, **arguments, **of.sizes)
    return sums


def by_sums(lowering: Lowering, at: Channels, sums: Partial | None, given: Given) -> None:
    """The last launch of several in backward; sums: of dy and dy (x - mean), None where nothing needs them.

    Without dx only the parameters' gradients are computed.
    """
    device, dy, dx = lowering.device, given["dy"], given["dx"]
    if sums is not None:
        sums = sums.folded(device, dy.dtype, fold_sums, sums=sums.array)
    of = at.geometry(device, dy, given["x"], given["y"], dx)
    lowering.launch(
        kernels.bn_backward, grid=of.grid if dx is not None else (of.grid[0], 1), **given, **of.sizes,
        sums=None if sums is None else sums.array, sum_parts=0 if sums is None else sums.parts,
    )  # fmt: skip


def _forward_in_several(
    lowering: Lowering, at: Channels, average: Averaging, given: Given, added: Added | None
) -> None:  # fmt: skip
    device, x = lowering.device, given["x"]
    both = [] if added is None else [added.other, added.sum]
    read, of = at.geometry(device, x, sums=True), at.geometry(device, x, given["y"], given["copy"], *both)
    moments = Partial.of(device, read, x.dtype)
    shared = {name: given[name] for name in ("x", "before", "running_mean", "running_var", "momentum", "batch_weight")}
    lowering.launch(
        kernels.bn_statistics, grid=read.grid, moments=moments.array, weight=given["weight"], full=average.full,
        **read.sizes, **shared,
    )  # fmt: skip
    moments = moments.folded(
        device, x.dtype, kernels.fold_moments, moments=moments.array, values=moments.values, all=at.n * at.s
    )
    rest = {name: value for name, value in given.items() if name != "weight"}
    if added is not None:
        rest.update(added.arguments())
    lowering.launch(
        kernels.bn_normalize if added is None else kernels.bn_normalize_sum, grid=of.grid, moments=moments.array,
        moment_parts=moments.parts, moment_values=moments.values, **of.sizes, **rest,
    )  # fmt: skip


def _in_one(
    lowering: Lowering, way: str, at: Channels, of: Slices | None, arrays: list[Any], result: int,
    in_one: Callable[[Slices, Given], None], in_several: Callable[[Given], None], alone: Callable[..., Given],
) -> bool:  # fmt: skip
    """Whether one launch is faster than several; with `alone` the ways run on arrays of their own to find out."""
    if of is None or of.is_sure:
        return of is not None
    types = tuple(np.dtype(array.dtype).name for array in arrays)
    ways = [(ONE, lambda *on: in_one(of, alone(*on))), (SEVERAL, lambda *on: in_several(alone(*on)))]
    key = "batch normalisation", way, of, types
    check = Check(f"batch normalisation {way} of {(at.n, at.c, at.s)} in {types[0]}", result, SEVERAL, "{}")
    chosen = lowering.device.fastest(key, [(array.shape, array.dtype) for array in arrays], lambda: ways, check)
    return chosen == ONE
