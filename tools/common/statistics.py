"""Which statistics the batch normalisation of a net uses: those of the batch or the running ones."""

from __future__ import annotations

from dragon.bases.layer import TEST, TRAIN
from dragon.graph.facts import batch_norms
from dragon.graph.net import Net

__all__ = ["BATCH", "GLOBAL", "statistics_of", "use_statistics"]

BATCH, GLOBAL = "batch statistics", "global statistics"


def statistics_of(net: Net) -> str | None:
    """BATCH if any layer uses batch statistics, GLOBAL if none does; None for a net without batch normalisation."""
    layers = batch_norms(net)
    if not layers:
        return None
    return GLOBAL if all(layer.use_global for layer in layers) else BATCH


def use_statistics(net: Net, which: str) -> None:
    """Let all layers use BATCH or GLOBAL statistics, whatever prototxt and phase say; other layers keep their phase."""
    for layer in batch_norms(net):
        layer.let_phase_decide()
        layer.phase = TEST if which == GLOBAL else TRAIN
