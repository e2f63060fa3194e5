"""Bounds of tops (`plan/bound.py`) from those of bottoms.

A product: |y| <= ||x|| ||w|| + |b| (Cauchy and Schwarz). A normalisation by m values of the batch: |x - mean| <=
sqrt(m var), so |y| <= sqrt(m) |gamma| + |beta|. By constants: |y| <= |scale| |x| + |shift|. A function of single
elements, such as a sigmoid: `REACH` in `kernels/eltwise.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dragon.engines.int8.arithmetic import Range
from dragon.engines.onednn.kernels.eltwise import KEEP_POSITIVE, REACH, never_negative
from dragon.engines.onednn.library.constants import Alg, DataType
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import BinaryPost, EltwisePost, PostOp, SumPost
from dragon.engines.onednn.lowerings.parameters import Epilogue, Parameters
from dragon.engines.onednn.plan.bound import Bound, Gains, Measured, of_range
from dragon.engines.onednn.plan.builder import Builder
from dragon.engines.onednn.plan.values import Value
from dragon.memory.storage import Array

if TYPE_CHECKING:
    from dragon.memory.blob import Blob

Joins = Callable[[Sequence[float]], float]

__all__ = [
    "carried",
    "is_positive",
    "joined",
    "may_measure",
    "measure_top",
    "of_affine",
    "of_batch",
    "of_function",
    "of_product",
    "pass_on",
    "product_of",
    "set_bound",
]

_MEASURABLE = (DataType.f32, DataType.bf16)
_WORTH = 2  # numbers that may be read, for each that a ReLU need not keep NaN in


def of_product(
    b: Builder,
    bottom: Blob,
    epilogue: Epilogue,
    parameters: Parameters,
    always: bool = False,
    of: Range | None = None,
) -> Bound | None:
    """The bound of a convolution's or inner product's top, measured at this point of the plan.

    None where it cannot be known, or costs more than it saves unless `always` is set. of: the range that the bottom is
    rounded for, which no integer is beyond; None in float.
    """
    top, weights = epilogue.top, parameters.size
    # in training the weights are read anew in every step
    costly = b.training and weights > _WORTH * top.count and not always
    if costly or not _can_carry_over(b):
        return None
    others = [b.value_of(operand).bound for operand in epilogue.operands]
    known = [other for other in others if other is not None]
    if len(known) < len(others):
        return None
    source = of_range(of) if of is not None else b.value_of(bottom).bound or _measured(b, bottom, top, always)
    if source is None:
        return None
    bound, gains, count = Bound(), Gains(), parameters.fan_in
    b.when_changed(parameters.all_blobs, parameters.measure(gains))

    def step() -> None:
        bound.largest = source.product(gains, count) + sum(other.largest for other in known)

    b.compute_bound(step)
    return bound


def carried(
    b: Builder,
    bottom: Blob,
    epilogue: Epilogue,
    parameters: Parameters,
    pooled: bool = False,
    of: Range | None = None,
) -> Bound | None:
    """The bound of `epilogue`, else that of its top where a layer behind it may need one.

    pooled: whether a maximum pooling reads the top. of: as `of_product` has it.
    """
    needed = b.ahead or (pooled and not epilogue.post_ops)
    if epilogue.bound is not None or not needed or not all(map(_keeps_bound, epilogue.post_ops)):
        return epilogue.bound
    return of_product(b, bottom, epilogue, parameters, of=of)


def _keeps_bound(post: PostOp) -> bool:
    """Whether a bound goes on through a post-op: a sum, or the function behind it (`set_bound`)."""
    if isinstance(post, EltwisePost):
        return post.alg in REACH
    return isinstance(post, SumPost) or (isinstance(post, BinaryPost) and post.alg == Alg.binary_add)


def set_bound(b: Builder, epilogue: Epilogue) -> None:
    """Give the top of `epilogue` its bound. In TEST the top may be measured instead, where bounds grow too large."""
    top, bound = epilogue.top, epilogue.bound
    b.value_of(top).bound = bound
    if bound is None:
        return
    last = epilogue.post_ops[-1] if epilogue.post_ops else None
    if isinstance(last, EltwisePost) and not _adds_nothing(last.alg, last.alpha):
        of_function(b, bound, top, [(last.alg, last.alpha, last.beta)])
    else:
        bound.positive = is_positive(epilogue.post_ops)
    may_measure(b, top)


def is_positive(post_ops: Sequence[PostOp]) -> bool:
    """Whether the result of the last post-op has no element below 0."""
    last = post_ops[-1] if post_ops else None
    return isinstance(last, EltwisePost) and never_negative(last.alg, last.alpha)


def _adds_nothing(alg: Alg, alpha: float) -> bool:
    """Whether magnitudes after the function are those before it, or less, so that it needs no bound of its own."""
    return alg in (Alg.eltwise_relu, Alg.eltwise_elu) and abs(alpha) <= (1 if alg == Alg.eltwise_relu else 0)


def may_measure(b: Builder, top: Blob) -> None:
    """In TEST, have a top measured within those passes in which its bound is too large."""
    if b.ahead and b.value_of(top).bound is not None:
        measure_top(b, top)


def measure_top(b: Builder, top: Blob) -> None:
    """Measure a top within the pass, if its bound is not known or is too large."""
    value = b.value_of(top)
    if (isinstance(value, Value) or value.made) and value.memory.desc.dtype in _MEASURABLE:
        value.bound = measured = Measured(value.memory, computed=value.bound, cut=b.is_cut())
        b.compute_bound(measured.choose)
        b.run(measured)


def _can_carry_over(b: Builder) -> bool:
    """Whether a bound that one layer computes is still right at the next one."""
    return b.cache and not b.runs_user_code


def of_batch(
    b: Builder, top: Blob, statistics: Sequence[Memory], gamma: Memory | None, beta: Memory | None, count: int
) -> None:
    """Give the top of a normalisation by batch statistics its bound, at this point of the plan, after the primitive.

    statistics: mean and variance (C,), of `count` values per channel; where they are not finite, nothing is known.
    gamma, beta: (C,) or None. eps is above 0.
    """
    if not _can_carry_over(b):
        return
    if b.ahead:  # bounds are computed before the batch's statistics
        measure_top(b, top)
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


def _measured(b: Builder, bottom: Blob, top: Blob, always: bool) -> Measured | None:
    """The norm of the bottom, if that is much cheaper than a check of the top, or `always`."""
    value = b.value_of(bottom)
    # other values may lie in the memory of one that the plan made when it is measured
    overwritten = not b.training and (isinstance(value, Value) or (b.ahead and value.made))
    memory = b.data(bottom)
    # in TEST one measured input serves all layers behind it
    costly = not b.ahead and bottom.count > _WORTH * top.count and not always
    if overwritten or costly or memory.desc.dtype not in _MEASURABLE:
        return None
    measured = Measured(memory)
    if b.ahead:
        b.steps.measured.append(measured)
        value.bound = measured
    else:
        b.run(measured.measure)
    return measured


def of_affine(
    b: Builder,
    source: Bound | None,
    top: Blob,
    blobs: Sequence[Blob],
    affine: Callable[[], Sequence[Array]],
    positive: bool = False,
) -> Bound | None:
    """Give the top of a layer that scales and shifts channels by constants its bound, which is returned.

    source: the bound of the bottom; without it there is none of the top. affine: returns factors and shifts, from
    `blobs`. positive: whether a ReLU follows.
    """
    if source is None:
        return None
    bound = Bound(positive)
    gains = [math.inf, math.inf]

    def measure() -> None:
        gains[:] = (float(np.abs(values).max()) for values in affine())

    def step() -> None:
        bound.largest = source.largest * gains[0] + gains[1]

    b.when_changed(blobs, measure)
    b.compute_bound(step)
    b.value_of(top).bound = bound
    return bound


def pass_on(
    b: Builder,
    bottoms: Sequence[Bound | None],
    top: Blob,
    factor: float = 1.0,
    positive: bool | None = None,
    how: Joins = sum,
) -> None:
    """Give the top the bound `factor` times the joined bounds of the bottoms (`joined`), if all of these are known."""
    if (bound := joined(b, bottoms, how, factor, positive)) is not None:
        b.value_of(top).bound = bound


def joined(
    b: Builder, bottoms: Sequence[Bound | None], how: Joins, factor: float = 1.0, positive: bool | None = None
) -> Bound | None:
    """A bound from those of all bottoms; None where one is not known.

    how: makes one magnitude of theirs, NaN if one is: `sum` for a sum, `product_of` for a product, `np.max` for a
    maximum, or where they lie beside each other. positive: whether no element of the result is below 0; by default,
    whether the bottoms have none.
    """
    known = [bound for bound in bottoms if bound is not None]
    if len(known) < len(bottoms) or not known:
        return None
    if positive is None:
        positive = all(bound.positive for bound in known)
    alike = factor == 1 and known[0].positive == positive
    if len(known) == 1 and alike and not isinstance(known[0], Measured):  # whose elements a pooling repeats
        return known[0]
    bound = Bound(positive)

    def step() -> None:
        bound.largest = float(how([each.largest for each in known])) * factor

    b.compute_bound(step)
    return bound


def product_of(largest: Sequence[float]) -> float:
    """A bound of the product of some factors, and of the products on the way to it, which must not overflow."""
    return float(np.max(np.cumprod(largest)))


def of_function(b: Builder, source: Bound | None, top: Blob, functions: Sequence[tuple[Alg, float, float]]) -> None:
    """Give the top of functions of single elements, one after another, its bound; none if the bottom's is not known."""
    b.value_of(top).bound = None
    if source is None or any(alg not in REACH for alg, *_ in functions):
        return
    positive = source.positive
    for alg, alpha, _ in functions:
        positive = never_negative(alg, alpha) or (positive and alg in KEEP_POSITIVE)
    if all(_adds_nothing(alg, alpha) for alg, alpha, _ in functions):
        pass_on(b, [source], top, positive=positive)
        return
    bound = b.value_of(top).bound = Bound(positive)

    def step() -> None:
        largest = source.largest if source.holds() else math.inf
        for alg, alpha, beta in functions if source.holds() else ():
            largest = REACH[alg](largest, alpha, beta)
        bound.largest = largest

    b.compute_bound(step)
