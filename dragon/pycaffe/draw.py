"""Pictures of nets: a graph in the language of graphviz, whose program `dot` makes SVG, PNG or PDF of it.

Blobs are octagons and layers boxes. An in-place layer stands beside its blob, with one edge to it and one back.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dragon.bases.convolution import ConvolutionBase
from dragon.bases.registry import class_of, find_class
from dragon.bases.weighted import Weighted
from dragon.drawing.boxes import window_text
from dragon.errors import EngineError, UsageError
from dragon.files.atomic import write_atomically
from dragon.files.pictures import picture_format
from dragon.graph.definition import filter_net
from dragon.layers.pooling import Pooling
from dragon.proto import caffe_pb2 as caffe_pb2  # scripts reach it as caffe.draw.caffe_pb2
from dragon.proto import dragon_pb2 as pb
from dragon.proto.upgrade import upgrade_net
from dragon.pycaffe.missing_names import missing_name

__all__ = [
    "BLOB_STYLE",
    "FORMATS",
    "LAYER_STYLE_DEFAULT",
    "NEURON_LAYER_STYLE",
    "Graph",
    "choose_color_by_layertype",
    "draw_net",
    "draw_net_to_file",
    "get_edge_label",
    "get_layer_label",
    "get_layer_lr_mult",
    "get_pooling_types_dict",
    "get_pydot_graph",
]

FORMATS = ("svg", "png", "pdf", "dot")
_BITMAPS = ("png", "jpg", "jpeg", "gif")
_MORE_FORMATS = (*_BITMAPS, "gv", "ps", "eps")
_MAX_SIDE = 12_000  # pixels of a bitmap's side; graphviz and viewers fail beyond some 30,000
_DPI = 96
# graphviz's attributes of boxes, of which scripts for pycaffe change some; a neuron layer is one in place
LAYER_STYLE_DEFAULT = {"shape": "box", "fillcolor": "#6495ED", "style": "filled"}
NEURON_LAYER_STYLE = {"shape": "box", "fillcolor": "#90EE90", "style": "filled"}
BLOB_STYLE = {"shape": "octagon", "fillcolor": "#E0E0E0", "style": "filled"}
_COLORS = {  # by the layers' `family`
    "convolution": "#FF5050",
    "pooling": "#FF9900",
    "inner product": "#CC33FF",
    "normalisation": "#66CCFF",
    "scale": "#99DDFF",
}


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


class Graph:
    """A directed graph, to be drawn by graphviz. rankdir: direction of the edges, LR, TB, RL or BT."""

    def __init__(self, name: str, rankdir: str = "LR") -> None:
        self.name = name
        self.rankdir = rankdir
        self.nodes: dict[str, dict[str, str]] = {}
        self.edges: list[tuple[str, str, str]] = []
        self.beside: dict[str, list[str]] = {}

    def node(self, name: str, attributes: dict[str, str]) -> None:
        """Add a node with graphviz's attributes; the first one of a name counts."""
        self.nodes.setdefault(name, attributes)

    def edge(self, source: str, target: str, label: str = "") -> None:
        """Add an edge between two nodes."""
        self.edges.append((source, target, label))

    def put_beside(self, name: str, other: str) -> None:
        """Draw the node `other` in the rank of `name`, so that it does not lengthen the graph."""
        self.beside.setdefault(name, []).append(other)

    def to_string(self, largest: float | None = None) -> str:
        """The graph in the language of dot. largest: longest side in inches, to which a larger graph is shrunk."""
        lines = [f"digraph {_quoted(self.name)} {{", f"  rankdir={self.rankdir}; ranksep=0.3;"]
        if largest is not None:
            lines.append(f'  dpi={_DPI}; size="{largest:g},{largest:g}";')
        for name, attributes in self.nodes.items():
            inside = ", ".join(f"{k}={_quoted(v)}" for k, v in attributes.items())
            lines.append(f"  {_quoted(name)} [{inside}];")
        for source, target, label in self.edges:
            shown = f" [label={_quoted(label)}]" if label else ""
            lines.append(f"  {_quoted(source)} -> {_quoted(target)}{shown};")
        for name, others in self.beside.items():
            lines.append(f"  {{rank=same; {'; '.join(map(_quoted, [name, *others]))}}}")
        return "\n".join([*lines, "}\n"])

    def create_png(self) -> bytes:
        """The content of a PNG file, which notebooks show. Raises EngineError if graphviz fails."""
        return self.create("png")

    def write_png(self, path: str | Path) -> bool:
        """Write a PNG file, and return True, as pydot does. Raises UsageError or EngineError."""
        _write(path, self.create("png"))
        return True

    def create(self, format: str = "png", program: str = "dot") -> bytes:
        """The content of a picture file. Raises UsageError for an unknown format, EngineError if graphviz fails."""
        if format in ("dot", "gv"):
            return self.to_string().encode()
        if format not in (*FORMATS, *_MORE_FORMATS):
            raise UsageError(f'"{format}" is no picture format; {", ".join(FORMATS[:-1])} and {FORMATS[-1]} are')
        found = shutil.which(program)
        if found is None:
            raise EngineError(f"graphviz's program {program} is missing: install graphviz, or write a .dot file")
        text = self.to_string(_MAX_SIDE / _DPI if format in _BITMAPS else None)
        try:
            made = subprocess.run(
                [found, f"-T{format}"], input=text.encode(), capture_output=True, check=True, timeout=300
            )
        except subprocess.CalledProcessError as error:
            reason = error.stderr.decode(errors="replace").strip().splitlines()[:1]
            raise EngineError(f"{program} -T{format} failed: {reason[0] if reason else error.returncode}") from None
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EngineError(f"{program} cannot be run: {error}") from None
        return made.stdout


