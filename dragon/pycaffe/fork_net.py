"""ForkNet: methods of nets that scripts know from two forks of Caffe.

The deep visualization toolbox (Yosinski et al. 2015) goes backward from a layer, also as a deconvnet; the scripts of
DeePSiM (Dosovitskiy and Brox 2016) and GANs after it run a net without taking values in or out.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dragon.errors import ArrayShapeError, UsageError
from dragon.graph.named import Outputs
from dragon.graph.run_lock import exclusive
from dragon.memory.storage import Array

if TYPE_CHECKING:
    from dragon.graph.named import Blobs
    from dragon.graph.node import Node

__all__ = ["ForkNet"]

_ZEILER, _GUIDED = "Zeiler & Fergus", "Guided Backprop"


class ForkNet:
    """What two forks of Caffe add to pycaffe's Net."""

    inputs: list[str]
    blobs: Blobs
    nodes: list[Node]

    @abstractmethod
    def run_forward(self, start: int = 0, end: int | None = None) -> float:
        """Run layers start..end (inclusive) and return the weighted sum of their losses."""

    @abstractmethod
    def run_backward(self, start: int | None = None, end: int = 0) -> None:
        """Run backward from layer `start` (the last) down to `end` (inclusive)."""

    @abstractmethod
    def layer_index(self, name: str) -> int:
        """Position of a layer by name. Raises UnknownLayerError with the nearest name when there is none."""

    def forward_simple(self) -> None:
        """Run all layers forward, with the values that the inputs have."""
        self.run_forward()

    def backward_simple(self) -> None:
        """Run all layers backward, from the diffs that the outputs have; losses begin with their weights."""
        self.run_backward()

    @exclusive
    def backward_from_layer(
        self, start_name: str, start_diff: Array, diffs: Sequence[str] | None = None, zero_higher: bool = False
    ) -> dict[str, Array]:
        """Run backward from a layer whose top has the diff `start_diff`, and return diffs of the inputs by name.

        diffs: names of further diffs to return. zero_higher: set the diffs of blobs that are made later to zero. Raises
        ArrayShapeError for a diff that does not fit.
        """
        start = self._start_from(start_name, start_diff, zero_higher)
        self.run_backward(start)
        return self._diffs(diffs)

    @exclusive
    def deconv_from_layer(
        self,
        start_name: str,
        start_diff: Array,
        diffs: Sequence[str] | None = None,
        zero_higher: bool = False,
        deconv_type: str = _ZEILER,
    ) -> dict[str, Array]:
        """As `backward_from_layer`, but ReLU layers pass on positive diffs alone, as in a deconvnet.

        deconv_type: "Zeiler & Fergus", for all of those diffs, or "Guided Backprop", for those where the ReLU's top is
        positive too (Springenberg et al. 2014). Other layers go backward as usual. Raises UsageError for another type.
        """
        from dragon.layers.relu import ReLU

        if deconv_type not in (_ZEILER, _GUIDED):
            raise UsageError(f'deconv_type is "{_ZEILER}" or "{_GUIDED}", got "{deconv_type}"')
        for i in range(self._start_from(start_name, start_diff, zero_higher), -1, -1):
            node = self.nodes[i]
            if not isinstance(node.layer, ReLU):
                self.run_backward(i, i)
            elif node.need_backward:
                passed = np.maximum(node.tops[0].peek_diff(), 0)
                if deconv_type == _GUIDED:
                    passed *= node.tops[0].peek() > 0
                node.bottoms[0].diff[...] = passed
        return self._diffs(diffs)

    def _start_from(self, name: str, diff: Array, zero_higher: bool) -> int:
        """Set the diff of a layer's first top; the position of the layer."""
        start = self.layer_index(name)
        top = self.nodes[start].top_names[0] if self.nodes[start].top_names else name
        target = self.blobs[top].diff
        if np.shape(diff) != target.shape:
            raise ArrayShapeError(f'diff "{top}": got shape {np.shape(diff)}, expected {target.shape}')
        target[...] = diff
        if zero_higher:
            names = list(self.blobs)
            for later in names[names.index(top) + 1 :]:
                self.blobs[later].diff[...] = 0
        return start

    def _diffs(self, more: Sequence[str] | None) -> dict[str, Array]:
        return Outputs((name, self.blobs[name].diff) for name in [*self.inputs, *(more or [])])
