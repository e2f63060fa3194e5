"""Parameters of nets in different forms: matched by name between split and merged, and copied from one to the other."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.message import Message

from dragon.bases.batch_statistics import BatchStatistics
from dragon.bases.registry import class_of
from dragon.errors import UsageError, nearest
from dragon.graph.chains import Graph, Link, phases
from dragon.graph.net import Net
from dragon.memory.blob import Blob
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import format_text

__all__ = ["as_inputs", "copy_parameters", "different_fillers", "parameters"]


def as_inputs(net: pb.NetParameter, shapes: Mapping[str, tuple[int, ...]], phase: int) -> pb.NetParameter:
    """The net of one phase with an Input layer in place of each data layer. shapes: shape of each top by name."""
    result = pb.NetParameter()
    result.CopyFrom(net)
    del result.layer[:]
    for layer in net.layer:
        if phase not in phases(layer):
            continue
        if not class_of(layer).reads_data:
            result.layer.add().CopyFrom(layer)
            continue
        source = result.layer.add(name=layer.name, type="Input", top=layer.top)
        for top in layer.top:
            source.input_param.shape.add(dim=shapes[top])
    return result


def parameters(net: Net) -> dict[str, Blob]:
    """Learned blobs by names that are the same for split and merged forms: LAYER/INDEX.

    Gamma and beta of a normalisation are LAYER/gamma and LAYER/beta, whether they are its own or those of its Scale.
    """
    return {name: blob for name, (_, _, blob) in _learned(net).items()}


def _fillers(net: Net) -> dict[str, str]:
    """The filler of each learned blob as text, by the names of `parameters`; defaults are written out."""
    found = {}
    for name, (index, kind, _) in _learned(net).items():
        filler = _filler(net.nodes[index].layer.param, kind)
        found[name] = "" if filler is None else format_text(filler)
    return found


def _learned(net: Net) -> dict[str, tuple[int, str, Blob]]:
    """Index of the layer, "gamma", "beta" or the index within the layer, and blob, by the name of the parameter."""
    found: dict[str, tuple[int, str, Blob]] = {}
    graph = Graph(net.nodes)
    normaliser: dict[int, str] = {}  # index of a Scale -> name of the layer that it scales
    for i, layer in enumerate(net.layers):
        if isinstance(layer, BatchStatistics):
            if layer.affine is not None:
                for kind, blob in zip(("gamma", "beta"), layer.affine, strict=True):
                    found[f"{layer.name}/{kind}"] = (i, kind, blob)
            elif (scale := graph.chain(i, (Link.NORM, Link.SCALE)).get(Link.SCALE)) is not None:
                normaliser[scale] = layer.name
            continue
        kinds = ("gamma", "beta") if i in normaliser else tuple(str(k) for k in range(len(layer.blobs)))
        for kind, (k, blob) in zip(kinds, enumerate(layer.blobs), strict=False):
            if k not in layer.buffers:
                found[f"{normaliser.get(i, layer.name)}/{kind}"] = (i, kind, blob)
    return found


_FILLERS = {
    "gamma": ("slope_filler", "scale_filler", "filler"), "beta": ("bias_filler",), "0": ("weight_filler", "filler"),
    "1": ("bias_filler",),
}  # fmt: skip
_CONSTANT = {"gamma": 1.0, "beta": 0.0}  # where a normalisation names no filler


def _filler(layer: pb.LayerParameter, kind: str) -> pb.FillerParameter | None:
    """The filler of a layer's blob; None where the layer has no such field."""
    for settings in sorted(class_of(layer).settings, key=lambda name: not layer.HasField(name)):  # those given first
        message = getattr(layer, settings)
        if not isinstance(message, Message):
            continue
        for field in _FILLERS.get(kind, ()):
            if field in message.DESCRIPTOR.fields_by_name:
                filler = pb.FillerParameter()
                filler.CopyFrom(getattr(message, field))
                if kind in _CONSTANT and not message.HasField(field):
                    filler.value = _CONSTANT[kind]
                filler.value, filler.type = filler.value, filler.type  # written out, so that texts compare
                return filler
    return None


def different_fillers(a: Net, b: Net) -> list[str]:
    """Names of the parameters for which two nets that have the same ones name different fillers."""
    first, second = _fillers(a), _fillers(b)
    return [name for name in second if first.get(name) != second[name]]


def copy_parameters(source: Net, target: Net) -> list[str]:
    """Copy the learned values of `source` to `target`, except where the two name different fillers.

    A different filler is a difference that somebody wants to see; returns the names of what kept its own start. Raises
    UsageError unless both have the same parameters.
    """
    mine, theirs = parameters(target), parameters(source)
    for key in [*mine, *theirs]:
        if key not in mine or key not in theirs:
            net, names = (source, theirs) if key in mine else (target, mine)
            raise UsageError(f'net "{net.name}" has no parameter "{key}"{nearest(key, names)}')
    own = different_fillers(source, target)
    for key, blob in mine.items():
        if blob.count != theirs[key].count:
            raise UsageError(f'parameter "{key}": shape {blob.shape} in one net, {theirs[key].shape} in the other')
        if key not in own:
            blob.data[...] = theirs[key].peek().reshape(blob.shape)
    return own
