"""Bounds of tops (`plan/bound.py`) from those of bottoms.

A product: |y| <= ||x|| ||w|| + |b| (Cauchy and Schwarz). A normalisation by m values of the batch: |x - mean| <=
sqrt(m var), so |y| <= sqrt(m) |gamma| + |beta|.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dragon.engines.onednn.library.constants import DataType
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.lowerings.parameters import Epilogue, Parameters
from dragon.engines.onednn.plan.bound import Bound
from dragon.engines.onednn.plan.builder import Builder
from dragon.engines.onednn.plan.guarded import squares
from dragon.engines.onednn.plan.values import Value

if TYPE_CHECKING:
    from dragon.memory.blob import Blob

__all__ = ["of_batch", "of_product", "pass_on"]


def of_product(
    b: Builder, bottom: Blob, epilogue: Epilogue, parameters: Parameters, always: bool = False
) -> Bound | None:
    """The bound of a convolution's or inner product's top, measured at this point of the plan.

    None where it cannot be known, or costs more than it saves unless `always` is set.
    """
    top, weights = epilogue.top, parameters.size
    # in training the weights are read anew in every step
    costly = b.training and weights > top.count // 2 and not always
    if costly or not _can_carry_over(b):
        return None
    others = [b.value_of(operand).bound for operand in epilogue.operands]
    known = [other for other in others if other is not None]
    source = b.value_of(bottom).bound
    norm = None if source is not None else _norm(b, bottom, top, always)
    if len(known) < len(others) or (source is None and norm is None):
        return None
    bound = Bound()
    gains = [math.inf, math.inf]
    b.when_changed(parameters.all_blobs, parameters.norms(gains))

    def step() -> None:
        if source is not None:
            length = source.largest * math.sqrt(parameters.fan_in)
        else:
            assert norm is not None
            length = math.sqrt(squares(norm))
        bound.largest = length * gains[0] + gains[1] + sum(other.largest for other in known)

    b.run(step)
    return bound


def _can_carry_over(b: Builder) -> bool:
    """Whether a bound that one layer computes is still right at the next one."""
    return b.cache and not any(node.layer.runs_user_code for node in b.net.nodes)


def of_batch(
    b: Builder, top: Blob, statistics: Sequence[Memory], gamma: Memory | None, beta: Memory | None, count: int
) -> None:
    """Give the top of a normalisation by batch statistics its bound, at this point of the plan, after the primitive.

    statistics: mean and variance (C,), of `count` values per channel; where they are not finite, nothing is known.
    gamma, beta: (C,) or None. eps is above 0.
    """
    if not _can_carry_over(b):
        return
    bound = b.value_of(top).bound = Bound()
    vectors = [memory.numpy() for memory in statistics]
    scale, shift = (None if memory is None else memory.numpy() for memory in (gamma, beta))
    root = 2 * math.sqrt(count)  # twice: the statistics are rounded

    def step() -> None:
        if not all(np.isfinite(vector).all() for vector in vectors):
            bound.largest = math.inf
            return
        largest = root if scale is None else root * float(np.abs(scale).max())
        bound.largest = largest if shift is None else largest + float(np.abs(shift).max())

    b.run(step)


def _norm(b: Builder, bottom: Blob, top: Blob, always: bool) -> Memory | None:
    """The memory of the bottom whose norm is taken, if that is much cheaper than a check of the top, or `always`."""
    value = b.value_of(bottom)
    overwritten = not b.training and isinstance(value, Value)  # other values may lie in its memory by now
    memory = b.data(bottom)
    costly = 2 * bottom.count > top.count and not always
    return None if overwritten or costly or memory.desc.dtype != DataType.f32 else memory


def pass_on(b: Builder, bottoms: Sequence[Bound | None], top: Blob, factor: float = 1.0) -> None:
    """Give the top the bound `factor` times the sum of the bottoms' bounds, if all of these are known."""
    known = [bound for bound in bottoms if bound is not None]
    if len(known) < len(bottoms) or not known:
        return
    if len(known) == 1 and factor == 1:
        b.value_of(top).bound = known[0]
        return
    bound = b.value_of(top).bound = Bound()

    def step() -> None:
        bound.largest = sum(each.largest for each in known) * factor

    b.run(step)
