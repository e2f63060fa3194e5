"""Layers that move values: joins, cuts, shapes, and arithmetic between bottoms."""

from __future__ import annotations

import numpy as np

from dragon.bases.rearranging import Rearranging
from dragon.export.torch.form import Call, NoForm, form, number
from dragon.layers.accuracy import Accuracy
from dragon.layers.add import Add
from dragon.layers.arg_max import ArgMax
from dragon.layers.axpy import Axpy
from dragon.layers.batch_reindex import BatchReindex
from dragon.layers.channel_scale import ChannelScale
from dragon.layers.concat import Concat
from dragon.layers.crop import Crop
from dragon.layers.crop_center import CropCenter
from dragon.layers.dummy_data import DummyData
from dragon.layers.eltwise import Eltwise
from dragon.layers.filter import Filter
from dragon.layers.flatten import Flatten
from dragon.layers.flip import Flip
from dragon.layers.interp import Interp
from dragon.layers.mask_pooling import MaskPooling
from dragon.layers.mul import Mul
from dragon.layers.pad import Pad
from dragon.layers.permute import Permute
from dragon.layers.prior_box import PriorBox
from dragon.layers.reduction import Reduction
from dragon.layers.reorg import Reorg
from dragon.layers.reshape import Reshape
from dragon.layers.reverse import Reverse
from dragon.layers.shuffle_channel import ShuffleChannel
from dragon.layers.slice import Slice
from dragon.layers.squeeze import Squeeze
from dragon.layers.sum import Sum
from dragon.layers.tile import Tile
from dragon.layers.transpose import Transpose
from dragon.layers.upsample import Upsample
from dragon.proto import dragon_pb2 as pb

__all__: list[str] = []


@form(Concat)
def _concat(c: Call) -> str:
    p = c.layer.param.concat_param
    axis = c.axis(p.concat_dim if p.HasField("concat_dim") else p.axis)
    return f"torch.cat(({', '.join(c.xs)}), dim={axis})" if len(c.xs) > 1 else c.x


@form(Slice)
def _cut(c: Call) -> str:
    """Slice, at points or into equal parts."""
    layer = c.layer
    assert isinstance(layer, Slice)
    if c.tops == 1:
        return c.x
    if not layer.points:
        return f"{c.x}.chunk({c.tops}, dim={layer.along})"
    sizes = tuple(c.top(i)[layer.along] for i in range(c.tops))
    return f"{c.x}.split({sizes}, dim={layer.along})"


@form(Crop)
def _crop(c: Call) -> str:
    """Crop to the size of bottom 1."""
    p = c.layer.param.crop_param
    axis, ndim = c.axis(p.axis), len(c.shape())
    offset = list(p.offset) or [0]
    offset = offset * (ndim - axis) if len(offset) == 1 else offset
    each = (f".narrow({i}, {start}, {c.xs[1]}.shape[{i}])" for i, start in zip(range(axis, ndim), offset, strict=True))
    return c.x + "".join(each)


@form(Flatten)
def _flatten(c: Call) -> str:
    p = c.layer.param.flatten_param
    return f"{c.x}.flatten({p.axis}, {p.end_axis})"


@form(Reshape)
def _reshape(c: Call) -> str:
    """Reshape; axes that stay are read from the bottom, so the batch size may change."""
    layer = c.layer
    assert isinstance(layer, Reshape)
    p, ndim = layer.param.reshape_param, len(c.shape())
    start = p.axis if p.axis >= 0 else ndim + p.axis + 1
    end = ndim if p.num_axes == -1 else start + p.num_axes
    kept = [f"{c.x}.shape[{i}]" for i in range(ndim)]
    dims = [kept[start + i] if dim == 0 else str(dim) for i, dim in enumerate(layer.dims)]
    if -1 not in layer.dims or 0 not in c.shape():
        return f"{c.x}.reshape({', '.join([*kept[:start], *dims, *kept[end:]]) or '()'})"
    return f"{c.x}.reshape({c.top()})"  # an empty batch: -1 cannot be inferred


@form(Squeeze)
def _squeeze(c: Call) -> str:
    """Squeeze of named axes, or of all of extent 1 in the net as it was exported."""
    shape = c.shape()
    named = sorted({c.axis(axis) for axis in c.layer.param.squeeze_param.axis})
    axes = named or [i for i, dim in enumerate(shape) if dim == 1]
    return f"{c.x}.squeeze({tuple(axes)})" if axes else c.x


