"""A net as a ModelProto of ONNX: forms of its layers, and names of its values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dragon.bases.rcnn_settings import meant_type
from dragon.errors import UsageError
from dragon.export.onnx.batch import growing_axes, region_axes, resize_batch
from dragon.export.onnx.forms import NoFormError, find, reason
from dragon.export.onnx.graph import Graph, Operation, Subgraph, differing
from dragon.export.refused import Refused, refuse
from dragon.files.onnx_package import onnx_module
from dragon.graph.net import Net
from dragon.graph.node import Node
from dragon.graph.overwriting import check_values_last
from dragon.graph.own_phase import trains_always
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.surgery.values import free_name
from dragon.version import __version__

__all__ = [
    "NEWEST_OPSET",
    "OLDEST_OPSET",
    "OPSET",
    "check_types",
    "model_of",
    "output_names",
]

OLDEST_OPSET, OPSET, NEWEST_OPSET = 13, 17, 23
# the file format that came with an opset: older runtimes refuse files of newer formats
_FORMATS = {13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11}
_BATCH, _REGIONS = "N", "R"  # axes of any extent

Prepare = Callable[[Graph, str, str], str]  # with an input's name and value: the value that the net reads


def check_types(definition: Definition[pb.NetParameter]) -> None:
    """Raise UsageError that names all layers whose types have no form in ONNX, and what to do."""
    types = [(i, layer, meant_type(layer)) for i, layer in enumerate(definition.message.layer)]
    _refuse(
        [
            (f'"{layer.name}" ({layer.type})', reason(name), definition.position(i))
            for i, layer, name in types
            if not _is_known(name)
        ]
    )


def _is_known(type_name: str) -> bool:
    return type_name == "Input" or find(type_name) is not None


def _refuse(found: Sequence[Refused]) -> None:
    if found:
        count = f"{len(found)} {'layer has' if len(found) == 1 else 'layers have'}"
        raise refuse(UsageError, found, f"{count} no form in ONNX")


def model_of(
    net: Net,
    opset: int = OPSET,
    *,
    dynamic_batch: bool = False,
    prepare: Mapping[str, Prepare] | None = None,
) -> Any:
    """The ModelProto of a net in phase TEST.

    prepare: by the name of an input, what adds its preprocessing. Raises UsageError for an opset out of range, and for
    layers without a form, all together; ShapeError where `dynamic_batch` cannot be.
    """
    onnx = onnx_module()
    if not OLDEST_OPSET <= opset <= NEWEST_OPSET:
        raise UsageError(f"opset {opset} is out of range: {OLDEST_OPSET} to {NEWEST_OPSET}")
    check_values_last(net.nodes, net.outputs)
    growing = growing_axes(net) if dynamic_batch else region_axes(net)
    graph, names, refused = _written(net, opset, growing, prepare or {})
    if dynamic_batch and not refused:
        refused = _fixed_to_the_batch(net, graph, lambda: _written(net, opset, growing, prepare or {})[0])
    _refuse(refused)
    names.finish(graph)
    return _model(onnx, net, graph, names, _BATCH if dynamic_batch else _REGIONS)


def _written(
    net: Net, opset: int, growing: Mapping[int, frozenset[int]], prepare: Mapping[str, Prepare]
) -> tuple[Graph, _Names, list[Refused]]:
    graph = Graph(opset, growing)
    graph.current = {name: name for name in net.inputs}
    for name, add in prepare.items():
        graph.layer = f"{name}/preprocessing"
        graph.current[name] = add(graph, name, name)
    names, refused = _Names(net), list[Refused]()
    for node in net.nodes:
        if node.layer.is_input:
            continue
        graph.layer = node.name
        try:
            _write(graph, node, names)
        except NoFormError as error:
            refused.append((_shown(node), str(error), node.position))
            graph.current |= dict.fromkeys(node.top_names, "")  # the file is not written: go on, to name the others
    return graph, names, refused


def _shown(node: Node) -> str:
    return f'"{node.name}" ({node.layer.type})'


def _fixed_to_the_batch(net: Net, graph: Graph, write: Callable[[], Graph]) -> list[Refused]:
    """Layers whose form has a number that follows from the batch: the form is made for a larger one, and compared."""
    resize = resize_batch(net)
    try:
        resize(1)
        net.reshape()
        names = differing(graph, write())
    finally:
        resize(0)
        net.reshape()
    why = "computes with the number of items: leave out dynamic-batch"
    return [(_shown(node), why, node.position) for node in net.nodes if node.name in names]


def _write(graph: Graph, node: Node, names: _Names) -> None:
    form = find(node.layer.type)
    if form is None:
        raise NoFormError(reason(node.layer.type))
    if why := trains_always(node.layer):
        raise NoFormError(why)
    values = form(graph, node)
    for name, value in zip(node.top_names, [values] if isinstance(values, str) else values, strict=True):
        graph.current[name] = value
        names.made(value, name, node.name)


def output_names(net: Net) -> dict[str, str]:
    """What the outputs of a net are called in its file, by blob: as the blob, unless an input has that name.

    An input that layers change in place is both; there the output is called BLOB/LAYER after the last of them.
    """
    taken = {*net.inputs, *net.outputs}
    found = {}
    for name in net.outputs:
        found[name] = name
        if name in net.inputs:
            *_, last = (node.name for node in net.nodes if name in node.top_names)
            found[name] = free_name(f"{name}/{last}", taken)
            taken.add(found[name])
    return found


class _Names:
    """What values are called in the file: blobs by their own names, other values by the layer and the operator.

    A blob that layers change in place has its name after the last of them.
    """

    def __init__(self, net: Net) -> None:
        self.net = net
        self.tops: dict[str, tuple[str, str]] = {}  # of a value: blob and layer
        self.final: dict[str, str] = {name: name for name in net.inputs}
        self.outputs = output_names(net)
        self.taken = {*net.inputs, *net.outputs, *self.outputs.values()}

    def made(self, value: str, blob: str, layer: str) -> None:
        """Note that a value is a top, unless it is one already."""
        self.tops.setdefault(value, (blob, layer))

    def finish(self, graph: Graph) -> None:
        """Name all values; add an Identity for each output that is an input, a constant, or another output as well."""
        graph.layer = "outputs"
        for blob, name in self.outputs.items():
            value = graph.current[blob]
            if value in self.final or value in graph.constants:
                graph.operations.append(Operation("Identity", [value], [f"{name}:output"], {}, name))
                value = f"{name}:output"
            self.final[value] = name
        for name, value in graph.current.items():
            if value not in self.final and self.tops.get(value, ("", ""))[0] == name and name not in self.taken:
                self._name(value, name)
        for value in (v for operation in graph.operations for v in _values(operation)):
            if value not in self.final:
                blob, layer = self.tops.get(value, ("", ""))
                self._name(value, f"{blob}/{layer}" if blob else value.rpartition(":")[0])
        for value in graph.constants:
            if value not in self.final:
                self._name(value, value.rpartition(":")[0])

    def _name(self, value: str, wanted: str) -> None:
        name = free_name(wanted, self.taken)
        self.taken.add(name)
        self.final[value] = name


def _values(operation: Operation) -> list[str]:
    """All values that an operation makes, also inside."""
    found = list(operation.outputs)
    for body in operation.attributes.values():
        if isinstance(body, Subgraph):
            found += [name for name, _ in body.inputs]
            found += [value for inner in body.operations for value in _values(inner)]
    return found


def _model(onnx: Any, net: Net, graph: Graph, names: _Names, growing: str) -> Any:
    helper, float_type = onnx.helper, onnx.TensorProto.FLOAT
    taken: set[str] = set()

    def info(blob_name: str, name: str) -> Any:
        blob = net.blobs[blob_name]
        dims = [growing if graph.grows(blob, axis) else dim for axis, dim in enumerate(blob.shape)]
        return helper.make_tensor_value_info(name, float_type, dims)

    def output(blob_name: str, name: str) -> Any:
        unknown = any(node.layer.host_only and blob_name in node.top_names for node in net.nodes)
        dims = [None] * net.blobs[blob_name].ndim if unknown else None
        return info(blob_name, name) if dims is None else helper.make_tensor_value_info(name, float_type, dims)

    used = {value for operation in graph.operations for value in _reads(operation)}
    tensors = [
        onnx.numpy_helper.from_array(array, names.final[value])
        for value, array in graph.constants.items()
        if value in used
    ]
    nodes = [_node(onnx, operation, names.final, taken) for operation in graph.operations]
    inputs, outputs = [info(name, name) for name in net.inputs], [output(*pair) for pair in names.outputs.items()]
    made = helper.make_graph(nodes, net.name or "net", inputs, outputs, tensors)
    model = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", graph.opset)], producer_name="dragon", producer_version=__version__
    )
    model.ir_version = _FORMATS[graph.opset]
    return model


def _reads(operation: Operation) -> list[str]:
    found = list(operation.inputs)
    for body in operation.attributes.values():
        if isinstance(body, Subgraph):
            found += [value for inner in body.operations for value in _reads(inner)]
    return found


def _node(onnx: Any, operation: Operation, final: Mapping[str, str], taken: set[str]) -> Any:
    helper = onnx.helper
    attributes = {}
    for name, value in operation.attributes.items():
        if isinstance(value, Subgraph):
            float_type = onnx.TensorProto.FLOAT
            value = helper.make_graph(
                [_node(onnx, inner, final, taken) for inner in value.operations],
                name,
                [helper.make_tensor_value_info(final[one], float_type, list(shape)) for one, shape in value.inputs],
                [helper.make_tensor_value_info(final[one], float_type, None) for one in value.outputs],
            )
        elif name == "to":
            value = getattr(onnx.TensorProto, value)
        attributes[name] = value
    wanted = operation.layer if operation.layer not in taken else f"{operation.layer}/{operation.kind}"
    name = free_name(wanted, taken)
    taken.add(name)
    inputs = [final[value] if value else "" for value in operation.inputs]
    outputs = [final[value] for value in operation.outputs]
    return helper.make_node(operation.kind, inputs, outputs, name=name, **attributes)
