"""Pictures of nets: a graph in graphviz's language, and its `dot` program to make SVG, PNG, PDF of it.

Blobs are octagons, layers boxes; an in-place layer hangs on its blob, with an edge there and one back.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from dragon.atomic import write_atomically
from dragon.errors import EngineError, UsageError
from dragon.graph import filter_net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.upgrade import upgrade_net

__all__ = ["Graph", "draw_net", "draw_net_to_file", "get_edge_label", "get_layer_label", "get_pydot_graph"]

_LAYER = {"shape": "box", "style": "filled"}
_BLOB = {"shape": "octagon", "fillcolor": "#E0E0E0", "style": "filled"}
_COLORS = {
    "Convolution": "#FF5050",
    "Deconvolution": "#FF5050",
    "Pooling": "#FF9900",
    "InnerProduct": "#CC33FF",
    "BatchNorm": "#66CCFF",
    "BN": "#66CCFF",
    "Scale": "#99DDFF",
}


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


class Graph:
    """A directed graph as dot text."""

    def __init__(self, name: str, rankdir: str = "LR") -> None:
        self.name = name
        self.rankdir = rankdir
        self.nodes: dict[str, dict[str, str]] = {}
        self.edges: list[tuple[str, str, str]] = []

    def node(self, name: str, attributes: dict[str, str]) -> None:
        self.nodes.setdefault(name, attributes)

    def edge(self, source: str, target: str, label: str = "") -> None:
        self.edges.append((source, target, label))

    def to_string(self) -> str:
        """The graph in dot's language."""
        lines = [f"digraph {_quoted(self.name)} {{", f"  rankdir={self.rankdir};"]
        for name, attributes in self.nodes.items():
            inside = ", ".join(f"{k}={_quoted(v)}" for k, v in attributes.items())
            lines.append(f"  {_quoted(name)} [{inside}];")
        for source, target, label in self.edges:
            shown = f" [label={_quoted(label)}]" if label else ""
            lines.append(f"  {_quoted(source)} -> {_quoted(target)}{shown};")
        return "\n".join([*lines, "}\n"])

    def create(self, format: str = "png", program: str = "dot") -> bytes:
        """The picture. UsageError for a format dot does not know, EngineError when graphviz is missing or fails."""
        if format in ("dot", "gv"):
            return self.to_string().encode()
        if not re.fullmatch(r"[a-z][a-z0-9]*", format):
            raise UsageError(f'"{format}" is no picture format; svg, png and pdf are')
        found = shutil.which(program)
        if found is None:
            raise EngineError(f"graphviz's program {program} is missing: install graphviz, or write a .dot file")
        try:
            made = subprocess.run(
                [found, f"-T{format}"], input=self.to_string().encode(), capture_output=True, check=True, timeout=300
            )
        except subprocess.CalledProcessError as error:
            reason = error.stderr.decode(errors="replace").strip().splitlines()[:1]
            raise EngineError(f"{program} -T{format} failed: {reason[0] if reason else error.returncode}") from None
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EngineError(f"{program} cannot be run: {error}") from None
        return made.stdout


def _window(values: list[int], height: int, width: int, default: int) -> str:
    if height or width:
        return f"{height}x{width}"
    return "x".join(str(v) for v in values) if values else str(default)


def get_layer_label(layer: pb.LayerParameter, rankdir: str = "LR", display_lrm: bool = False) -> str:
    """What a layer's box says: name, type, kernel, and (display_lrm) its multipliers of the learning rate."""
    separator = " " if rankdir in ("TB", "BT") else "\n"
    lines = [layer.name, f"({layer.type})"]
    if layer.type in ("Convolution", "Deconvolution"):
        p = layer.convolution_param
        lines.append(f"kernel size: {_window(list(p.kernel_size), p.kernel_h, p.kernel_w, 1)}")
        lines.append(f"stride: {_window(list(p.stride), p.stride_h, p.stride_w, 1)}")
        lines.append(f"pad: {_window(list(p.pad), p.pad_h, p.pad_w, 0)}")
    elif layer.type == "Pooling":
        q = layer.pooling_param
        name = pb.PoolingParameter.PoolMethod.Name(q.pool)
        lines[1] = f"({name} Pooling)"
        if q.global_pooling:
            lines.append("global")
        else:
            lines.append(f"kernel size: {_window([q.kernel_size], q.kernel_h, q.kernel_w, 0)}")
            lines.append(f"stride: {_window([q.stride], q.stride_h, q.stride_w, 1)}")
            lines.append(f"pad: {_window([q.pad], q.pad_h, q.pad_w, 0)}")
    if display_lrm and layer.type in ("Convolution", "Deconvolution", "InnerProduct"):
        lines.append("lr mult: " + ", ".join(f"{p.lr_mult:g}" for p in layer.param or [pb.ParamSpec()]))
    return separator.join(lines)


def get_edge_label(layer: pb.LayerParameter) -> str:
    """What stands on the way out of a layer: its number of outputs."""
    if layer.type == "Data":
        return f"Batch {layer.data_param.batch_size}"
    if layer.type in ("Convolution", "Deconvolution"):
        return str(layer.convolution_param.num_output)
    if layer.type == "InnerProduct":
        return str(layer.inner_product_param.num_output)
    return ""


def get_pydot_graph(
    caffe_net: pb.NetParameter,
    rankdir: str,
    label_edges: bool = True,
    phase: int | None = None,
    display_lrm: bool = False,
) -> Graph:
    """The graph of a net, of one phase or of all layers. rankdir: LR, TB, RL or BT."""
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
        in_place = len(layer.bottom) == 1 == len(layer.top) and layer.bottom[0] == layer.top[0]
        color = _COLORS.get(layer.type, "#90EE90" if in_place else "#6495ED")
        label = get_layer_label(layer, rankdir, display_lrm)
        graph.node(node, {**_LAYER, "fillcolor": color, "label": label})
        for bottom in layer.bottom:
            graph.node(f"{bottom}_blob", {**_BLOB, "label": bottom})
            graph.edge(f"{bottom}_blob", node)
        for top in layer.top:
            graph.node(f"{top}_blob", {**_BLOB, "label": top})
            graph.edge(node, f"{top}_blob", get_edge_label(layer) if label_edges else "")
    return graph


def draw_net(
    caffe_net: pb.NetParameter,
    rankdir: str,
    ext: str = "png",
    phase: int | None = None,
    display_lrm: bool = False,
) -> bytes:
    """The picture of a net in the format that `ext` names."""
    return get_pydot_graph(caffe_net, rankdir, phase=phase, display_lrm=display_lrm).create(ext)


def draw_net_to_file(
    caffe_net: pb.NetParameter,
    filename: str | Path,
    rankdir: str = "LR",
    phase: int | None = None,
    display_lrm: bool = False,
) -> None:
    """Write the picture of a net; the name's ending says the format (svg, png, pdf, dot)."""
    ext = Path(filename).suffix.lstrip(".").lower()
    if not ext:
        raise UsageError(f"{filename}: the name must end in .svg, .png, .pdf or .dot")
    picture = draw_net(caffe_net, rankdir, ext, phase, display_lrm)
    try:
        write_atomically(filename, picture)
    except OSError as error:
        raise UsageError(f"{filename}: cannot be written: {error.strerror}") from None