@form(Permute, Transpose, Reorg)
def _rearrange(c: Call) -> str:
    """A view of the bottom with its axes in another order."""
    layer = c.layer
    assert isinstance(layer, Rearranging)
    y = f"{c.x}.permute({', '.join(map(str, layer.order)) or '()'})"
    if isinstance(layer, Permute | Transpose):
        return y
    view, top = (", ".join(map(str, shape[1:])) for shape in (layer.view, c.top()))
    return f"{y.replace(c.x, f'{c.x}.reshape(-1, {view})', 1)}.reshape(-1, {top})"


@form(CropCenter)
def _crop_center(c: Call) -> str:
    sizes = c.layer.param.crop_center_param.crop_size
    return f"{c.x}[{', '.join(f'{size}:-{size}' if size else ':' for size in sizes)}]"


@form(Tile)
def _tile(c: Call) -> str:
    p = c.layer.param.tile_param
    return f"torch.cat([{c.x}] * {p.tiles}, dim={c.axis(p.axis)})"


@form(Reverse, Flip)
def _reverse(c: Call) -> str:
    layer = c.layer
    assert isinstance(layer, Reverse)
    axes = sorted(layer.axes)
    return f"{c.x}.flip({', '.join(map(str, axes))})" if axes else c.x


@form(ShuffleChannel)
def _shuffle_channel(c: Call) -> str:
    return f"{c.x}.unflatten(1, ({c.layer.param.shuffle_channel_param.group}, -1)).transpose(1, 2).flatten(1, 2)"


@form(Pad)
def _pad(c: Call) -> str:
    """Pad of the last two axes."""
    p, ndim = c.layer.param.pad_param, len(c.shape())
    sides = (p.pad_l, p.pad_r, p.pad_t, p.pad_b)
    if p.mode == pb.PadParameter.CONSTANT:
        return f"F.pad({c.x}, {sides}, value={number(p.value)})"
    mode = "reflect" if p.mode == pb.PadParameter.REFLECT else "replicate"
    x = c.x if ndim in (3, 4) else f"{c.x}[None]" if ndim == 2 else f"{c.x}.flatten(0, {ndim - 4})"
    y = f'F.pad({x}, {sides}, mode="{mode}")'
    return y if ndim in (3, 4) else f"{y}[0]" if ndim == 2 else f"{y}.unflatten(0, {c.x}.shape[:{ndim - 3}])"


@form(Upsample)
def _upsample(c: Call) -> str:
    """Upsample by repetition, or to the positions of a max pooling."""
    layer = c.layer
    assert isinstance(layer, Upsample)
    if len(c.xs) > 1:
        height, width = c.top()[2:]
        flat = f"{c.x}.new_zeros(*{c.x}.shape[:2], {height * width})"
        filled = f"{flat}.scatter(2, {c.xs[1]}.long().flatten(2), {c.x}.flatten(2))"
        return f"{filled}.unflatten(2, ({height}, {width}))"
    down, across = layer.scale
    return f"{c.x}.repeat_interleave({down}, dim=2).repeat_interleave({across}, dim=3)"


@form(Interp)
def _interp(c: Call) -> str:
    """Interp: bilinear with aligned corners."""
    p = c.layer.param.interp_param
    x = c.x
    if p.pad_beg or p.pad_end:
        inside = f"{-p.pad_beg or ''}:{p.pad_end or ''}"
        x = f"{x}[:, :, {inside}, {inside}]"
    if len(c.xs) > 1:
        size = f"{c.xs[1]}.shape[2:4]"
    elif p.height:
        size = str(c.top()[2:])
    else:
        return f"{c.part('interpolate')}({x}, {p.shrink_factor}, {p.zoom_factor})"
    return f'F.interpolate({x}, {size}, mode="bilinear", align_corners=True)'


@form(Eltwise)
def _eltwise(c: Call) -> str:
    """Eltwise: weighted sum, product or maximum."""
    layer = c.layer
    assert isinstance(layer, Eltwise)
    if layer.operation == pb.EltwiseParameter.PROD:
        return " * ".join(c.xs)
    if layer.operation == pb.EltwiseParameter.SUM:
        y = ""
        for x, k in zip(c.xs, layer.coeff, strict=True):
            sign = (" - " if k < 0 else " + ") if y else "-" if k < 0 else ""
            y += f"{sign}{x}" if abs(k) == 1 else f"{sign}{number(abs(k))} * {x}"
        return y
    y = c.x
    for x in c.xs[1:]:
        y = f"torch.maximum({y}, {x})"
    return y


@form(Add)
def _add(c: Call) -> str:
    """Add, which broadcasts as PyTorch does."""
    return " + ".join(c.xs)


@form(Mul, MaskPooling)
def _mul(c: Call) -> str:
    """Mul and MaskPooling, which broadcast as PyTorch does."""
    return " * ".join(c.xs)


