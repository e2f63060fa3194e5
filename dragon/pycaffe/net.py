"""PyNet: the methods and properties of Net that pycaffe has: runs by layer names, whole data sets, hooks.

Most properties are views of the net's nodes, and cached, since the nodes never change.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NoReturn

import numpy as np

from dragon.bases.layer import Context, Layer
from dragon.errors import (
    ArgumentTypeError,
    ArrayShapeError,
    InputArraysError,
    KeptAttributeError,
    UnknownLayerError,
    UsageError,
    nearest,
)
from dragon.graph.named import BlobValues, Layers, Outputs
from dragon.graph.run_lock import RunLock, exclusive
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.pycaffe.all_examples import AllExamples
from dragon.pycaffe.fork_net import ForkNet
from dragon.pycaffe.old_net import OldNet
from dragon.pycaffe.private_names import PrivateNames, layer_position

__all__ = ["PyNet"]

_Hook = Callable[[int], object]
# What a net reads of itself under names that pycaffe's Net leaves to scripts.
_KEPT = frozenset(
    {"context", "executor", "learnable", "nodes", "owned", "param", "run_lock", "table"}
    | {f"{when}_{what}_hooks" for when in ("before", "after") for what in ("forward", "backward")}
)


class PyNet(AllExamples, OldNet, ForkNet, PrivateNames):
    """A wired graph with the methods and properties of pycaffe's Net."""

    def __init__(self, definition: Definition[pb.NetParameter], state: pb.NetState, context: Context) -> None:
        super().__init__(definition, state, context)
        self.run_lock = RunLock(self.name)
        self.before_forward_hooks: list[_Hook] = []
        self.after_forward_hooks: list[_Hook] = []
        self.before_backward_hooks: list[_Hook] = []
        self.after_backward_hooks: list[_Hook] = []

    def __setattr__(self, name: str, value: object) -> None:
        """Set an attribute. Raises KeptAttributeError for one that the net cannot do without."""
        if name in _KEPT and name in vars(self):
            raise KeptAttributeError(f'a net keeps "{name}" for itself: give the attribute another name')
        super().__setattr__(name, value)

    def __reduce__(self) -> NoReturn:
        """Refuse copies and pickles, as pycaffe does: an engine's memory cannot be copied."""
        raise ArgumentTypeError(
            "a net can neither be copied nor pickled: make another one of its definition, and give it the weights by "
            "share_with, or by save and copy_from"
        )

    # -- running --------------------------------------------------------------------------------------------
    @exclusive
    def forward(
        self,
        blobs: Sequence[str] | None = None,
        start: str | int | None = None,
        end: str | int | None = None,
        **inputs: Array,
    ) -> dict[str, Array]:
        """Run the net from layer `start` to layer `end` (names or positions, inclusive) and return outputs by name.

        blobs: names to return besides the outputs. inputs: arrays for all input blobs, of the blob's size in axis 0,
        broadcast in the others. With `end` the tops of that layer are returned instead of the net's outputs. Raises
        UsageError for other inputs than the net's, ArrayShapeError for arrays that do not fit, UnknownLayerError or
        UnknownNumberError for a layer that is not there.
        """
        first = self._layer_at(start, 0)
        last = self._layer_at(end, len(self.nodes) - 1)
        names = list(self.outputs if end is None else self.top_names_of(last)) + list(blobs or [])
        if inputs:
            if set(inputs) != set(self.inputs):
                unknown = next((k for k in inputs if k not in self.inputs), None)
                hint = nearest(unknown, self.inputs) if unknown else ""
                raise UsageError(
                    f"Input blob arguments do not match net inputs: got {sorted(inputs)}, expected {self.inputs}{hint}"
                )
            for name, array in inputs.items():
                _set_batch(self._blob(name).data, array, f'input "{name}"')
        self.run_forward(first, last)
        return Outputs((name, self._blob(name).data) for name in names)

    @exclusive
    def backward(
        self,
        diffs: Sequence[str] | None = None,
        start: str | int | None = None,
        end: str | int | None = None,
        **outputs: Array,
    ) -> dict[str, Array]:
        """Run backward from layer `start` down to layer `end`, as in `forward`, and return input diffs by name.

        diffs: names of further diffs to return. outputs: arrays for the diffs of all output blobs of the net, as
        `forward` takes inputs, with the same errors. With `end` the diffs of that layer's bottoms are returned.
        """
        first = self._layer_at(start, len(self.nodes) - 1)
        last = self._layer_at(end, 0)
        names = list(self.inputs if end is None else self.bottom_names_of(last)) + list(diffs or [])
        if outputs:
            if set(outputs) != set(self.outputs):
                raise UsageError(
                    f"Top diff arguments do not match net outputs: got {sorted(outputs)}, expected {self.outputs}"
                )
            for name, diff in outputs.items():
                _set_batch(self._blob(name).diff, diff, f'diff "{name}"')
        self.run_backward(first, last)
        return Outputs((name, self._blob(name).diff) for name in names)

    def set_input_arrays(self, data: Array, labels: Array, layer: int | str = 0) -> None:
        """Set the float32 data (N, C, H, W) and labels, (N, 1, 1, 1) or (N,), of the net's MemoryData layer.

        layer: of several its name, or its number among them, as in forks. Raises DataError for wrong shapes or a net
        without such a layer.
        """
        from dragon.layers.memory_data import MemoryData

        found: dict[int | str, MemoryData] = {}
        names: list[str] = []
        for one in self.layers:
            if isinstance(one, MemoryData):
                found[len(names)] = found[one.name] = one
                names.append(one.name)
        if not found:
            raise InputArraysError("set_input_arrays needs a MemoryData layer, the net has none")
        if layer not in found:
            raise InputArraysError(f"no MemoryData layer {layer!r}: the net has {', '.join(names)}")
        found[layer].set_arrays(data, labels)

    # -- views of the nodes ---------------------------------------------------------------------------------
    @cached_property
    def layers(self) -> list[Layer]:
        """The layers in order."""
        return [node.layer for node in self.nodes]

    @cached_property
    def layer_names(self) -> list[str]:
        """The names of the layers in order."""
        return [node.name for node in self.nodes]

    @cached_property
    def bottoms(self) -> list[list[Blob]]:
        """The bottoms of each layer."""
        return [node.bottoms for node in self.nodes]

    @cached_property
    def tops(self) -> list[list[Blob]]:
        """The tops of each layer."""
        return [node.tops for node in self.nodes]

    @cached_property
    def bottom_need_backward(self) -> list[list[bool]]:
        """For each layer, whether each of its bottoms gets a gradient."""
        return [node.propagate_down for node in self.nodes]

    @cached_property
    def layer_need_backward(self) -> list[bool]:
        """For each layer, whether it runs backward."""
        return [node.need_backward for node in self.nodes]

    def bottom_names_of(self, index: int) -> list[str]:
        """Names of the bottoms of the layer at a position."""
        return self.nodes[index].bottom_names

    def top_names_of(self, index: int) -> list[str]:
        """Names of the tops of the layer at a position."""
        return self.nodes[index].top_names

    def layer_index(self, name: str) -> int:
        """Position of a layer by name. Raises UnknownLayerError with the nearest name when there is none."""
        try:
            return self.layer_names.index(name)
        except ValueError:
            raise UnknownLayerError(f'no layer "{name}"{nearest(name, self.layer_names)}') from None

    @property
    def layer_dict(self) -> OrderedDict[str, Layer]:
        """Layers by name."""
        return Layers((node.name, node.layer) for node in self.nodes)

    @property
    def bottom_names(self) -> OrderedDict[str, list[str]]:
        """Names of each layer's bottoms, by layer."""
        return Layers((node.name, node.bottom_names) for node in self.nodes)

    @property
    def top_names(self) -> OrderedDict[str, list[str]]:
        """Names of each layer's tops, by layer."""
        return Layers((node.name, node.top_names) for node in self.nodes)

    @property
    def blob_loss_weights(self) -> OrderedDict[str, float]:
        """The weight of every blob in the loss, by name."""
        weights = BlobValues((name, 0.0) for name in self.blobs)
        for node in self.nodes:
            weights.update(zip(node.top_names, node.loss_weights, strict=True))
        return weights

    def before_forward(self, hook: _Hook) -> None:
        """Call `hook(layer index)` before each layer's forward."""
        self.before_forward_hooks.append(hook)

    def after_forward(self, hook: _Hook) -> None:
        """Call `hook(layer index)` after each layer's forward."""
        self.after_forward_hooks.append(hook)

    def before_backward(self, hook: _Hook) -> None:
        """Call `hook(layer index)` before each layer's backward."""
        self.before_backward_hooks.append(hook)

    def after_backward(self, hook: _Hook) -> None:
        """Call `hook(layer index)` after each layer's backward."""
        self.after_backward_hooks.append(hook)

    def save_hdf5(self, path: str, write_diff: bool = False) -> None:
        """Write the weights as HDF5, whatever the ending of the name. Raises WeightsError."""
        from dragon.files.stored_weights import write_h5

        write_h5(self, path, write_diff)

    def load_hdf5(self, path: str) -> None:
        """Load weights from an HDF5 file, whatever the ending of its name. Raises WeightsError."""
        from dragon.files.weights import load_weights

        load_weights(self, [path], hdf5=True)

    # -- helpers --------------------------------------------------------------------------------------------
    def _layer_at(self, which: str | int | None, default: int) -> int:
        if which is None:
            return default
        return self.layer_index(which) if isinstance(which, str) else layer_position(which, len(self.nodes))

    def _blob(self, name: str) -> Blob:
        return self.blobs[name]


def _set_batch(target: Array, given: Array, what: str) -> None:
    """Copy what a script gives to a blob's array. Raises ArrayShapeError for another shape and for values of no number.

    what: the blob, for messages.
    """
    try:
        shape, kind = np.shape(given), np.asarray(given).dtype
    except ValueError:
        raise ArrayShapeError(f"{what}: got lists of different lengths, expected {target.shape}") from None
    if shape[:1] != target.shape[:1]:
        raise ArrayShapeError(f"{what} is not batch sized: {shape}, expected {target.shape}")
    if kind.kind not in "biuf":
        raise ArrayShapeError(f"{what}: got values of type {kind}, expected numbers")
    try:
        target[...] = given
    except ValueError:
        raise ArrayShapeError(f"{what}: got shape {shape}, expected {target.shape}") from None
