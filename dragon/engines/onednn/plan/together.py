"""Together: layers that a plan computes as one group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dragon.engines.onednn.lowerings import Lowering
    from dragon.engines.onednn.lowerings.folding import WeightChain

__all__ = ["Together"]


@dataclass(frozen=True)
class Together:
    """Layers first..last, which are one group. lowering: builds a fused group; None for one layer by itself.

    chain: the layers as a chain that is folded into weights, if they are one. parts: the groups that this one falls
    apart into where oneDNN cannot compute it; without them, its single layers.
    """

    first: int
    last: int
    lowering: Lowering | None = None
    chain: WeightChain | None = None
    parts: tuple[Together, ...] = ()