def choose_color_by_layertype(layertype: str) -> str:
    """The colour of a layer's box, such as "#FF5050", by the name of its type; the default one for others."""
    kind = find_class(layertype)
    return _COLORS.get(kind.family if kind is not None else "", LAYER_STYLE_DEFAULT["fillcolor"])


def get_pooling_types_dict() -> dict[int, str]:
    """The names of the methods of pooling, such as "MAX", by their numbers."""
    return {number: name for name, number in pb.PoolingParameter.PoolMethod.items()}


def get_layer_lr_mult(layer: pb.LayerParameter) -> float | list[float]:
    """The multiplier of the learning rate of a layer's parameters; a list where it gives several, 1 where none.

    Raises ValueError for a type that has no weights, as pycaffe does.
    """
    if not issubclass(class_of(layer), Weighted):
        raise ValueError(f"a layer of type {layer.type} has no multiplier of the learning rate")
    multipliers = [p.lr_mult for p in layer.param] or [1.0]
    return multipliers if len(multipliers) > 1 else multipliers[0]


def get_layer_label(layer: pb.LayerParameter, rankdir: str = "LR", display_lrm: bool = False) -> str:
    """The text in a layer's box: name, type, kernel, and with display_lrm the multipliers of the learning rate."""
    separator = " " if rankdir in ("TB", "BT") else "\n"
    lines = [layer.name, f"({layer.type})"]
    kind = class_of(layer)
    if issubclass(kind, ConvolutionBase):
        p = layer.convolution_param
        lines.append(f"kernel size: {window_text(list(p.kernel_size), p.kernel_h, p.kernel_w, 1)}")
        lines.append(f"stride: {window_text(list(p.stride), p.stride_h, p.stride_w, 1)}")
        lines.append(f"pad: {window_text(list(p.pad), p.pad_h, p.pad_w, 0)}")
    elif issubclass(kind, Pooling):
        q = layer.pooling_param
        name = pb.PoolingParameter.PoolMethod.Name(q.pool)
        lines[1] = f"({name} Pooling)"
        if q.global_pooling:
            lines.append("global")
        else:
            lines.append(
                f"kernel size: {window_text(list(q.kernel_shape.dim) or [q.kernel_size], q.kernel_h, q.kernel_w, 0)}"
            )
            lines.append(f"stride: {window_text(list(q.stride_shape.dim) or [q.stride], q.stride_h, q.stride_w, 1)}")
            lines.append(f"pad: {window_text(list(q.pad_shape.dim) or [q.pad], q.pad_h, q.pad_w, 0)}")
    if display_lrm and issubclass(kind, Weighted):
        multipliers = get_layer_lr_mult(layer)
        each = multipliers if isinstance(multipliers, list) else [multipliers]
        lines.append("lr mult: " + ", ".join(f"{m:g}" for m in each))
    return separator.join(lines)


