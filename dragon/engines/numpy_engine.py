"""The reference engine: each layer's own array code, in order, on host arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon.engines.base import Executor, Options, out_of_memory, watched, weighted_loss
from dragon.engines.blas import set_blas_threads
from dragon.engines.frozen import clear, frozen_blobs
from dragon.engines.int8.reference import forward_in_int8
from dragon.engines.int8.run import Int8Run
from dragon.engines.untraced import run_missing
from dragon.errors import DragonError, EngineError

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = ["NumpyExecutor"]


class NumpyExecutor(Executor):
    """Runs a net layer by layer with the layers' own NumPy code: the reference for all other engines.

    In int8 the layers get what is left of bottoms and weights in 8 bits. EngineError for 16 bits.
    """

    name = "numpy"

    def __init__(self, net: Net, options: Options) -> None:
        super().__init__(net, options)
        if options.precision not in ("fp32", "int8"):
            raise EngineError(f"the NumPy engine computes in fp32 or int8, not in {options.precision}")
        self._int8 = Int8Run(net, options)
        if options.threads:
            set_blas_threads(options.threads)  # for the whole process
        self._ran = [False] * len(net.nodes)
        self._frozen = [frozen_blobs(net, node) for node in net.nodes]

    def forward(self, start: int, end: int) -> float:
        self._int8.begin()
        total = 0.0
        for i in range(start, end + 1):
            with watched(self.net, "Forward", i):
                total += self._forward_layer(i)
        return total

    def _forward_layer(self, i: int) -> float:
        node = self.net.nodes[i]
        layer = node.layer
        self._ran[i] = True
        try:
            layer.reshape(node.bottoms, node.tops)
            of = self._int8.ranges.get(node.name)
            if of is not None:
                forward_in_int8(node, of)
            elif not node.is_empty:
                layer.forward(node.bottoms, node.tops)
        except DragonError as error:
            error.at(layer.where)
            raise
        except MemoryError as error:
            raise out_of_memory(error, layer.where) from error
        if not node.makes_loss:
            return 0.0
        node.fill_loss_weights()
        return weighted_loss(node.tops, node.loss_weights)

    def backward(self, start: int, end: int) -> None:
        self._int8.refuse_backward()
        net = self.net
        run_missing(net.nodes, range(end, start + 1), self._ran, self._forward_layer)
        for i in range(start, end - 1, -1):
            with watched(net, "Backward", i):
                node = net.nodes[i]
                if node.need_backward and not node.is_empty:
                    try:
                        node.layer.backward(node.tops, node.propagate_down, node.bottoms)
                    except DragonError as error:
                        error.at(node.layer.where)
                        raise
                    except MemoryError as error:
                        raise out_of_memory(error, node.layer.where) from error
                    clear(self._frozen[node.index])
