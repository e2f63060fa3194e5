"""Lint: what looks wrong in the definition of a net with batch normalisation, before it costs a training run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from dragon.bases.layer import Context
from dragon.bases.registry import class_of, find_class, layer_types, unread_settings
from dragon.bases.weighted import Weighted
from dragon.counting import how_many
from dragon.errors import nearest
from dragon.files.paths import find, missing_hint
from dragon.graph.chains import phases
from dragon.graph.own_phase import own_phase
from dragon.layers.dropout import Dropout
from dragon.layers.scale import Scale
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.proto.dialects import DOUBT, doubtful_layers
from dragon.proto.layer_names import name_layers
from dragon.surgery.bottoms import missing_in_a_phase
from dragon.surgery.normalisations import Normalisation, by_name, find_normalisations
from dragon.surgery.refusals import refusals

__all__ = ["Finding", "lint"]


@dataclass
class Finding:
    """A remark about a layer. where: file and line. rule: the short name of the check that made it.

    level: `error` where the net cannot be run, else `remark`.
    """

    where: str
    layer: str
    type: str
    rule: str
    message: str
    level: str

    def __str__(self) -> str:
        what = f"error: {self.message}" if self.level == "error" else self.message
        return f'{self.where}: layer "{self.layer}" ({self.type}): {what} [{self.rule}]'


_Remark = tuple[int, str, str]  # layer, rule, message
_ERRORS = frozenset({"unknown-type", "unknown-bottom", "missing-file", "refused"})


def lint(definition: Definition[pb.NetParameter]) -> list[Finding]:
    """All remarks about a net in the present form, in the order of its layers.

    If the definition has a folder, files that the net names and that do not exist are reported too, and layers that
    refuse their settings or their bottoms.
    """
    net, folder = name_layers(definition.message), definition.folder
    found: list[_Remark] = []
    norms = find_normalisations(net, broken=True)  # refusals say what is wrong with others
    for norm in norms:
        for rule in _NORM_RULES:
            found += rule(norm)
    for i in range(len(net.layer)):
        found += _names(net, i)
        found += _unread(net, i)
        found += _own_phase(net, i)
        if folder is not None:
            found += _files(net, i, Context(folder=folder))
    if folder is not None:
        known = {i for i, rule, _ in found if rule in _ERRORS}
        refused = refusals(replace(definition, message=net))
        found += [(i, "refused", message) for i, message in refused if i not in known]
    found += [(i, "dialect", DOUBT) for i in doubtful_layers(net)]
    found += [(i, "unknown-bottom", message) for i, message in missing_in_a_phase(net)]
    for group in by_name(norms).values():
        found += _one_phase(group)
    found += _tiny_batches(net, norms)
    found = sorted(dict.fromkeys(found), key=lambda remark: remark[0])  # layers of one name may say the same of a third
    return [
        Finding(
            str(definition.position(i)),
            net.layer[i].name,
            net.layer[i].type,
            rule,
            message,
            "error" if rule in _ERRORS else "remark",
        )
        for i, rule, message in found
    ]


def _own_phase(net: pb.NetParameter, i: int) -> Iterator[_Remark]:
    phase = own_phase(net.layer[i])
    if phase is not None and phases(net.layer[i]) != {phase}:
        name = "TEST" if phase == pb.TEST else "TRAIN"
        yield i, "own-phase", f"computes as in {name} in both phases, by its own `phase: {name}`"


# -- batch normalisation -------------------------------------------------------------------------------------
def _no_scale(norm: Normalisation) -> Iterator[_Remark]:
    if norm.affine:
        return
    readers = [norm.net.layer[i] for graph in norm.graphs.of(norm.index) if (i := graph.reader(norm.index)) is not None]
    scale = next((layer for layer in readers if issubclass(class_of(layer), Scale)), None)
    if scale is not None:
        covers = scale.scale_param.axis == scale.scale_param.num_axes == 1
        why = (
            "does not follow it in every phase: give both the same phases, and layers of two phases one name"
            if covers
            else "does not cover exactly the channels, axis 1"
        )
        yield norm.index, "scale-elsewhere", f'the Scale "{scale.name}" {why}'
        return
    j = norm.graphs.only_reader(norm.index)
    reader = norm.net.layer[j] if j is not None else None
    after = f'; a Scale comes only after "{reader.name}" ({reader.type})' if _scale_later(norm, j) and reader else ""
    yield (
        norm.index, "scale-missing",
        f"no Scale follows, so scale and shift are not learned: add one with bias_term: true, or use type BN{after}",
    )  # fmt: skip


def _scale_later(norm: Normalisation, reader: int | None) -> bool:
    if reader is None or not norm.net.layer[reader].top:
        return False
    later = norm.graphs.only_reader(reader)
    return later is not None and issubclass(class_of(norm.net.layer[later]), Scale)


def _scale_without_shift(norm: Normalisation) -> Iterator[_Remark]:
    if norm.scale is not None and not norm.last.scale_param.bias_term:
        yield norm.scale, "shift-missing", "bias_term is false: nothing shifts the normalised values"


def _useless_bias(norm: Normalisation) -> Iterator[_Remark]:
    j = norm.graphs.maker(norm.index)
    reader = None if j is None else norm.graphs.only_reader(j)
    if j is None or reader is None or norm.net.layer[reader].name != norm.layer.name:
        return
    layer = norm.net.layer[j]
    kind = class_of(layer)
    product = kind.product_param(layer) if issubclass(kind, Weighted) else None
    if product is not None and product.bias_term and product.axis == 1:  # on the axis that is normalised
        yield j, "bias-before-bn", f'"{norm.layer.name}" subtracts the mean and the bias with it: bias_term: false'
    if issubclass(kind, Dropout):
        yield j, "dropout-before-bn", f'"{norm.layer.name}" takes statistics of values that TEST does not drop'


def _global_statistics(norm: Normalisation) -> Iterator[_Remark]:
    setting, present = norm.settings.use_global_stats, phases(norm.layer)
    advice = "leave it unset and the phase decides"
    if setting and pb.TRAIN in present:
        trained = any(class_of(layer).is_loss for layer in norm.net.layer)
        if trained and not _frozen(norm):
            yield (
                norm.index, "global-stats",
                "use_global_stats: true in TRAIN normalises by averages that stay as they are: right for weights that "
                f"bring them, else {advice}",
            )  # fmt: skip
    if setting is False and pb.TEST in present:
        yield norm.index, "global-stats", f"use_global_stats: false in TEST makes results depend on the batch; {advice}"


def _one_phase(norms: list[Normalisation]) -> Iterator[_Remark]:
    """A remark about layers of one name that are in one phase alone, although a layer of both reads what they make."""
    present = frozenset[int]().union(*(phases(norm.layer) for norm in norms))
    norm, ends = norms[0], {at for norm in norms for at in norm.scales or (norm.index,)}
    readers = [norm.net.layer[at] for end in ends for graph in norm.graphs.of(end) for at in graph.readers(end)]
    readers = [layer for layer in readers if not issubclass(class_of(layer), Scale)]  # `_no_scale` speaks of those
    if len(present) > 1 or all(phases(layer) <= present for layer in readers):
        return
    why = (
        "only TRAIN has it: TEST goes without, or with weights of another name"
        if pb.TRAIN in present
        else "only TEST has it: no training gives it statistics, since weights are found by name"
    )
    yield norm.index, "one-phase", f"{why}; leave out its phase, or give a layer of this name to the other phase"


def _frozen(norm: Normalisation) -> bool:
    """Whether the Scale does not learn either: all of the normalisation is meant to stay as the weights have it."""
    blobs = 1 + norm.last.scale_param.bias_term
    return norm.scale is not None and [spec.lr_mult for spec in norm.last.param[:blobs]] == [0] * blobs


def _in_train(norm: Normalisation) -> Iterator[_Remark]:
    s = norm.settings
    if norm.by_running(pb.TRAIN):
        unused = [f"ghost_batch: {s.ghost_batch}"] if s.ghost_batch else []
        unused += [] if s.gradient_through_statistics else ["gradient_through_statistics: false"]
        for field in unused:
            yield norm.index, "unused-setting", f"{field} has no effect with running statistics in TRAIN"
    elif not s.gradient_through_statistics:
        yield (
            norm.index, "constant-statistics",
            "gradient_through_statistics: false lets a bias before it grow without end: for experiments",
        )  # fmt: skip


def _statistics_settings(norm: Normalisation) -> Iterator[_Remark]:
    buffers = norm.settings.blobs.buffers
    statistics = (spec for i, spec in enumerate(norm.layer.param) if i in buffers)
    if any(spec.HasField("lr_mult") or spec.HasField("decay_mult") for spec in statistics):
        yield norm.index, "lr-of-statistics", "lr_mult and decay_mult of running statistics mean nothing: remove them"


def _numbers(norm: Normalisation) -> Iterator[_Remark]:
    s = norm.settings
    if 0 <= s.eps < 1e-8 and not norm.layer.profile:  # of a dialect: its default
        most = f"multiplied by up to {1 / math.sqrt(s.eps):,.0f}" if s.eps else "NaN"
        yield (
            norm.index, "eps",
            f"eps {s.eps:g} is lost beside a large variance and protects nothing beside a small one: a channel that is "
            f"nearly constant is {most}; 1e-5 is usual",
        )  # fmt: skip
    elif s.eps > 0.01:
        yield norm.index, "eps", f"eps {s.eps:g} is large beside the variance of most channels; 1e-5 is usual"
    if s.averaging.momentum == s.fraction < 0.5:
        yield (
            norm.index, "fraction",
            f"{s.fraction_field} {s.fraction:g} is the weight of the history: {1 - s.fraction:g} may be meant",
        )  # fmt: skip


_NORM_RULES: tuple[Callable[[Normalisation], Iterator[_Remark]], ...] = (
    _no_scale,
    _scale_without_shift,
    _useless_bias,
    _global_statistics,
    _in_train,
    _statistics_settings,
    _numbers,
)


# -- any net -------------------------------------------------------------------------------------------------
def _names(net: pb.NetParameter, index: int) -> Iterator[_Remark]:
    layer = net.layer[index]
    if find_class(layer.type) is None:
        yield index, "unknown-type", f"unknown type{nearest(layer.type, layer_types())}"
    before = {top for other in net.layer[:index] for top in other.top}
    for bottom in layer.bottom:
        if bottom not in before:
            later = any(bottom in other.top for other in net.layer[index:])
            why = "is made only later" if later else f"is not made by any layer{nearest(bottom, before)}"
            yield index, "unknown-bottom", f'bottom "{bottom}" {why}'


_READERS = ("data_param", "image_data_param", "hdf5_data_param", "window_data_param", "infogain_loss_param")
_WITH_MEAN = ("transform_param", *_READERS[:2], "window_data_param")


def _files(net: pb.NetParameter, index: int, context: Context) -> Iterator[_Remark]:
    """Files that a layer names and that do not exist."""
    layer = net.layer[index]
    named = [(name, "source") for name in _READERS] + [(name, "mean_file") for name in _WITH_MEAN]
    for message, entry in named:
        path = getattr(getattr(layer, message), entry)
        if path and find(path, context.folder) is None:
            yield index, "missing-file", f'{entry} "{path}" does not exist{missing_hint(path, context.folder)}'
        elif message == "data_param" and message in class_of(layer).settings and entry == "source" and not path:
            yield index, "missing-file", "data_param names no source"


def _unread(net: pb.NetParameter, index: int) -> Iterator[_Remark]:
    """Remarks about settings of another layer type, which have no effect."""
    for name, why in unread_settings(net.layer[index]).items():
        yield index, "unread-settings", f"{name} has no effect: {why}"


def _tiny_batches(net: pb.NetParameter, norms: list[Normalisation]) -> Iterator[_Remark]:
    if not norms:
        return
    for i, layer in enumerate(net.layer):
        for name in ("data_param", "image_data_param", "hdf5_data_param", "memory_data_param"):
            size = getattr(layer, name).batch_size if layer.HasField(name) else 0
            if pb.TRAIN in phases(layer) and 0 < size < 4:
                yield i, "small-batch", f"statistics of batches of {size} are noisy: 16 or more is usual in TRAIN"
            if pb.TRAIN in phases(layer) and size:
                yield from _ghost_batches(norms, size)


def _ghost_batches(norms: list[Normalisation], size: int) -> Iterator[_Remark]:
    """Remarks for batches of `size` images."""
    for norm in norms:
        ghost = norm.settings.ghost_batch
        if ghost >= size:
            yield norm.index, "ghost-batch", f"ghost_batch: {ghost} has no effect on batches of {size}"
        elif 0 < ghost < 4:
            yield norm.index, "ghost-batch", f"statistics of groups of {ghost} are noisy: 16 or more is usual"
        elif ghost and size % ghost:
            yield (
                norm.index,
                "ghost-batch",
                f"ghost_batch: {ghost} leaves a last group of {size % ghost} of {how_many(size, 'image')}",
            )
