"""Converts an ONNX model to a net with weights."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dragon.counting import how_many
from dragon.errors import PrototxtError, first_line, nearest
from dragon.export.caffe.known import beyond_bvlc
from dragon.importing.context import Context, NetWriter
from dragon.importing.folding import make_graph
from dragon.importing.graph import OWN_GRAPH, Graph, Node, NoForm, UnknownShape
from dragon.importing.names import valid_name
from dragon.importing.onnx_file import read_onnx
from dragon.importing.patterns import join_nodes
from dragon.importing.registry import converters
from dragon.surgery.model import Model

__all__ = ["Imported", "import_onnx"]

_MOST = 2**31 - 1  # values of a blob
_QUANTISED = "it is quantised: import the model as it was before quantisation"
_KNOWN = {
    "QuantizeLinear": _QUANTISED,
    "DequantizeLinear": _QUANTISED,
    "DynamicQuantizeLinear": _QUANTISED,
    "QLinearConv": _QUANTISED,
    "QLinearMatMul": _QUANTISED,
    "ConvInteger": _QUANTISED,
    "MatMulInteger": _QUANTISED,
    "If": OWN_GRAPH,
    "Loop": OWN_GRAPH,
    "GRU": "Caffe has LSTM, and an RNN of another form: use LSTM",
    "RNN": "Caffe's RNN has another form: use LSTM",
    "NonMaxSuppression": "end the model before it, and choose boxes in the program",
    "TopK": "end the model before it, or use ArgMax",
    "Erf": "outside of x / 2 * (1 + erf(x / sqrt 2)) it has no form: use the tanh form of GELU",
    "Einsum": "write it as a linear layer or a convolution",
}


@dataclass
class Imported:
    """A net with its weights, the model that it was made of, and the graph with the blob of each input and output."""

    model: Model
    source: Any  # the ModelProto
    graph: Graph
    blobs: dict[str, str]


def import_onnx(
    path: str | os.PathLike[str],
    batch: int = 1,
    shapes: Mapping[str, Sequence[int]] | None = None,
    bvlc: bool = False,
) -> Imported:
    """The net that computes what the ONNX model in a file computes.

    batch: the first dimension of inputs that leave it open. shapes: of inputs, by name, or by "" for the only input.
    bvlc: only layers and settings that BVLC Caffe has. Raises PrototxtError for a file that cannot be read and for
    operators without a form in Caffe, all in one message, UsageError for open dimensions.
    """
    source = read_onnx(path)
    name = os.fspath(path)
    graph = make_graph(source, name, batch, shapes)
    join_nodes(graph)
    graph.drop_unread()
    net_name = valid_name(
        source.graph.name if source.graph.name not in ("", "main_graph", "torch_jit") else Path(name).stem
    )
    writer = NetWriter(net_name, graph, bvlc)
    missing = [(node, why) for node in graph.nodes if (why := _convert(writer, node))]
    behind = [(node, why) for node, why in missing if isinstance(why, UnknownShape)]
    if missing:
        causes = [one for one in missing if one not in behind] or behind
        rest = (
            f"; {how_many(len(behind), 'node')} behind them could not be looked at"
            if behind and causes != behind
            else ""
        )
        raise PrototxtError(f"{name}: no form in Caffe: {_listed((node, str(why)) for node, why in causes)}{rest}")
    for output, value in graph.outputs.items():
        if value not in writer.blobs and value not in graph.constants:
            raise PrototxtError(f'{name}: no node gives the output "{output}"')
    writer.finish()
    if bvlc:
        _check_bvlc(name, writer)
    blobs = {value: writer.blobs[value] for value in graph.inputs} | writer.output_blobs
    return Imported(Model(writer.net, writer.arrays), source, graph, blobs)


def _convert(writer: NetWriter, node: Node) -> NoForm | None:
    """Write the layers of a node; None, or why it has none."""
    known = converters()
    function = known.get(node.op)
    why: NoForm | None = None
    shapes = [writer.graph.shapes.get(value, ()) for value in node.outputs]
    try:
        if any(math.prod(shape) > _MOST for shape in shapes):
            raise NoForm(f"its result of shape {max(shapes, key=math.prod)} has more values than a blob of Caffe's")
        if function is None:
            near = nearest(node.op, known) if "::" not in node.op else ""
            raise NoForm(_KNOWN.get(node.op) or f"no layer computes it{near}")
        function(Context(writer, node))
    except NoForm as reason:
        why = reason
    except (IndexError, KeyError, TypeError, ValueError, ArithmeticError) as error:
        why = NoForm(f"its attributes or inputs are not those of {node.op}: {first_line(error)}")
    except MemoryError:
        why = NoForm("its weights in Caffe's form need more memory than there is")
    if why is not None:
        for value in node.outputs:
            writer.blobs.setdefault(value, value)  # so that what follows is looked at too
    return why


def _listed(missing: Iterable[tuple[Node, str]]) -> str:
    """All nodes without a form, those of one operator and reason together."""
    groups: dict[tuple[str, str], list[str]] = {}
    for node, why in missing:
        groups.setdefault((node.op, why), []).append(node.name or next((o for o in node.outputs if o), "?"))
    texts = []
    for (op, why), names in groups.items():
        names = list(dict.fromkeys(names))  # several nodes of one module may be called alike
        shown = ", ".join(f'"{name}"' for name in names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        texts.append(f"{op} ({shown}): {why}")
    return "; ".join(texts)


def _check_bvlc(name: str, writer: NetWriter) -> None:
    lacking = [(layer.name, what) for layer in writer.net.layer if (what := beyond_bvlc(layer))]
    if lacking:
        shown = "; ".join(f'layer "{layer}": {", ".join(what)}' for layer, what in lacking)
        raise PrototxtError(f"{name}: BVLC Caffe does not have {shown}; leave out --bvlc for Dragon's layers")
