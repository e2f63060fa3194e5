"""Layers with a `phase` of their own, which counts in place of the net's."""

from __future__ import annotations

from dragon.bases.batch_statistics import BatchStatistics
from dragon.bases.layer import TRAIN, Layer
from dragon.bases.registry import class_of
from dragon.proto import dragon_pb2 as pb

__all__ = ["own_phase", "trains_always"]


def own_phase(param: pb.LayerParameter) -> int | None:
    """The phase that a layer gives itself, if it computes something else in the other one; else None."""
    differs = param.HasField("phase") and class_of(param).differs_by_phase(param)
    return int(param.phase) if differs else None


def trains_always(layer: Layer) -> str:
    """Why a layer cannot be written for other programs, whose files are for TEST; "" if it can.

    A batch normalisation by the batch's statistics can be; one that draws random numbers cannot.
    """
    if isinstance(layer, BatchStatistics) or own_phase(layer.param) != TRAIN:
        return ""
    return "computes what it does in training in TEST as well, by its own `phase: TRAIN`: remove that"
