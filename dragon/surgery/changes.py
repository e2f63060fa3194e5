"""Changes to the settings of chosen layers: fillers, biases, any field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.bases.batch_statistics import normalization_of
from dragon.bases.fillers import FILLERS, unknown_filler
from dragon.bases.registry import class_of
from dragon.bases.weighted import Weighted
from dragon.errors import UsageError, nearest
from dragon.normalization.settings import Form
from dragon.proto import dragon_pb2 as pb
from dragon.surgery.biases import Bias, add_bias, drop_bias, give_zero_bias, gives_channels, has_bias
from dragon.surgery.fields import set_fields, set_layers_fields
from dragon.surgery.learning import filler_fields
from dragon.surgery.model import Model, Note, silent_note
from dragon.surgery.normalisations import PhaseGraphs
from dragon.surgery.selection import Words, select, suitable

__all__ = ["bias", "initialise", "pairs", "set_layers"]

_Fields = Mapping[str, Any]


def initialise(model: Model, layers: Mapping[str, _Fields], note: Note = silent_note) -> Model:
    """A model whose chosen layers are filled in another way.

    layers: for each selector the fields of a filler, which is that of the weight, such as `{type: msra}`; or one such
    mapping for each blob, `{weight: {type: msra}, bias: {value: 0.1}}`. Fillers replace the present ones as a whole.
    Raises UsageError for an unknown filler, and for a layer without such a one that is chosen by its name; a pattern
    leaves it out.
    """
    new = model.copy()
    for word, given in pairs(layers, "initialise"):
        for index in suitable(new.net, word, partial(_lacks, given), note):
            layer = new.net.layer[index]
            known = filler_fields(layer)
            for blob, fields in _by_blob(given, known).items():
                filler = getattr(getattr(layer, class_of(layer).settings[0]), known[blob])
                filler.Clear()
                set_fields(filler, fields, f"{layer.name}.{known[blob]}")
                if filler.type not in FILLERS:
                    raise UsageError(f"{layer.name}.{known[blob]}: {unknown_filler(filler.type)}")
            note(f"initialised {layer.name}")
    return new


def _by_blob(given: _Fields, known: Iterable[str]) -> _Fields:
    """The fields of fillers by blob; those that are given for no blob are of the first that is known."""
    by_blob = bool(given) and all(isinstance(value, Mapping) for value in given.values())
    return given if by_blob else {next(iter(known), ""): given}


def _lacks(given: _Fields, layer: pb.LayerParameter) -> str:
    """Which filler of those that are given a layer lacks, in words; empty if none."""
    known = filler_fields(layer)
    for blob in _by_blob(given, known):
        if blob not in known:
            return f'has no filler "{blob}"{nearest(str(blob), known)}' if known else "has no filler"
    return ""


def bias(model: Model, drop: Words | None = None, add: Words | None = None, note: Note = silent_note) -> Model:
    """A model in which layers with weights lose or get a bias.

    drop, add: selectors; `before_bn` stands for the layers that are alone normalised, so that their bias is useless.
    Weights follow: an added bias is 0, and one that goes is taken off the running mean of the normalisation that alone
    reads the layer, so that TEST stays. Raises UsageError when neither is given, and for other types of layers that are
    chosen by name; a pattern leaves them out.
    """
    if drop is None and add is None:
        raise UsageError("bias takes drop or add")
    new = model.copy()
    for words, wanted in ((drop, False), (add, True)):
        for index in [] if words is None else _weighted(new.net, words, note):
            layer = new.net.layer[index]
            if has_bias(layer) == wanted:
                continue
            if wanted:
                add_bias(layer, Bias())
                give_zero_bias(new, layer)
            else:
                drop_bias(layer)
                if len(new.arrays.get(layer.name, [])) > 1:
                    _take_off_mean(new, layer.name, new.arrays[layer.name][1])
                    new.arrays[layer.name] = new.arrays[layer.name][:1]
            note(f"{'added the bias of' if wanted else 'dropped the bias of'} {layer.name}")
    return new


def _take_off_mean(model: Model, name: str, values: NDArray[Any]) -> None:
    """Lower the running means of the batch normalisations that alone read a layer of this name by its bias."""
    graphs = PhaseGraphs(model.net)
    norms = {norm.index: norm for norm in graphs.normalisations()}
    named = [i for i, layer in enumerate(model.net.layer) if layer.name == name and gives_channels(layer)]
    readers = [graph.reader(index) for index in named for graph in graphs.of(index)]
    for norm in {norms[at].layer.name: norms[at] for at in readers if at in norms}.values():
        arrays, blobs = model.arrays.get(norm.layer.name), norm.settings.blobs
        if not arrays or blobs.mean is None:
            continue
        weight = None if blobs.weight is None else arrays[blobs.weight].astype(np.float64)
        unit = np.ones(arrays[blobs.mean].size)
        factor = norm.settings.averaging.read((unit, unit), weight)[0]  # of what is stored, in what TEST reads
        mean = arrays[blobs.mean].astype(np.float64)
        change = np.divide(values.reshape(-1), factor, out=np.zeros_like(unit), where=factor != 0)
        arrays[blobs.mean] = (mean - change.reshape(mean.shape)).astype(arrays[blobs.mean].dtype)


_BEFORE_BN = "before_bn"


def _weighted(net: pb.NetParameter, words: Words, note: Note) -> list[int]:
    if words == _BEFORE_BN:
        return _before_norms(net)
    return suitable(
        net, words, lambda one: "" if issubclass(class_of(one), Weighted) else "has no bias of its own", note
    )


def _before_norms(net: pb.NetParameter) -> list[int]:
    """Layers with weights whose top is read by one layer alone, which subtracts the mean of each channel.

    Layers of one name, as one for TRAIN and one for TEST, have one bias: none of them counts if one needs it.
    """
    graphs = PhaseGraphs(net)
    found, needed = [], set()
    for index, layer in enumerate(net.layer):
        if issubclass(class_of(layer), Weighted) and graphs.of(index):
            readers = [graph.reader(index) for graph in graphs.of(index)]
            if gives_channels(layer) and all(at is not None and _removes_mean(net.layer[at]) for at in readers):
                found.append(index)
            else:
                needed.add(layer.name)
    return [index for index in found if net.layer[index].name not in needed]


def _removes_mean(layer: pb.LayerParameter) -> bool:
    """Whether a layer subtracts the mean of each channel. SegNet's BN for INFERENCE scales and shifts alone."""
    settings = normalization_of(layer)
    fixed = settings is not None and settings.form is Form.SEGNET and settings.by_running(pb.TRAIN)
    return class_of(layer).removes_mean and not fixed


def set_layers(model: Model, layers: Mapping[str, _Fields], note: Note = silent_note) -> Model:
    """A model in which fields of chosen layers have other values: for each selector the fields of LayerParameter.

    Raises UsageError for an unknown field, a value of another type, and settings that no chosen layer reads.
    """
    new = model.copy()
    for word, given in pairs(layers, "set"):
        chosen = [new.net.layer[index] for index in select(new.net, word)]
        set_layers_fields(chosen, given, word)
        for layer in chosen:
            note(f"set {', '.join(given)} of {layer.name}")
    return new


def pairs(layers: Mapping[str, Any], operation: str, kinds: tuple[type, ...] = (Mapping,)) -> list[tuple[str, Any]]:
    """Selectors with what is given for each. Raises UsageError unless that is of one of the kinds."""
    if not isinstance(layers, Mapping) or not layers:
        raise UsageError(f"{operation} takes names or types of layers with what they get, got {layers!r}")
    for word, given in layers.items():
        if not isinstance(given, kinds):
            raise UsageError(f'{operation} "{word}": expected fields with their values, got {given!r}')
    return [(str(word), given) for word, given in layers.items()]
