"""Convolutions, inner products and other layers with weights."""

from __future__ import annotations

from dragon.bases.convolution import ConvolutionBase
from dragon.counting import how_many
from dragon.export.torch.form import Call, NoForm, form
from dragon.export.torch.state import Entry, Same
from dragon.layers.bias import Bias
from dragon.layers.convolution import Convolution
from dragon.layers.deconvolution import Deconvolution
from dragon.layers.depthwise_convolution import DepthwiseConvolution
from dragon.layers.embed import Embed
from dragon.layers.im2col import Im2col
from dragon.layers.inner_product import InnerProduct
from dragon.layers.local import Local
from dragon.layers.parameter import Parameter
from dragon.layers.scale import Scale

__all__ = ["each", "padding"]


def each(values: tuple[int, ...]) -> str:
    """A setting for each axis: a single number where all are equal."""
    return str(values[0]) if len(set(values)) == 1 else str(values)


def padding(before: tuple[int, ...], after: tuple[int, ...]) -> tuple[int, ...]:
    """Padding as F.pad takes it: the last axis first, before and after."""
    return tuple(n for pair in zip(reversed(before), reversed(after), strict=True) for n in pair)


def _declare(c: Call, kind: str, pad: tuple[int, ...]) -> str:
    layer = c.layer
    assert isinstance(layer, ConvolutionBase)
    w, weight = layer.window, layer.weight.shape
    n_spatial = len(w.kernel)
    inputs = weight[1] * layer.group if kind == "Conv" else weight[0]
    settings = [str(inputs), str(layer.num_output), each(w.kernel or (1,))]
    for name, values, default in (("stride", w.stride, 1), ("padding", pad, 0), ("dilation", w.dilation, 1)):
        if any(v != default for v in values):
            settings.append(f"{name}={each(values)}")
    if layer.group != 1:
        settings.append(f"groups={layer.group}")
    if layer.bias is None:
        settings.append("bias=False")
    entries: list[Entry] = [Same("weight", 0, (*weight, *[1] * (not n_spatial)))]
    if layer.bias is not None:
        entries.append(Same("bias", 1, (layer.num_output,)))
    return c.declare(f"nn.{kind}{max(1, n_spatial)}d({', '.join(settings)})", *entries)


def _over_axis(c: Call, apply: str, x: str, n_spatial: int) -> str:
    """Apply to a bottom whose channels are at another axis than 1: the axes before them become one."""
    axis = len(c.shape()) - n_spatial - 1
    if not n_spatial:
        x = f"{x}[..., None]"
    if axis == 0:
        y = apply.format(x=f"{x}[None]") + "[0]"
    elif axis == 1:
        y = apply.format(x=x)
    else:
        y = f"{apply.format(x=f'{x}.flatten(0, {axis - 1})')}.unflatten(0, {x}.shape[:{axis}])"
    return y if n_spatial else f"{y}[..., 0]"


@form(Convolution, DepthwiseConvolution, Deconvolution)
def _convolution(c: Call) -> list[str]:
    """Convolution and Deconvolution; padding that differs by side, or that Caffe adds, becomes F.pad."""
    layer = c.layer
    assert isinstance(layer, ConvolutionBase)
    w = layer.window
    n_spatial = len(w.kernel)
    if n_spatial > 3:
        raise NoForm(f"convolves over {how_many(n_spatial, 'axis')}, PyTorch over 3 at most", layer=layer.where)
    if isinstance(layer, Deconvolution):
        pad = tuple(map(min, w.before, w.after))
        inner = _declare(c, "ConvTranspose", pad) + "({x})"
        if w.before != w.after:
            before = (b - p for b, p in zip(w.before, pad, strict=True))
            after = (p - a for a, p in zip(w.after, pad, strict=True))
            cuts = (f"{b}:{a or None}".replace("None", "") for b, a in zip(before, after, strict=True))
            inner += f"[..., {', '.join(cuts)}]"
    else:
        w = w.reaching(layer.bottom_view[2:], layer.top_view[2:])
        same = w.before == w.after
        inner = _declare(c, "Conv", w.before if same else (0,) * n_spatial)
        inner += "({x})" if same else f"(F.pad({{x}}, {padding(w.before, w.after)}))"
    return [_over_axis(c, inner, x, n_spatial) for x in c.xs]


