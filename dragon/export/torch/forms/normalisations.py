"""Normalisations by the batch, by the item and by neighbours."""

from __future__ import annotations

import math

from dragon.bases.batch_statistics import BatchStatistics
from dragon.bases.layer import TEST
from dragon.export.torch.form import Call, form, number
from dragon.export.torch.state import Averages, Entry, Same
from dragon.layers.batch_norm import BatchNorm
from dragon.layers.batch_norm_2016 import BatchNorm2016
from dragon.layers.batch_renorm import BatchRenorm
from dragon.layers.bn import BN
from dragon.layers.decorrelated_bn import DecorrelatedBN
from dragon.layers.evo_norm_s0 import EvoNormS0
from dragon.layers.frn import FRN
from dragon.layers.group_norm import GroupNorm
from dragon.layers.instance_norm import InstanceNorm
from dragon.layers.layer_norm import LayerNorm
from dragon.layers.lrn import LRN
from dragon.layers.mvn import MVN
from dragon.layers.neopenx_bn import NeopenxBN
from dragon.layers.noisy_bn import NoisyBN
from dragon.layers.normalize import Normalize
from dragon.layers.segnet_bn import SegNetBN

__all__: list[str] = []


def _averages(layer: BatchStatistics, channels: int) -> list[Entry]:
    at = layer.normalization.blobs
    if at.mean is None or at.variance is None:
        return []
    return [Averages(at.mean, at.variance, at.weight, ((channels,), (channels,)), layer.normalization.averaging)]


def _running(c: Call) -> list[str]:
    """The argument that chooses the statistics, where train() and eval() do not."""
    assert isinstance(c.layer, BatchStatistics)
    running = c.layer.normalization.running if c.own_phase is None else c.own_phase == TEST
    return [] if running is None else [f"running={running}"]


@form(BatchNorm, BatchNorm2016, BN, NeopenxBN, SegNetBN)
def _batch_norm(c: Call) -> str | list[str]:
    """BatchNorm and BN in all their forms."""
    layer = c.layer
    assert isinstance(layer, BatchStatistics)
    n, at = layer.normalization, layer.normalization.blobs
    channels = layer.blobs[0].count
    settings = [str(channels), number(n.eps)]
    if n.averages:
        rule = n.averaging
        settings += [f"momentum={number(rule.momentum)}", f"new={number(rule.new)}"]
        flags = {"unbiased": rule.unbiased, "full": rule.full and at.weight is not None}
        settings += [f"{name}=True" for name, on in flags.items() if on]
        settings += ["deviation=True"] if rule.deviation is not None else []
        settings += ["weighted=False"] if at.weight is None else []
    else:
        settings.append("averages=False")
    settings += [] if n.affine else ["affine=False"]
    settings += _running(c)
    settings += [f"ghost_batch={n.ghost_batch}"] if n.ghost_batch else []
    settings += [] if n.gradient_through_statistics else ["constant=True"]
    entries = _averages(layer, channels)
    if at.gamma is not None and at.beta is not None:
        entries = [Same("weight", at.gamma, (channels,)), Same("bias", at.beta, (channels,)), *entries]
    module = c.declare(f"{c.part('BatchNorm')}({', '.join(settings)})", *entries)
    y = f"{module}({c.x})"
    if isinstance(layer, SegNetBN) and c.tops > 1:
        statistics = f"{c.part('batch_statistics')}({c.x}, {channels})"
        return [y, *(f"{statistics}[{i}]" for i in range(c.tops - 1))]
    return y


@form(BatchRenorm)
def _batch_renorm(c: Call) -> str:
    layer = c.layer
    assert isinstance(layer, BatchRenorm)
    p, channels = layer.param.batch_renorm_param, layer.blobs[0].count
    settings = [str(channels), number(p.eps), number(p.moving_average_fraction)]
    settings.append(f"limits=({number(p.r_max)}, {number(p.d_max)})")
    settings.append(f"steps=({p.step_to_init}, {p.step_to_r_max}, {p.step_to_d_max})")
    settings += _running(c)
    entries = [*_averages(layer, channels), Same("iterations", 3, (1,))]
    return c.call(f"{c.part('BatchRenorm')}({', '.join(settings)})", *entries)


