"""What a converter is given: its node, the values that it reads, and a place for the layers that it writes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from dragon.counting import how_many
from dragon.importing.graph import Array, Graph, Node, NoForm, UnknownShape, as_float
from dragon.importing.names import Names
from dragon.proto import dragon_pb2 as pb

__all__ = ["Context", "NetWriter"]

_MOST_PIECES = 512  # that one Slice cuts a blob into
_INNER = "_inner"  # behind the name of a blob that is read and is an output too


class NetWriter:
    """The net as far as it is written. blobs: the blob of each value of the graph."""

    def __init__(self, name: str, graph: Graph, bvlc: bool) -> None:
        self.net = pb.NetParameter(name=name)
        self.graph, self.bvlc = graph, bvlc
        self.arrays: dict[str, list[Array]] = {}
        self.blobs: dict[str, str] = {}
        self.parameters: dict[tuple[tuple[int, ...], bytes], str] = {}
        self.reshaped: dict[str, tuple[str, tuple[int, ...]]] = {}  # blobs that are another one, and its shape
        self.layer_names, self.blob_names = Names(), Names()
        for value in graph.inputs:
            name = self.blob_names.take(value)
            layer = self.net.layer.add(name=self.layer_names.take(name), type="Input", top=[name])
            layer.input_param.shape.add(dim=graph.shapes[value])
            self.blobs[value] = name
        read = {name for node in graph.nodes for name in node.inputs}
        self.output_blobs = {name: self.blob_names.take(name) for name in graph.outputs}
        self._outputs = Counter(graph.outputs.values())
        self._only_name = {value: name for name, value in graph.outputs.items()}
        self._read = read

    def blob_name(self, value: str) -> str:
        """A name for the blob that a node gives; "" unless it is an output of the graph."""
        output = self.output_blobs.get(self._only_name.get(value, ""))
        if output is not None and (value in self._read or self._outputs[value] > 1):
            return self.blob_names.take(f"{output}{_INNER}")
        return output or ""

    def finish(self) -> None:
        """Give every output of the graph a blob of its own that nobody reads, and let nothing else be unread."""
        given = Counter(self.blobs.get(value, "") for value in self.graph.outputs.values())
        read = self._drop_reshapes({*given, *self.output_blobs.values()})
        inputs = {layer.top[0] for layer in self.net.layer if layer.type == "Input"}
        for output, name in self.output_blobs.items():
            value = self.graph.outputs[output]
            if value not in self.blobs:
                layer = self.net.layer.add(name=self.layer_names.take(name), type="Parameter", top=[name])
                layer.parameter_param.shape.dim.extend(self.graph.constants[value].shape)
                self.arrays[layer.name] = [as_float(self.graph.constants[value])]
                continue
            blob = self.blobs[value]
            if blob != name and blob not in read and blob not in inputs and given[blob] == 1:
                self._rename_top(blob, name)
            elif blob != name:
                self.net.layer.add(name=self.layer_names.take(name), type="Split", bottom=[blob], top=[name])
                read.add(blob)
        outputs = set(self.output_blobs.values())
        tops = dict.fromkeys(name for layer in self.net.layer for name in layer.top if layer.type != "Input")
        unread = [name for name in tops if name not in read and name not in outputs]
        if unread:
            self.net.layer.add(name=self.layer_names.take("unread"), type="Silence", bottom=unread)

    def _drop_reshapes(self, outputs: set[str]) -> set[str]:
        """Drop what only another Reshape read, which now reads what stands before; the names of blobs that are read."""
        read = {name for layer in self.net.layer for name in layer.bottom}
        unread = [layer for layer in self.net.layer if layer.type == "Reshape" and layer.top[0] not in read | outputs]
        for layer in unread:
            self.net.layer.remove(layer)
        return {name for layer in self.net.layer for name in layer.bottom}

    def _rename_top(self, old: str, new: str) -> None:
        for layer in self.net.layer:
            for k, top in enumerate(layer.top):
                layer.top[k] = new if top == old else top


class Context:
    """One node while it is converted. Its layers are written by `layer`, and `result` says which blob it gives."""

    def __init__(self, writer: NetWriter, node: Node) -> None:
        self.writer, self.node, self.graph, self.bvlc = writer, node, writer.graph, writer.bvlc
        self._mine: list[pb.LayerParameter] = []
        first = next((name for name in node.outputs if name), node.op)
        self._base = node.name or first

    # -- what the node reads ---------------------------------------------------------------------------------
    def constant(self, index: int) -> Array | None:
        """The array of an input that is a constant; None for a computed value or an input left out."""
        return self.graph.constants.get(self.node.inputs[index]) if self.node.has_input(index) else None

    def needed_constant(self, index: int, what: str) -> Array:
        """The array of an input. Raises NoForm where it is computed by the graph."""
        array = self.constant(index)
        if array is None:
            raise NoForm(f"its {what} is computed by the net: Caffe needs a constant")
        return array

    def list_of(self, name: str, index: int) -> tuple[int, ...] | None:
        """A list of integers: the attribute `name` or, in newer operator sets, the input `index`; None if not given."""
        if name in self.node.attributes:
            return self.node.integers(name)
        if not self.node.has_input(index):
            return None
        return tuple(int(v) for v in self.needed_constant(index, name).reshape(-1))

    def scalar_of(self, name: str, index: int, default: float) -> float:
        """A number: the attribute `name` or, in newer operator sets, the input `index`."""
        if name in self.node.attributes:
            return self.node.number(name, default)
        if not self.node.has_input(index):
            return default
        return float(self.needed_constant(index, name).reshape(-1)[0])

    def shape(self, index: int = 0) -> tuple[int, ...]:
        """The shape of an input. Raises NoForm where it is not known."""
        shape = self.graph.shape_of(self.node.inputs[index])
        if shape is None:
            raise UnknownShape(
                "the shape of its input is not known: it depends on values, or on an operator that is not read"
            )
        return shape

    def output_shape(self, index: int = 0) -> tuple[int, ...]:
        """The shape of an output. Raises NoForm where it is not known."""
        shape = self.graph.shapes.get(self.node.outputs[index])
        if shape is None:
            raise UnknownShape("the shape of its output is not known: it depends on values")
        return shape

    def axis(self, axis: int, count: int | None = None) -> int:
        """An axis of input 0, counted from the front. Raises NoForm for one that is not there."""
        count = len(self.shape()) if count is None else count
        if not -count <= axis < count:
            raise NoForm(f"axis {axis} is out of range for {how_many(count, 'axis')}")
        return axis % count

    def blob(self, index: int = 0) -> str:
        """The blob of an input; a constant becomes a layer Parameter."""
        value = self.node.inputs[index]
        if value not in self.writer.blobs:
            constant = self.graph.constants.get(value)
            if constant is None:
                raise NoForm(f'its input "{value}" is given by no node')
            self.writer.blobs[value] = self.parameter(constant, value)
        return self.writer.blobs[value]

    # -- what the node becomes -------------------------------------------------------------------------------
    def layer(
        self,
        type: str,
        bottoms: str | Iterable[str],
        suffix: str = "",
        tops: int = 1,
        arrays: Sequence[Array] = (),
        **settings: Any,
    ) -> str:
        """Write a layer; the name of its first top. settings: fields of the layer, as pool_param={...}."""
        name = self.writer.layer_names.take(f"{self._base}/{suffix or type.lower()}")
        written = {field: value for field, value in settings.items() if value != {}}
        layer = self.writer.net.layer.add(name=name, type=type, **written)
        layer.bottom.extend([bottoms] if isinstance(bottoms, str) else bottoms)
        layer.top.extend(self.writer.blob_names.take(name if k == 0 else f"{name}_{k}") for k in range(tops))
        if arrays:
            self.writer.arrays[name] = [as_float(array) for array in arrays]
        self._mine.append(layer)
        return str(layer.top[0])

    def let_work_in_place(self, blob: str, top: str) -> None:
        """Let the layer written last, which gives `top`, write its result over its bottom."""
        layer = self._mine[-1]
        assert list(layer.bottom) == [blob]
        assert list(layer.top) == [top]
        layer.top[0] = blob

    def last_tops(self) -> list[str]:
        """All tops of the layer written last."""
        return list(self._mine[-1].top)

    def parameter(self, values: Array, name: str = "constant") -> str:
        """A blob with constant values; one for all that ask for the same."""
        known = values.shape, as_float(values).tobytes()
        if known in self.writer.parameters:
            return self.writer.parameters[known]
        layer_name = self.writer.layer_names.take(name)
        top = self.writer.blob_names.take(layer_name)
        layer = self.writer.net.layer.add(name=layer_name, type="Parameter", top=[top])
        layer.parameter_param.shape.dim.extend(values.shape)
        self.writer.arrays[layer_name] = [as_float(values)]
        self.writer.parameters[known] = top
        return top

    def result(self, blob: str, index: int = 0) -> None:
        """Say which blob output `index` is. The layer that gives it is named as the node, its blob as the value."""
        value = self.node.outputs[index]
        if not value:
            return
        source = next((layer for layer in self._mine if blob in layer.top), None)  # works in place: the first
        if source is None or blob in self.writer.blobs.values():
            self.writer.blobs[value] = blob
            return
        writer, layer_name = self.writer, ""
        name = writer.blob_name(value)
        if not name and self.node.titled and index == 0:
            name = layer_name = writer.blob_names.take(self._base, writer.layer_names)
        elif not name:
            name = writer.blob_names.take(f"{self._base}_{index}" if self.node.titled else value)
        reshaped = self.writer.reshaped
        for layer in self._mine:
            for top in [top for top in layer.top if top in reshaped]:
                origin, shape = reshaped.pop(top)
                reshaped[name if top == blob else top] = name if origin == blob else origin, shape
            for names in (layer.bottom, layer.top):
                for k, old in enumerate(names):
                    names[k] = name if old == blob else old
        self.writer.blobs[value] = name
        if index == 0:
            old = source.name
            source.name = layer_name or self.writer.layer_names.take(self._base)
            if old in self.writer.arrays:
                self.writer.arrays[source.name] = self.writer.arrays.pop(old)

    # -- layers that many operators need ---------------------------------------------------------------------
    def reshape(self, blob: str, old: Sequence[int], new: Sequence[int], suffix: str = "reshape") -> str:
        """The blob in another shape. A first axis that stays is not written down, so that the batch may change."""
        blob, old = self.writer.reshaped.get(blob, (blob, tuple(old)))
        if tuple(old) == tuple(new):
            return blob
        dims = list(new)
        alike = 0
        while alike < min(len(old), len(new)) and old[alike] == new[alike]:
            dims[alike] = 0
            alike += 1
        if alike < len(new):
            dims[alike] = -1
        elif dims and alike < len(old):  # the last axes, of extent 1, go
            dims[-1] = -1
        found = self.layer("Reshape", blob, suffix, reshape_param={"shape": {"dim": dims}})
        self.writer.reshaped[found] = blob, tuple(old)
        return found

    def permute(self, blob: str, shape: Sequence[int], order: Sequence[int], suffix: str = "permute") -> str:
        """The blob with its axes in another order; a Reshape where only axes of extent 1 move."""
        if list(order) == sorted(order):
            return blob
        new = [shape[axis] for axis in order]
        long = [axis for axis in order if shape[axis] != 1]
        if long == sorted(long):
            return self.reshape(blob, shape, new, suffix)
        if not self.bvlc:
            return self.layer("Permute", blob, suffix, permute_param={"order": order})
        now, at = list(range(len(order))), tuple(shape)
        for k, axis in enumerate(order):
            place, width = now.index(axis), 1
            while k + width < len(order) and now[place + width : place + width + 1] == [order[k + width]]:
                width += 1
            before, there, rest = now[k:place], now[place : place + width], now[place + width :]
            sizes = [math.prod(shape[axis] for axis in part) for part in (now[:k], before, there, rest)]
            now = [*now[:k], *there, *before, *rest]
            if min(sizes[1:3]) > 1:
                blob, at = self._exchanged(blob, at, sizes, suffix)
        return self.reshape(blob, at, new, f"{suffix}_back")

    def _exchanged(
        self, blob: str, shape: Sequence[int], sizes: Sequence[int], suffix: str
    ) -> tuple[str, tuple[int, ...]]:
        """A blob of four groups of axes with the middle ones exchanged, and its shape: cut in pieces, put together."""
        outer, first, second, inner = sizes
        apart = self.reshape(blob, shape, sizes, f"{suffix}_groups")
        if first <= second:
            pieces = self.pieces(apart, 1, first, suffix)
            return self.layer("Concat", pieces, suffix, concat_param={"axis": 3}), (outer, 1, second, first * inner)
        pieces = self.pieces(apart, 2, second, suffix)
        return self.layer("Concat", pieces, suffix), (outer, second * first, 1, inner)

    def pieces(self, blob: str, axis: int, count: int, suffix: str = "") -> list[str]:
        """A blob cut into `count` pieces of extent 1 along an axis. Raises NoForm where these are too many."""
        if count > _MOST_PIECES:
            raise NoForm(f"BVLC's layers would do that in {count} pieces: leave out --bvlc, or export a smaller input")
        settings = {} if axis == 1 else {"axis": axis}
        self.layer("Slice", blob, f"{suffix}_pieces".strip("_"), tops=count, slice_param=settings)
        return self.last_tops()

    def reverse(self, blob: str, axis: int, count: int, suffix: str = "") -> str:
        """The blob with `count` elements of an axis in reverse order."""
        if not self.bvlc:
            return self.layer("Reverse", blob, suffix, reverse_param={"axis": [axis]})
        pieces = self.pieces(blob, axis, count, suffix)
        return self.layer("Concat", pieces[::-1], suffix, concat_param={} if axis == 1 else {"axis": axis})

    def linear(self, blob: str, scale: float = 1.0, shift: float = 0.0, power: float = 1.0, suffix: str = "") -> str:
        """(shift + scale * blob) ^ power."""
        settings = {"scale": scale, "shift": shift, "power": power}
        given = {name: value for name, value in settings.items() if value != (0.0 if name == "shift" else 1.0)}
        return self.layer("Power", blob, suffix, power_param=given) if given else blob

    def eltwise(self, blobs: Sequence[str], operation: str, suffix: str = "", coeff: Sequence[float] = ()) -> str:
        """PROD, SUM or MAX of blobs of one shape."""
        settings: dict[str, Any] = {"operation": operation}
        return self.layer("Eltwise", blobs, suffix, eltwise_param=settings | ({"coeff": coeff} if coeff else {}))
