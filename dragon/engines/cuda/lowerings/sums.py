"""Sums without coefficients, by sums.cu: Eltwise alone or with its ReLU and Split, and the gradient of Split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dragon.engines.cuda.kernels import sums as kernels
from dragon.engines.cuda.kernels.kernel import Kernel
from dragon.engines.cuda.lowerings.elementwise import element_wise
from dragon.engines.cuda.lowerings.lowering import Lowering

__all__ = ["Added", "Spread", "add", "spread"]


@dataclass(frozen=True)
class Added:
    """sum = what a normalisation gives + other, behind a ReLU of this slope (None: no ReLU)."""

    other: Any
    sum: Any
    slope: float | None

    def arguments(self) -> dict[str, Any]:
        """Those of bn_normalize_sum."""
        return {"other": self.other, "sum": self.sum, **_behind(self.slope)}

    def launch(self, lowering: Lowering, y: Any) -> None:
        """Compute the sum from y, by a launch of its own."""
        add(lowering, [y, self.other], self.sum, self.slope)


@dataclass(frozen=True)
class Spread:
    """The gradient of a sum, made of the gradients of its tops and written to all of `outs`; see `spread`.

    result: the array that has it then, one of `outs` or the only term.
    """

    terms: Sequence[Any]
    outs: Sequence[Any]
    result: Any
    y: Any
    slope: float | None

    @property
    def is_few(self) -> bool:
        """Whether channel_sums_of_sum takes so many arrays."""
        return len(self.terms) <= 2 and len(self.outs) <= kernels.MOST_OUTPUTS

    def few_arguments(self) -> dict[str, Any]:
        """Those of channel_sums_of_sum."""
        more = self.terms[1] if len(self.terms) > 1 else None
        arrays = _written(_distinct(self.outs), self.y, self.slope)
        return {"dy": self.terms[0], "more": more, **arrays, "slope": float(self.slope or 0)}

    def launch(self, lowering: Lowering) -> None:
        """Write the gradient, by launches of its own."""
        if self.outs:
            spread(lowering, self.terms, self.outs, self.y, self.slope)


def add(lowering: Lowering, terms: Sequence[Any], y: Any, slope: float | None = None) -> None:
    """Compute y = the sum of the terms, behind a ReLU of this slope (None: no ReLU). y may be a term."""
    first, rest = terms[: kernels.MOST_TERMS], terms[kernels.MOST_TERMS :]
    while rest:
        _launch(lowering, kernels.sum_forward, first, {"y": y}, {"rectify": False, "slope": 0.0})
        first, rest = [y, *rest[: kernels.MOST_TERMS - 1]], rest[kernels.MOST_TERMS - 1 :]
    _launch(lowering, kernels.sum_forward, first, {"y": y}, _behind(slope))


def spread(
    lowering: Lowering, terms: Sequence[Any], outs: Sequence[Any], y: Any = None, slope: float | None = None
) -> None:
    """Write the sum of the terms into each of `outs`, one at least; each may be a term, or another one of them.

    With a slope, it is the gradient in front of a ReLU with the output y.
    """
    outs = _distinct(outs)
    if len(terms) > kernels.MOST_TERMS:
        head = terms[: -kernels.MOST_TERMS + 1]
        add(lowering, head, outs[0])
        terms = [outs[0], *terms[len(head) :]]
    first, rest = outs[: kernels.MOST_OUTPUTS], outs[kernels.MOST_OUTPUTS :]
    _launch(lowering, kernels.sum_backward, terms, _written(first, y, slope), {"slope": float(slope or 0)})
    if rest:
        spread(lowering, first[:1], rest)


def _distinct(outs: Sequence[Any]) -> list[Any]:
    """The arrays, each place in memory once."""
    return list({out.data.ptr: out for out in outs}.values())


def _written(outs: Sequence[Any], y: Any, slope: float | None) -> dict[str, Any]:
    """The kernels' arguments for the arrays that get a gradient, and for the output y of the ReLU behind it, if any."""
    arrays = {f"out{j}": outs[j] if j < len(outs) else None for j in range(kernels.MOST_OUTPUTS)}
    return {"y": None if slope is None else y, **arrays}


def _behind(slope: float | None) -> dict[str, Any]:
    """The kernels' arguments for a ReLU of this slope behind what they compute; None: no ReLU."""
    return {"rectify": slope is not None, "slope": float(slope or 0)}


def _launch(
    lowering: Lowering, kernel: Kernel, terms: Sequence[Any], arrays: dict[str, Any], settings: dict[str, Any]
) -> None:
    inputs = {f"x{t}": terms[t] if t < len(terms) else None for t in range(kernels.MOST_TERMS)}
    element_wise(lowering, kernel, {**inputs, **arrays}, settings)
