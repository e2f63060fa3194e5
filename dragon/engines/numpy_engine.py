"""The reference engine: each layer's own array code, in order, on host arrays."""

from __future__ import annotations

import logging

import numpy as np

from dragon.engines.base import Executor, renamed, weighted_loss
from dragon.errors import DragonError
from dragon.storage import Array

__all__ = ["NumpyExecutor"]

log = logging.getLogger("dragon")


class NumpyExecutor(Executor):
    name = "numpy"

    def forward(self, start: int, end: int) -> float:
        net = self.net
        total = 0.0
        for i in range(start, end + 1):
            for hook in net.before_forward_hooks:
                hook(i)
            total += self._forward_layer(i)
            for hook in net.after_forward_hooks:
                hook(i)
        return total

    def _forward_layer(self, i: int) -> float:
        layer, bottoms, tops = self.net.layers[i], self.net.bottoms[i], self.net.tops[i]
        try:
            layer.reshape(bottoms, tops)
            layer.forward(bottoms, tops)
        except DragonError as error:
            raise renamed(error, layer.where) from error
        loss = 0.0
        if any(layer.loss_weights):
            self.net.fill_loss_weights(i, tops)
            loss = weighted_loss(tops, layer.loss_weights)
        if self.net.debug_info:
            self._debug("Forward", i)
        return loss

    def backward(self, start: int, end: int) -> None:
        net = self.net
        for i in range(start, end - 1, -1):
            for hook in net.before_backward_hooks:
                hook(i)
            if net.layer_need_backward[i]:
                layer = net.layers[i]
                try:
                    layer.backward(net.tops[i], net.bottom_need_backward[i], net.bottoms[i])
                except DragonError as error:
                    raise renamed(error, layer.where) from error
                if net.debug_info:
                    self._debug("Backward", i)
            for hook in net.after_backward_hooks:
                hook(i)

    def _debug(self, way: str, i: int) -> None:
        """Mean absolute values, one line for each blob, in the wording that log readers know."""
        net = self.net
        layer = net.layers[i]
        name = net.layer_names[i]
        if way == "Forward":
            named = zip(net.top_names_of(i), net.tops[i], strict=True)
            for blob_name, blob in named:
                log.info("    [Forward] Layer %s, top blob %s data: %g", name, blob_name, _mean(blob.peek()))
            for j, blob in enumerate(layer.blobs):
                log.info("    [Forward] Layer %s, param blob %d data: %g", name, j, _mean(blob.peek()))
            return
        for j, blob in enumerate(net.bottoms[i]):
            if net.bottom_need_backward[i][j]:
                bottom = net.bottom_names_of(i)[j]
                log.info("    [Backward] Layer %s, bottom blob %s diff: %g", name, bottom, _mean(blob.peek_diff()))
        for j, blob in enumerate(layer.blobs):
            if layer.param_propagate_down[j]:
                log.info("    [Backward] Layer %s, param blob %d diff: %g", name, j, _mean(blob.peek_diff()))


def _mean(array: Array) -> float:
    return float(np.abs(array).mean()) if array.size else 0.0