@form(Axpy)
def _axpy(c: Call) -> str:
    spatial = ", 1" * (len(c.shape(1)) - 2)
    return f"{c.x}.reshape(*{c.xs[1]}.shape[:2]{spatial}) * {c.xs[1]} + {c.xs[2]}"


@form(ChannelScale)
def _channel_scale(c: Call) -> str:
    """ChannelScale; its switches let gradients pass that are none of its own."""
    p = c.layer.param.channel_scale_param
    if not (p.do_forward and p.do_backward_feature and p.do_backward_scale):
        switches = f"{p.do_forward}, {p.do_backward_feature}, {p.do_backward_scale}"
        return f"{c.part('channel_scale')}({c.x}, {c.xs[1]}, {switches})"
    spatial = c.shape()[2:]
    return f"{c.x} * {c.xs[1]}.reshape({', '.join(map(str, (-1, 1, *spatial)))})"


@form(Sum)
def _sum(c: Call) -> str:
    """Sum over axes of one bottom."""
    layer = c.layer
    assert isinstance(layer, Sum)
    keep = ", keepdim=True" if layer.param.sum_param.keepdims else ""
    return f"{c.x}.sum({layer.axes}{keep})" if layer.axes else c.x


@form(Reduction)
def _reduction(c: Call) -> str:
    """Reduction over the axes from one on."""
    p = c.layer.param.reduction_param
    axis, kinds = c.axis(p.axis), pb.ReductionParameter
    rows = f"{c.x}.flatten({axis})" if axis < len(c.shape()) - 1 else c.x
    values = {kinds.ASUM: f"{rows}.abs()", kinds.SUMSQ: f"{rows}.square()"}.get(p.operation, rows)
    y = f"{values}.{'mean' if p.operation == kinds.MEAN else 'sum'}(-1)"
    return y if p.coeff == 1 else f"{number(p.coeff)} * {y}"


@form(BatchReindex)
def _batch_reindex(c: Call) -> str:
    return f"{c.x}[{c.xs[1]}.long()]"


@form(Filter)
def _choose(c: Call) -> list[str]:
    return [f"{x}[{c.xs[-1]}.flatten() != 0]" for x in c.xs[:-1]]


@form(ArgMax)
def _arg_max(c: Call) -> str:
    p = c.layer.param.argmax_param
    axis = c.axis(p.axis) if p.HasField("axis") else None
    return f"{c.part('largest')}({c.x}, {p.top_k}, {axis}, {p.out_max_val})"


@form(Accuracy)
def _accuracy(c: Call) -> list[str]:
    """Accuracy, of all classes and of each."""
    layer = c.layer
    assert isinstance(layer, Accuracy)
    settings = f"{c.x}, {c.xs[1]}, {layer.top_k}, {c.axis(layer.param.accuracy_param.axis)}, {layer.ignore}"
    return [f"{c.part(name)}({settings})" for name in ("top_k_accuracy", "top_k_class_accuracy")[: c.tops]]


@form(PriorBox)
def _prior_box(c: Call) -> str:
    """PriorBox, from the sizes of the feature map and the image."""
    layer = c.layer
    assert isinstance(layer, PriorBox)
    p, kinds = layer.param.prior_box_param, ", ".join(number(v) for v in layer.variance)
    sizes = tuple((float(f"{w:.9g}"), float(f"{h:.9g}")) for w, h in layer.sizes)
    image = tuple(own or f"{c.xs[1]}.shape[{i}]" for i, own in zip((2, 3), layer.image, strict=True))
    step = tuple(float(str(np.float32(s))) if s else None for s in layer.step)
    settings = f"{sizes}, ({image[0]}, {image[1]}), {step}, {number(p.offset)}, {p.clip}, ({kinds},)"
    return f"{c.part('prior_boxes')}({c.x}, {settings})"


@form(DummyData)
def _dummy_data(c: Call) -> list[str]:
    """DummyData: constants, or noise that is drawn for each batch."""
    p = c.layer.param.dummy_data_param
    fillers = list(p.data_filler) or [pb.FillerParameter()]
    found = []
    for i in range(c.tops):
        filler, shape = fillers[i % len(fillers)], c.top(i)
        if filler.type == "constant":
            found.append(f"torch.full({shape}, {number(filler.value)})")
        elif filler.type == "uniform":
            span = number(filler.max - filler.min)
            found.append(f"torch.rand({shape}) * {span} + {number(filler.min)}")
        elif filler.type == "gaussian":
            found.append(f"torch.randn({shape}) * {number(filler.std)} + {number(filler.mean)}")
        else:
            raise NoForm(f"fills its top by {filler.type}: replace it by an Input", layer=c.layer.where)
    return found