@form(DecorrelatedBN)
def _decorrelated_bn(c: Call) -> str:
    layer = c.layer
    assert isinstance(layer, DecorrelatedBN)
    c.check_not_frozen()
    p, rule, channels = layer.param.decorrelated_bn_param, layer.averaging, layer.blobs[0].count
    settings = f"{channels}, {p.group}, {number(p.eps)}, {number(rule.momentum)}, {number(rule.new)}"
    shapes = ((channels,), layer.blobs[1].shape)
    entries: list[Entry] = [Averages(0, 1, 2, shapes, rule, "running_cov")]
    if p.scale_bias:
        entries = [Same("weight", 3, (channels,)), Same("bias", 4, (channels,)), *entries]
    module = f"{c.part('DecorrelatedBN')}({settings}, unbiased={rule.unbiased}, affine={p.scale_bias})"
    return c.call(module, *entries)


@form(NoisyBN)
def _noisy_bn(c: Call) -> str:
    if c.own_phase is not None:
        return c.x
    p = c.layer.param.noisy_bn_param
    settings = f"{number(p.shift)}, ({number(p.scale_min)}, {number(p.scale_max)})"
    settings += f", {number(p.shift_spread)}, {number(p.scale_std)}"
    return c.call(f"{c.part('NoisyBN')}({settings})")


def _affine(c: Call, shape: tuple[int, ...]) -> list[Entry]:
    return [Same("weight", 0, shape), Same("bias", 1, shape)] if len(c.layer.blobs) else []


@form(GroupNorm, InstanceNorm)
def _group_norm(c: Call) -> str:
    """GroupNorm, and InstanceNorm as one with a group for each channel."""
    layer, channels = c.layer, c.shape()[1]
    assert isinstance(layer, GroupNorm | InstanceNorm)
    groups = layer.groups if isinstance(layer, GroupNorm) else channels
    affine = "" if len(layer.blobs) else ", affine=False"
    module = f"nn.GroupNorm({groups}, {channels}, {number(layer.eps)}{affine})"
    note = "a group for each channel: instance normalisation" if isinstance(layer, InstanceNorm) else ""
    return c.call(module, *_affine(c, (channels,)), note=note)


@form(LayerNorm)
def _layer_norm(c: Call) -> str:
    """LayerNorm over the axes from one on."""
    layer = c.layer
    assert isinstance(layer, LayerNorm)
    shape = c.shape()[c.axis(layer.param.layer_norm_param.axis) :]
    affine = "" if len(layer.blobs) else ", elementwise_affine=False"
    return c.call(f"nn.LayerNorm({shape}, {number(layer.eps)}{affine})", *_affine(c, shape))


@form(LRN)
def _lrn(c: Call) -> str:
    """LRN across channels, as in PyTorch, or within a channel."""
    layer = c.layer
    assert isinstance(layer, LRN)
    alpha, beta = number(layer.alpha), number(layer.beta)
    if not layer.across:
        return f"{c.part('lrn_within_channel')}({c.x}, {layer.local_size}, {alpha}, {beta})"
    module = c.declare(f"nn.LocalResponseNorm({layer.local_size}, alpha={alpha}, beta={beta}, k={number(layer.k)})")
    return f"{module}({c.x})" if len(c.shape()) > 2 else f"{module}({c.x}[..., None])[..., 0]"


@form(MVN)
def _mvn(c: Call) -> str:
    p = c.layer.param.mvn_param
    lead = 1 if p.across_channels else 2
    return f"{c.part('mean_variance_normalize')}({c.x}, {lead}, {p.normalize_variance}, {number(p.eps)})"


@form(Normalize)
def _normalize(c: Call) -> str:
    p, scales = c.layer.param.norm_param, c.layer.blobs[0].count
    settings = f"{scales}, {number(p.eps)}, across_spatial={p.across_spatial}"
    return c.call(f"{c.part('L2Normalize')}({settings})", Same("weight", 0, (scales,)))


@form(FRN)
def _frn(c: Call) -> str:
    p, channels = c.layer.param.frn_param, (c.layer.blobs[0].count,)
    entries = [Same("weight", 0, channels), Same("bias", 1, channels)]
    if p.threshold:
        entries.append(Same("threshold", 2, channels))
    module = f"{c.part('FRN')}({math.prod(channels)}, {number(p.eps)}, threshold={p.threshold})"
    return c.call(module, *entries)


@form(EvoNormS0)
def _evo_norm_s0(c: Call) -> str:
    p, channels = c.layer.param.evo_norm_s0_param, (c.layer.blobs[0].count,)
    entries = [Same(key, i, channels) for i, key in enumerate(("weight", "bias", "v"))]
    module = f"{c.part('EvoNormS0')}({math.prod(channels)}, {p.num_groups}, {number(p.eps)})"
    return c.call(module, *entries)
