"""Which statistics the batch-normalising layers of a net use: the batch's own or the running ones."""

from __future__ import annotations

from dragon.bases.layer import TEST, TRAIN
from dragon.graph.net import Net
from dragon.tools.common.net_facts import batch_norms

__all__ = ["BATCH", "GLOBAL", "statistics_of", "use_statistics"]

BATCH, GLOBAL = "batch statistics", "global statistics"


def statistics_of(net: Net) -> str | None:
    """BATCH, GLOBAL, or None for a net without batch normalisation. A single layer on the batch's makes it BATCH."""
    layers = batch_norms(net)
    if not layers:
        return None
    return GLOBAL if all(layer.use_global for layer in layers) else BATCH


def use_statistics(net: Net, which: str) -> None:
    """Let all of them use BATCH or GLOBAL, whatever the prototxt and the phase say. Nothing else changes its phase."""
    for layer in batch_norms(net):
        layer.let_phase_decide()
        layer.phase = TEST if which == GLOBAL else TRAIN
