"""Poolings, of windows and of regions."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.counting import how_many
from dragon.export.torch.form import Call, NoForm, form, number
from dragon.export.torch.forms.products import each, padding
from dragon.layers.pooling import Pooling
from dragon.layers.psroi_pooling import PSROIPooling
from dragon.layers.roi_pooling import ROIPooling
from dragon.layers.spp import SPP
from dragon.proto import dragon_pb2 as pb

__all__: list[str] = []

MAX, AVE = pb.PoolingParameter.MAX, pb.PoolingParameter.AVE


@form(Pooling)
def _pooling(c: Call) -> str | list[str]:
    """Pooling. PyTorch rounds sizes up and clips windows as Caffe does, and leaves padding out of no average."""
    layer = c.layer
    assert isinstance(layer, Pooling)
    w = layer.window
    n = len(w.kernel)
    if n > 3:
        raise NoForm(f"pools over {how_many(n, 'axis')}, PyTorch over 3 at most", layer=layer.where)
    if layer.param.pooling_param.global_pooling and layer.method in (MAX, AVE):
        if c.tops > 1:
            return f"F.adaptive_max_pool{n}d({c.x}, 1, return_indices=True)"
        kind = "Max" if layer.method == MAX else "Avg"
        return c.call(f"nn.Adaptive{kind}Pool{n}d(1)")
    even = w.before == layer.pad_after and all(2 * p <= k for p, k in zip(w.before, w.kernel, strict=True))
    # avg_pool3d refuses windows larger than the image, the padding aside
    larger = n == 3 and layer.method == AVE and any(k > s for k, s in zip(w.kernel, c.shape()[2:], strict=True))
    if layer.method not in (MAX, AVE) or not even or larger or (c.tops > 1 and n == 1):
        return _by_part(c, layer)
    settings = [each(w.kernel)]
    for name, values, default in (("stride", w.stride, w.kernel), ("padding", w.before, (0,) * n)):
        if values != default:
            settings.append(f"{name}={each(values)}")
    if layer.rounds_up:
        settings.append("ceil_mode=True")
    if layer.method == AVE and not layer.counts_padding and any(w.before):
        settings.append("count_include_pad=False")
    if c.tops > 1:
        settings.append("return_indices=True")
    kind = "Max" if layer.method == MAX else "Avg"
    return c.call(f"nn.{kind}Pool{n}d({', '.join(settings)})")


def _by_part(c: Call, layer: Pooling) -> str:
    w = layer.window
    pad = padding(w.before, w.after)
    if c.tops > 1:
        raise NoForm(
            "has a mask and padding that PyTorch's pooling does not take: leave the mask out", layer=layer.where
        )
    if layer.method == MAX:
        return f"{c.part('max_pool')}({c.x}, {w.kernel}, {w.stride}, {pad})"
    if layer.method == AVE:
        after = tuple(map(min, w.after, layer.pad_after))
        counted = padding(w.before, after) if layer.counts_padding else (0,) * len(pad)
        return f"{c.part('average_pool')}({c.x}, {w.kernel}, {w.stride}, {pad}, {counted})"
    if len(w.kernel) != 2:
        raise NoForm(
            f"pools at random over {how_many(len(w.kernel), 'axis')}; written in PyTorch for 2", layer=layer.where
        )
    return f"{c.part('stochastic_pool')}({c.x}, {w.kernel}, {w.stride}, {pad}, {c.training})"


@form(SPP)
def _spp(c: Call) -> str:
    """SPP: a pooling for each level."""
    layer = c.layer
    assert isinstance(layer, SPP)
    levels: Sequence[str] = [_level(c, level) for level in layer.levels if isinstance(level, Pooling)]
    return f"torch.cat(({', '.join(levels)},), dim=1)"


def _level(c: Call, level: Pooling) -> str:
    if level.method not in (MAX, AVE):
        return f"{_by_part(c, level)}.flatten(1)"
    name, w = "max" if level.method == MAX else "avg", level.window
    if all(2 * p <= k for p, k in zip(w.before, w.kernel, strict=True)):
        return f"F.{name}_pool2d({c.x}, {w.kernel}, {w.stride}, {w.before}, ceil_mode=True).flatten(1)"
    return f"{_by_part(c, level)}.flatten(1)"


@form(ROIPooling)
def _roi_pooling(c: Call) -> str:
    p = c.layer.param.roi_pooling_param
    return f"{c.part('region_max_pool')}({c.x}, {c.xs[1]}, ({p.pooled_h}, {p.pooled_w}), {number(p.spatial_scale)})"


@form(PSROIPooling)
def _psroi_pooling(c: Call) -> str:
    p = c.layer.param.psroi_pooling_param
    settings = f"{p.output_dim}, {p.group_size}, {number(p.spatial_scale)}"
    return f"{c.part('position_sensitive_pool')}({c.x}, {c.xs[1]}, {settings})"
