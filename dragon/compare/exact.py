"""Exact running statistics for a test, recomputed over part of the training set; training does not notice."""

from __future__ import annotations

import math

from dragon.bases.layer import TRAIN
from dragon.engines import Options
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.solver.testing import positions, restore
from dragon.surgery.recalibrate import recalibrate

__all__ = ["ExactStatistics"]


class ExactStatistics:
    """Reads the same batches of the training set before each test, with a net of its own.

    images: how many; whole batches, so the last one may exceed it. variance: see dragon.surgery.recalibrate. The net
    shares the weights and the running statistics of the train net: whoever calls `apply` puts the statistics back.
    """

    def __init__(
        self, definition: Definition[pb.NetParameter], images: int, engine: str, options: Options, seed: int,
        variance: str = "pooled",
    ) -> None:  # fmt: skip
        self.net = Net(definition, phase=TRAIN, engine=engine, options=options, seed=seed)
        self._start = positions([self.net])
        self._images = images
        self._variance = variance

    def apply(self, trained: Net) -> None:
        """Put the statistics of the present weights into the layers. Raises NumericError if they are not finite."""
        self.net.share_with(trained)
        restore(self._start)
        size = next((node.tops[0].shape[0] for node in self.net.nodes if node.tops and node.tops[0].shape), 1)
        recalibrate(self.net, math.ceil(self._images / max(1, size)), variance=self._variance)

    def close(self) -> None:
        """Stop the thread that reads its data."""
        self.net.close()
