"""Poolings that run as one group with the ReLU in place on their top, or on their bottom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from dragon.engines.cuda.lowerings.pooling import PoolingReLULowering, ReLUPoolingLowering, fits_with_relu
from dragon.graph.chains import Link, is_link

if TYPE_CHECKING:
    from dragon.engines.cuda.plan.plan import Group, Plan
    from dragon.graph.node import Node
    from dragon.memory.blob import Blob

__all__ = ["pooled", "pooling_behind"]


def pooled(plan: Plan, index: int) -> Group | None:
    """The group of layer `index` and the one behind it, if one is a pooling and the other its ReLU."""
    if plan.graph.reader(index) != index + 1:
        return None
    first, second = together = plan.net.nodes[index : index + 2]
    if not _go_together(plan, together):
        return None
    if fits_with_relu(plan.single(index).lowering, behind=True):
        slope = _slope_in_place(second, first.tops[0])
        if slope is not None:
            return plan.ready(together, PoolingReLULowering, plan.device, first, slope)
    slope = _slope_in_place(first, first.tops[0])
    if slope is None or pooling_behind(plan, together) is None:
        return None
    return plan.ready(together, ReLUPoolingLowering, plan.device, first, second.layer, slope)


def pooling_behind(plan: Plan, nodes: Sequence[Node]) -> Any:
    """The Pooling layer that ends these layers, if it can run together with the ReLU in front of it; else None."""
    relu, last = nodes[-2:]
    if plan.graph.reader(relu.index) != last.index or not _go_together(plan, nodes):
        return None
    fits = fits_with_relu(plan.single(last.index).lowering, behind=False)
    return last.layer if fits and last.bottoms[0] is relu.tops[0] and last.tops[0] is not relu.tops[0] else None


def _slope_in_place(node: Node, blob: Blob) -> float | None:
    """The slope of a ReLU in place on a blob; None for another layer, and for a ReLU whose backward needs its input."""
    if not is_link(Link.RELU, node.definition) or not node.bottoms[0] is node.tops[0] is blob:
        return None
    relu = cast("Any", node.layer)
    return float(relu.slope) if relu.maximum is None and relu.slope >= 0 else None


def _go_together(plan: Plan, nodes: Sequence[Node]) -> bool:
    """Whether layers run backward alike, on blobs of one type and layout, and none makes a loss."""
    kinds = {(node.need_backward, cast("Any", node.layer).phase, plan.form_of(node)) for node in nodes}
    return (
        len(kinds) == 1
        and not any(node.makes_loss for node in nodes)
        and all(node.propagate_down[0] for node in nodes[1:] if node.need_backward)
    )
