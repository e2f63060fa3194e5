"""Means of the outputs of a net over the batches of a test; of detections the mean average precision."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dragon.graph.detection_scores import ClassScore, DetectionScores, mean_average_precision
from dragon.graph.named import BlobValues
from dragon.graph.net import Net
from dragon.memory.storage import Array

__all__ = ["OutputMeans", "detection_tops"]


def detection_tops(net: Net) -> list[str]:
    """The tops of the layers that compare detections with labels, in the net's order."""
    return [name for node in net.nodes if node.layer.scores_detections for name in node.top_names]


class OutputMeans:
    """Sums the outputs of a net over batches. ap_version: how average precisions are computed, one of AP_VERSIONS."""

    def __init__(self, net: Net, ap_version: str = "Integral") -> None:
        self._detections = {name: DetectionScores() for name in detection_tops(net)}
        self._sums: BlobValues[Array] = BlobValues()
        self._version = ap_version

    def add(self, outputs: Mapping[str, Array]) -> None:
        """Add the outputs of one batch."""
        for name, value in outputs.items():
            if name in self._detections:
                self._detections[name].add(value)
                self._sums[name] = np.zeros(())
            else:
                self._sums[name] = self._sums[name] + value if name in self._sums else np.array(value, np.float64)

    def classes(self) -> dict[str, list[ClassScore]]:
        """The average precisions of the classes, for each output that compares detections with labels."""
        return {name: found.classes(self._version) for name, found in self._detections.items() if name in self._sums}

    def means(self, batches: int) -> BlobValues[Array]:
        """The mean of each output, or its mean average precision, in the order in which they were added."""
        means = BlobValues((name, np.asarray(value / batches)) for name, value in self._sums.items())
        for name, classes in self.classes().items():
            means[name] = np.asarray(mean_average_precision(classes))
        return means
