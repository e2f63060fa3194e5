"""ProbeNet: a private copy of a net, whose data layers are inputs, to run forward and backward without leaving a trace.

A loss is a function of weights and batch alone: before each run the random streams of the layers start at the number of
the batch (so Dropout drops the same units again), and running statistics are those of the copied net.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from numpy.typing import DTypeLike

from dragon.bases.batch_statistics import BatchStatistics, averages
from dragon.bases.layer import TEST, TRAIN, Layer
from dragon.bases.weighted import Weighted
from dragon.engines import Options
from dragon.errors import UsageError, nearest
from dragon.files.layer_files import layer_files
from dragon.graph.net import Net
from dragon.graph.node import Node
from dragon.graph.parameters import Param
from dragon.layers.scale import Scale
from dragon.layers.split import Split
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.surgery.samples import holds_labels

__all__ = ["Batch", "ProbeNet", "is_data", "private_definition"]


@dataclass(frozen=True)
class Batch:
    """What the data layers of a net give in one pass. arrays: by the name of the top. index: seeds random layers."""

    arrays: Mapping[str, Array]
    index: int

    @property
    def extent(self) -> int:
        """The first axis of the first array: the number of images."""
        return len(next(iter(self.arrays.values())))


def is_data(layer: Layer) -> bool:
    """Whether a layer gives data: it has no bottoms and learns nothing."""
    return not layer.param.bottom and not layer.blobs


def private_definition(net: Net, changed: Mapping[int, pb.LayerParameter | None]) -> Definition[pb.NetParameter]:
    """The definition of a net as it runs. changed: by index, what stands in place of a layer; None: nothing."""
    param = pb.NetParameter()
    param.CopyFrom(net.param)
    param.debug_info = False
    del param.layer[:]
    for node in net.nodes:
        layer = changed.get(node.index, node.definition)
        if layer is not None:
            param.layer.add().CopyFrom(layer)
    return Definition(param, folder=net.context.folder)


class ProbeNet:
    """A copy of `source`, a net of any phase, with an Input layer in place of each data layer.

    engine, options, dtype: those of the source by default; the options of another engine are the usual ones.
    input_gradients: backward reaches the inputs as well.
    """

    def __init__(
        self,
        source: Net,
        *,
        engine: str | None = None,
        options: Options | None = None,
        dtype: DTypeLike | None = None,
        input_gradients: bool = False,
    ) -> None:
        changed: dict[int, pb.LayerParameter | None] = {}
        for node in source.nodes:
            if is_data(node.layer):
                layer = pb.LayerParameter(name=node.name, type="Input", top=node.definition.top)
                for top in node.tops:
                    layer.input_param.shape.add(dim=top.shape)
                changed[node.index] = layer
        definition = private_definition(source, changed)
        definition.message.force_backward |= input_gradients
        with layer_files(False):
            self.net = Net(
                definition,
                phase=source.phase,
                engine=engine or source.executor.name,
                options=options or (replace(source.executor.options) if engine is None else Options()),
                dtype=dtype or source.context.dtype,
                seed=source.seed,
                allow_python=source.context.allow_python,
            )
        self._statistics: list[tuple[Blob, Array]] = []

    # -- weights --------------------------------------------------------------------------------------------
    def copy_from(self, *sources: Net) -> None:
        """Take over all weights and statistics: each layer from the first of `sources` that has one of its name."""
        for name, blobs in self.net.params.items():
            theirs = next(net.params[name] for net in sources if name in net.params)
            for mine, blob in zip(blobs, theirs, strict=True):
                mine.data_storage.overwrite()[: mine.count] = blob.peek().reshape(-1)
        self._save_statistics()

    def set_statistics(self, statistics: Mapping[str, tuple[Array, Array]]) -> None:
        """Replace running mean and variance of batch normalisations, by layer."""
        for layer in self.net.layers:
            if averages(layer) and layer.name in statistics:
                layer.set_running(*statistics[layer.name])
        self._save_statistics()

    def _save_statistics(self) -> None:
        self._statistics = [
            (blob, blob.peek().copy())
            for layer in self.net.layers
            for i, blob in enumerate(layer.blobs)
            if i in layer.buffers
        ]

    @property
    def params(self) -> list[Param]:
        """The learned blobs that training changes: those whose lr_mult is not 0."""
        return [p for p in self.net.learnable if p.lr_mult]

    def weights(self) -> list[Array]:
        """A copy of the values of `params`."""
        return [p.blob.peek().copy() for p in self.params]

    def set_weights(self, values: Sequence[Array]) -> None:
        """Replace the values of `params`."""
        for p, value in zip(self.params, values, strict=True):
            p.blob.data_storage.overwrite()[: p.blob.count] = value.reshape(-1)

    def key(self, p: Param) -> str:
        """A learned blob's name in results: conv1, conv1/bias, bn1/gamma, bn1/beta; else LAYER/INDEX."""
        layer = self.net.layers[self.net.layer_index(p.layer)]
        if isinstance(layer, Weighted) and p.index < 2:
            return (p.layer, f"{p.layer}/bias")[p.index]
        if isinstance(layer, BatchStatistics) and layer.affine is not None:
            for blob, name in zip(layer.affine, ("gamma", "beta"), strict=True):
                if blob is layer.blobs[p.index]:
                    return f"{p.layer}/{name}"
        if isinstance(layer, Scale) and p.index < 2:
            return f"{p.layer}/{('gamma', 'beta')[p.index]}"
        return f"{p.layer}/{p.index}"

    def kernels(self) -> dict[str, int]:
        """For each layer with a weight matrix that training changes, the index of the matrix in `params`."""
        layers = self.net.layer_dict
        return {p.layer: k for k, p in enumerate(self.params) if p.index == 0 and isinstance(layers[p.layer], Weighted)}

    # -- running --------------------------------------------------------------------------------------------
    def load(self, batch: Batch) -> None:
        """Put a batch into the inputs, and the random streams and running statistics to where they begin."""
        for name, array in batch.arrays.items():
            blob = self.net.blobs[name]
            blob.reshape(*array.shape)
            blob.data_storage.overwrite()[: blob.count] = array.reshape(-1)
        for layer in self.net.layers:
            layer.rng.draws = batch.index
        for blob, value in self._statistics:
            blob.data_storage.overwrite()[: blob.count] = value.reshape(-1)

    def loss(self, batch: Batch) -> float:
        """The loss of a batch with the present weights."""
        self.load(batch)
        return self.net.run_forward()

    def gradient(self, batch: Batch) -> tuple[float, list[Array]]:
        """The loss of a batch and its gradient with regard to `params`, without weight decay.

        Raises UsageError for a net without a loss.
        """
        self.require_loss()
        self.load(batch)
        self.net.clear_param_diffs()
        loss = self.net.forward_backward()
        return loss, [p.blob.peek_diff().copy() for p in self.params]

    def each_layer(self, batch: Batch) -> Iterator[Node]:
        """Run a batch forward layer by layer; gives each node right after it has run, without data and Splits."""
        self.load(batch)
        for node in self.net.nodes:
            self.net.run_forward(node.index, node.index)
            if node.bottoms and not isinstance(node.layer, Split):
                yield node

    def around(self, batch: Batch, wanted: Callable[[Node], bool]) -> Iterator[tuple[Node, Array]]:
        """Run a batch forward layer by layer; gives each wanted node after it has run, with what its bottom 0 held."""
        self.load(batch)
        for node in self.net.nodes:
            before = node.bottoms[0].peek().copy() if node.bottoms and wanted(node) else None
            self.net.run_forward(node.index, node.index)
            if before is not None:
                yield node, before

    def use_batch_statistics(self, wanted: bool) -> None:
        """Let all batch normalisations use the statistics of the batch, or the running ones, whatever the phase.

        Those of DecorrelatedBN and DenseBlock among them; in the latter the phase decides on dropout too.
        """
        for layer in self.net.layers:
            if averages(layer):
                layer.let_phase_decide()
            if layer.buffers:
                layer.phase = TRAIN if wanted else TEST

    def makers(self) -> list[Node]:
        """The first layer of each blob that backward gives a gradient, but for losses and Splits."""
        found: dict[int, Node] = {}
        for node in self.net.nodes:
            if node.need_backward and not node.makes_loss and not isinstance(node.layer, Split):
                found.setdefault(id(node.tops[0]), node)
        return list(found.values())

    # -- finding things -------------------------------------------------------------------------------------
    def node(self, name: str) -> Node:
        """The node of a layer by name. UsageError, with the nearest name, if there is none."""
        found = [node for node in self.net.nodes if node.name == name]
        if not found:
            raise UsageError(f'the net has no layer "{name}"{nearest(name, self.net.layer_names)}')
        return found[-1]

    def blob(self, name: str) -> Blob:
        """A blob by name. UsageError, with the nearest name, if there is none."""
        if name not in self.net.blobs:
            raise UsageError(f'the net has no blob "{name}"{nearest(name, self.net.blobs)}')
        return self.net.blobs[name]

    def images(self, node: Node) -> str:
        """The name of the input that images are: the first that what a layer makes depends on, labels left out."""
        needed = {id(node.tops[0])}
        for one in reversed(self.net.nodes[: node.index + 1]):
            if any(id(top) in needed for top in one.tops):
                needed |= {id(bottom) for bottom in one.bottoms}
        inputs = [name for name in self.net.inputs if id(self.net.blobs[name]) in needed] or self.net.inputs
        return next((name for name in inputs if not holds_labels(self.net, name)), inputs[0])

    def scores(self) -> Node:
        """The layer that makes the scores: the first bottom of the first loss. UsageError for a net without a loss."""
        loss = next((node for node in self.net.nodes if node.makes_loss and node.bottoms), None)
        if loss is None:
            raise UsageError(f"{self._no_loss()}: which layer makes the scores? give layer=NAME")
        wanted, found = loss.bottoms[0], loss
        for node in reversed(self.net.nodes[: loss.index]):
            if any(top is wanted for top in node.tops):
                if not isinstance(node.layer, Split):
                    return node
                wanted = node.bottoms[0]
        return found

    def require_loss(self) -> None:
        """Raise UsageError for a net without a loss, which gives no gradient."""
        if not any(node.makes_loss for node in self.net.nodes):
            raise UsageError(f"the probe needs a gradient, and {self._no_loss()}")

    def _no_loss(self) -> str:
        return f'net "{self.net.name}" has no loss in phase {pb.Phase.Name(self.net.phase)}'

    def close(self) -> None:
        """Release the net."""
        self.net.close()