def _only_in(layer: pb.LayerParameter) -> str:
    """``TRAIN only`` for a layer whose rules name a single phase."""
    included = {r.phase for r in layer.include if r.HasField("phase")}
    excluded = {r.phase for r in layer.exclude if r.HasField("phase")}
    phases = included or ({pb.TRAIN, pb.TEST} - excluded if excluded else set())
    return f"{pb.Phase.Name(phases.pop())} only" if len(phases) == 1 else ""


def get_edge_label(layer: pb.LayerParameter) -> str:
    """The label of the edges out of a layer: its number of outputs, or the batch size of a data layer."""
    kind = class_of(layer)
    if "data_param" in kind.settings:
        return f"Batch {layer.data_param.batch_size}"
    return str(kind.product_param(layer).num_output) if issubclass(kind, Weighted) else ""


def get_pydot_graph(
    caffe_net: pb.NetParameter,
    rankdir: str,
    label_edges: bool = True,
    phase: int | None = None,
    display_lrm: bool = False,
) -> Graph:
    """The graph of a net in one phase; without a phase, of all layers, with the phase of those that are in one only.

    rankdir: LR, TB (or UD), RL or BT. Raises UsageError for another.
    """
    rankdir = "TB" if rankdir == "UD" else rankdir  # graphviz takes it so, and DIGITS's scripts say it
    if rankdir not in ("LR", "TB", "RL", "BT"):
        raise UsageError(f'rankdir must be LR, TB, RL or BT, got "{rankdir}"')
    net = upgrade_net(caffe_net)
    if phase is not None:
        state = pb.NetState()
        state.CopyFrom(net.state)
        state.MergeFrom(pb.NetState(phase=pb.TRAIN if phase == pb.TRAIN else pb.TEST))
        net = filter_net(net, state)
    graph = Graph(net.name or "Net", rankdir)
    for layer in net.layer:
        node = f"{layer.name}_{layer.type}"
        if node in graph.nodes:  # one for each phase
            node += f"_{sum(other.startswith(node) for other in graph.nodes)}"
        in_place = len(layer.bottom) == 1 == len(layer.top) and layer.bottom[0] == layer.top[0]
        style = NEURON_LAYER_STYLE if in_place else LAYER_STYLE_DEFAULT
        color = _COLORS.get(class_of(layer).family, style["fillcolor"])
        label = get_layer_label(layer, rankdir, display_lrm)
        if phase is None and _only_in(layer):
            label += f"\n{_only_in(layer)}"
        graph.node(node, {**style, "fillcolor": color, "label": label})
        for bottom in layer.bottom:
            graph.node(f"{bottom}_blob", {**BLOB_STYLE, "label": bottom})
            graph.edge(f"{bottom}_blob", node)
        if in_place:
            graph.put_beside(f"{layer.bottom[0]}_blob", node)
        for top in layer.top:
            graph.node(f"{top}_blob", {**BLOB_STYLE, "label": top})
            graph.edge(node, f"{top}_blob", get_edge_label(layer) if label_edges else "")
    return graph


def draw_net(
    caffe_net: pb.NetParameter,
    rankdir: str,
    ext: str = "png",
    phase: int | None = None,
    display_lrm: bool = False,
) -> bytes:
    """The content of a picture file of a net, in the format `ext`. Raises UsageError or EngineError."""
    return get_pydot_graph(caffe_net, rankdir, phase=phase, display_lrm=display_lrm).create(ext)


def draw_net_to_file(
    caffe_net: pb.NetParameter,
    filename: str | Path,
    rankdir: str = "LR",
    phase: int | None = None,
    display_lrm: bool = False,
) -> None:
    """Write the picture of a net, in the format of the name's ending (svg, png, pdf, dot).

    Raises UsageError or EngineError.
    """
    ext = picture_format(filename, FORMATS, _MORE_FORMATS)
    _write(filename, draw_net(caffe_net, rankdir, ext, phase, display_lrm))


def _write(filename: str | Path, picture: bytes) -> None:
    try:
        write_atomically(filename, picture)
    except OSError as error:
        raise UsageError(f"{filename}: cannot be written: {error.strerror}") from None


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        raise missing_name("draw", name, __all__)
