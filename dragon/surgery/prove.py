"""Prove that two models compute the same: run both on the same data in float64 and compare all blobs they share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dragon.bases.batch_statistics import averages
from dragon.bases.layer import TEST, TRAIN
from dragon.bases.registry import class_of
from dragon.counting import how_many
from dragon.data.progress import Progress, silent
from dragon.errors import DataError, DragonError, NumericError, ShapeError, UsageError, WeightsError
from dragon.graph.net import Net
from dragon.graph.node import Node
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.surgery.distance import distances, largest_finite
from dragon.surgery.model import Arrays, Model, Note, silent_note
from dragon.surgery.rules import copy_rules
from dragon.surgery.samples import feed
from dragon.surgery.selection import quote

__all__ = ["Difference", "build_net", "check_runs", "give_arrays", "prove", "test_by_running"]

_SEED = 7
_PHASE = {TRAIN: "TRAIN", TEST: "TEST"}
_SPLIT = re.compile(r"_split_\d+$")  # made by the net for blobs with several readers


@dataclass
class Difference:
    """The largest difference of a blob over all batches, and the largest value in it."""

    blob: str
    phase: str
    difference: float
    largest: float
    numbers: bool = True  # whether any value was finite in both nets; true for an empty blob

    @property
    def relative(self) -> float:
        """The difference divided by the largest value, or itself where that is 0."""
        return self.difference / self.largest if self.largest else self.difference


def prove(
    old: Model,
    new: Model,
    phases: tuple[int, ...] = (TEST,),
    batches: int = 2,
    shape: tuple[int, ...] | None = None,
    tolerance: float = 1e-4,
    progress: Progress = silent,
    note: Note = silent_note,
) -> list[Difference]:
    """Compare all blobs that both nets have, in every phase; the differences, none of which exceeds the tolerance.

    Data comes from the net's data layers; an Input gets Gaussian noise, or what its readers can take, and so does
    everything when `shape` (N, C, H, W) is given. After the batches in TRAIN, one in TEST shows whether the running
    statistics agree too. tolerance: largest difference, relative to the blob's largest value. note: told of layers
    without weights, which have what their fillers give, and of blobs without a single number, which prove nothing.
    Raises NumericError for blobs that differ, UsageError for nets without a common blob.
    """
    found: list[Difference] = []
    filled: dict[str, None] = {}
    for phase in phases:
        nets = [build_net(model, phase, shape) for model in (old, new)]
        filled |= dict.fromkeys(name for name in nets[0].params if name not in old.arrays)
        try:
            found += _compare(nets[0], nets[1], _PHASE[phase], batches, progress)
            if phase == TRAIN:
                for net in nets:
                    test_by_running(net)
                found += _compare(nets[0], nets[1], "TEST after TRAIN", 1, progress)
        finally:
            for net in nets:
                net.close()
    worst = max(found, key=lambda d: d.relative, default=None)
    if worst is None:
        raise UsageError("the two nets have no blob in common: nothing proves them equal")
    if np.isinf(worst.relative):
        raise NumericError(f'the nets differ: blob "{worst.blob}" in {worst.phase} has NaN or infinity in only one net')
    if not worst.relative <= tolerance:
        raise NumericError(
            f'the nets differ: blob "{worst.blob}" in {worst.phase} by {worst.difference:g} of {worst.largest:g}'
        )
    if filled and old.arrays:
        note(f"the weights have none for {quote(filled)}: the proof takes what the fillers give")
    empty = quote(difference.blob for difference in found if not difference.numbers)
    if empty:
        note(f"both nets give NaN or infinity alone in {empty}")
    return found


def test_by_running(net: Net) -> None:
    """Let a net of phase TRAIN compute as in TEST: batch normalisations by their running statistics.

    Also those with use_global_stats: false, as the layer for TRAIN of two of one name often has.
    """
    for layer in net.layers:
        layer.phase = TEST
        if averages(layer) and layer.normalization.use_global_stats is False:
            layer.let_phase_decide()


def check_runs(
    model: Model, batches: int = 1, shape: tuple[int, ...] | None = None, progress: Progress = silent
) -> list[str]:
    """Build a model's net and run it, in TRAIN forward and backward, in TEST forward; the names of the phases.

    Data is that of `prove`. Raises DragonError for a net that cannot be built or run, NumericError for a value that is
    not finite; not in TEST without weights, where statistics of 0 make each normalisation multiply by 1 / sqrt(eps).
    """
    for phase in (TRAIN, TEST):
        stage = f"batches in {_PHASE[phase]}"
        net = build_net(model, phase, shape)
        rng = np.random.default_rng(_SEED)
        try:
            for batch in range(batches):
                progress(stage, batch, batches)
                feed(net, rng)
                net.run_forward()
                if phase == TRAIN:
                    net.run_backward()
            progress(stage, batches, batches)
            for name, blob in net.blobs.items() if model.arrays or phase == TRAIN else ():
                if not np.isfinite(blob.peek()).all():
                    raise NumericError(f'blob "{name}" in {_PHASE[phase]} is not finite')
        finally:
            net.close()
    return [_PHASE[phase] for phase in (TRAIN, TEST)]


def build_net(model: Model, phase: int, shape: tuple[int, ...] | None) -> Net:
    """The float64 reference net of a model with its weights; with `shape`, Inputs stand in place of its data layers.

    Raises DragonError for a net that cannot be built, ShapeError for weights that do not fit.
    """
    definition = _with_inputs(model.net, shape) if shape else model.net
    try:
        net = Net(
            Definition(definition, folder=model.folder),
            phase,
            level=model.level,
            stages=model.stages,
            dtype=np.float64,
            engine="numpy",
            seed=_SEED,
        )
    except DragonError as error:
        error.task = "cannot run the net to prove it"
        if isinstance(error, DataError) and not shape:
            error.hint = error.hint or "--shape N,C,H,W runs it on noise of this shape in place of its data"
        raise
    try:
        give_arrays(net, model.arrays, f"--shape {','.join(map(str, shape))}" if shape else "its data")
    except DragonError:
        net.close()
        raise
    return net


def give_arrays(net: Net, arrays: Mapping[str, Arrays], given: str) -> None:
    """Copy arrays to the layers of their names, where the net has these.

    given: what the shapes of the net follow from, for the error. Raises WeightsError for another number of blobs,
    ShapeError for blobs of another size.
    """
    for name, values in arrays.items():
        blobs = net.params.get(name)
        if blobs is None:
            continue
        where = net.layers[net.layer_index(name)].where
        if len(blobs) != len(values):
            raise WeightsError(f"its weights have {how_many(len(values), 'blob')}, expected {len(blobs)}", layer=where)
        for blob, value in zip(blobs, values, strict=True):
            if blob.count != value.size:
                raise ShapeError(
                    f'with {given} layer "{name}" has a blob of {blob.shape}, its weights are {value.shape}'
                )
            blob.data.reshape(-1)[...] = value.reshape(-1)


def _with_inputs(net: pb.NetParameter, shape: tuple[int, ...]) -> pb.NetParameter:
    """The net with an Input in place of every layer that reads data: images first, labels after."""
    new = pb.NetParameter()
    new.CopyFrom(net)
    for layer in new.layer:
        if not class_of(layer).is_source or layer.bottom:
            continue
        plain = pb.LayerParameter(name=layer.name, type="Input", top=layer.top)
        copy_rules(layer, plain)
        for k in range(len(layer.top)):
            plain.input_param.shape.add(dim=shape if k == 0 else shape[:1])
        layer.CopyFrom(plain)
    return new


def _compare(old: Net, new: Net, phase: str, batches: int, progress: Progress) -> list[Difference]:
    stage = f"batches in {phase}"
    rng = np.random.default_rng(_SEED)
    shared = [name for name in old.blobs if name in new.blobs and not _SPLIT.search(name)]
    shared = [name for name in shared if not (_is_lost(old, name, new) or _is_lost(new, name, old))]
    largest = dict.fromkeys(shared, 0.0)
    difference = dict.fromkeys(shared, 0.0)
    values, finite = dict.fromkeys(shared, 0), dict.fromkeys(shared, 0)
    for i in range(batches):
        progress(stage, i, batches)
        feed(old, rng, new)
        for net in (old, new):
            net.run_forward()
        for name in shared:
            a, b = old.blobs[name].peek(), new.blobs[name].peek()
            if a.shape != b.shape:
                raise NumericError(f'the nets differ: blob "{name}" has shape {a.shape} in one, {b.shape} in the other')
            if a.size:
                largest[name] = max(largest[name], largest_finite(a))
                difference[name] = max(difference[name], float(distances(a, b).max()))
                values[name] += a.size
                finite[name] += int((np.isfinite(a) & np.isfinite(b)).sum())
    progress(stage, batches, batches)
    return [
        Difference(name, phase, difference[name], largest[name], bool(finite[name]) or not values[name])
        for name in shared
    ]


def _is_lost(net: Net, blob: str, other: Net) -> bool:
    """Whether the other net lacks the last value of a blob, because it lacks all layers that read this value.

    For instance, an in-place BatchNorm and its Scale, once merged, no longer have a value between them.
    """
    readers: list[Node] = []
    for node in net.nodes:
        readers += [node] if blob in node.bottom_names else []
        if blob in node.top_names:
            readers = []
    return bool(readers) and not any(node.layer.type == "Split" or node.name in other.layer_dict for node in readers)
