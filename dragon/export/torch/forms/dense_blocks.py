"""Blocks of DenseNets."""

from __future__ import annotations

from dragon.export.torch.form import Call, form, number
from dragon.export.torch.state import Same
from dragon.layers.dense_block import DenseBlock

__all__: list[str] = []


@form(DenseBlock)
def _dense_block(c: Call) -> str:
    layer = c.layer
    assert isinstance(layer, DenseBlock)
    c.check_not_frozen()
    p, blobs = layer.param.denseblock_param, layer.blobs
    settings = f"{layer.channels}, {layer.growth}, {layer.count}, {p.use_BC}, {number(layer.ratio)}, "
    entries = [Same("average_weight", len(blobs) - 1, (1,))]
    for i, stage in enumerate(layer.all_stages()):
        entries.append(Same(f"stages.{i}.weight", stage.filter, blobs[stage.filter].shape))
        named = {"scale": stage.gamma, "shift": stage.beta, "running_mean": stage.mean, "running_var": stage.variance}
        entries += [Same(f"stages.{i}.{key}", index, (blobs[index].count,)) for key, index in named.items()]
    return c.call(f"{c.part('DenseBlock')}({settings}{number(p.moving_average_fraction)})", *entries)