@form(Im2col)
def _im2col(c: Call) -> str:
    """Im2col over two axes, which F.unfold does with all positions as one axis."""
    layer = c.layer
    assert isinstance(layer, Im2col)
    if len(layer.window.kernel) != 2:
        raise NoForm(f"unfolds over {how_many(len(layer.window.kernel), 'axis')}, PyTorch over 2", layer=layer.where)
    w = layer.window.reaching(c.shape()[-2:], c.top()[-2:])
    x = "{x}" if w.before == w.after else f"F.pad({{x}}, {padding(w.before, w.after)})"
    pad = w.before if w.before == w.after else (0, 0)
    size = c.top()[-2:]
    inner = f"F.unfold({x}, {w.kernel}, {w.dilation}, {pad}, {w.stride}).unflatten(2, {size})"
    return _over_axis(c, inner, c.x, 2)


@form(InnerProduct)
def _inner_product(c: Call) -> str:
    """InnerProduct over the axes from one on, which become one."""
    layer = c.layer
    assert isinstance(layer, InnerProduct)
    outputs, axis = layer.num_output, c.axis(layer.param.inner_product_param.axis)
    bias = layer.bias is not None
    entries: list[Entry] = [Same("weight", 0, (outputs, layer.inputs), layer.transposed)]
    if bias:
        entries.append(Same("bias", 1, (outputs,)))
    module = c.declare(f"nn.Linear({layer.inputs}, {outputs}{'' if bias else ', bias=False'})", *entries)
    return f"{module}({c.x if axis == len(c.shape()) - 1 else f'{c.x}.flatten({axis})'})"


@form(Embed)
def _embed(c: Call) -> str:
    p = c.layer.param.embed_param
    entries = [Same("weight", 0, (p.input_dim, p.num_output))]
    if p.bias_term:
        entries.append(Same("bias", 1, (p.num_output,)))
    return c.call(f"{c.part('Embed')}({p.input_dim}, {p.num_output}, bias={p.bias_term})", *entries)


@form(Scale)
def _scale(c: Call) -> str:
    """Scale, by a learned factor or by bottom 1."""
    p = c.layer.param.scale_param
    learned = len(c.xs) == 1
    axis, shape = c.axis(p.axis) if c.shape() else 0, c.layer.blobs[0].shape if learned else c.shape(1)
    if not learned and not p.bias_term:
        return f"{c.x} * {c.part('along')}({c.xs[1]}, {c.x}, {axis})"
    entries = [Same("weight", 0, shape)] if learned else []
    if p.bias_term:
        entries.append(Same("bias", len(c.layer.blobs) - 1, shape))
    options = "" if learned else ", weight=False"
    options += "" if p.bias_term else ", bias=False"
    return c.call(f"{c.part('Affine')}({shape}, {axis}{options})", *entries, xs=c.xs)


@form(Bias)
def _bias(c: Call) -> str:
    """Bias, learned or bottom 1."""
    axis = c.axis(c.layer.param.bias_param.axis) if c.shape() else 0
    if len(c.xs) > 1:
        return f"{c.x} + {c.part('along')}({c.xs[1]}, {c.x}, {axis})"
    shape = c.layer.blobs[0].shape
    return c.call(f"{c.part('Affine')}({shape}, {axis}, weight=False)", Same("bias", 0, shape))


@form(Parameter)
def _parameter(c: Call) -> str:
    """Parameter: a learned tensor."""
    shape = c.top()
    return c.declare(f"nn.Parameter(torch.zeros({shape}))", Same("", 0, shape))


@form(Local)
def _local(c: Call) -> str:
    layer = c.layer
    assert isinstance(layer, Local)
    w, weight = layer.window.reaching(c.shape()[2:], layer.positions), layer.blobs[0].shape
    bias = len(layer.blobs) > 1
    entries: list[Entry] = [Same("weight", 0, weight), *([Same("bias", 1, layer.blobs[1].shape)] if bias else [])]
    settings = f"{weight}, {bias}, {w.kernel}, {w.stride}, {padding(w.before, w.after)}"
    return c.call(f"{c.part('LocallyConnected')}({settings})", *entries)
