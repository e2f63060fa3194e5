"""Ristretto's layers, whose numbers are quantised: read as the layers of full precision that they stand for."""

from __future__ import annotations

import logging

from dragon.counting import how_many
from dragon.proto import dragon_pb2 as pb

__all__ = ["QUANTISED_TYPES", "is_quantised", "upgrade_quantised"]

_log = logging.getLogger("dragon")

QUANTISED_TYPES = {
    "ConvolutionRistretto": "Convolution",
    "DeconvolutionRistretto": "Deconvolution",
    "FcRistretto": "InnerProduct",
    "LRNRistretto": "LRN",
}


def is_quantised(layer: pb.LayerParameter) -> bool:
    """Whether a layer has a type of Ristretto."""
    return layer.type in QUANTISED_TYPES


def upgrade_quantised(net: pb.NetParameter) -> int:
    """Give such layers the type of full precision, with a warning; their number."""
    found = [layer for layer in net.layer if is_quantised(layer)]
    for layer in found:
        layer.type = QUANTISED_TYPES[layer.type]
    if found:
        _log.warning(
            "%s of Ristretto: computed in full precision, without its quantisation", how_many(len(found), "layer")
        )
    return len(found)
