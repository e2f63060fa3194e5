"""Layers of ours and of forks written by BVLC Caffe's, with the same outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np

from dragon.bases.layer import Layer
from dragon.bases.registry import class_of
from dragon.layers.add import Add
from dragon.layers.axpy import Axpy
from dragon.layers.bnll import BNLL
from dragon.layers.clip import Clip
from dragon.layers.concat import Concat
from dragon.layers.continuation_indicator import ContinuationIndicator
from dragon.layers.convolution import Convolution
from dragon.layers.deconvolution import Deconvolution
from dragon.layers.depthwise_convolution import DepthwiseConvolution
from dragon.layers.dummy_data import DummyData
from dragon.layers.eltwise import Eltwise
from dragon.layers.elu import ELU
from dragon.layers.hard_sigmoid import HardSigmoid
from dragon.layers.hard_swish import HardSwish
from dragon.layers.mish import Mish
from dragon.layers.mul import Mul
from dragon.layers.pooling import Pooling
from dragon.layers.power import Power
from dragon.layers.relu import ReLU
from dragon.layers.relu6 import ReLU6
from dragon.layers.reshape import Reshape
from dragon.layers.scale import Scale
from dragon.layers.selu import SeLU
from dragon.layers.squeeze import Squeeze
from dragon.layers.tanh import TanH
from dragon.layers.upsample import Upsample
from dragon.proto import dragon_pb2 as pb
from dragon.surgery.model import Arrays

__all__ = ["Replaced", "replaced"]


@dataclass
class Replaced:
    """The layers in place of one, and the arrays of those of them that have weights which the net does not store."""

    layers: list[pb.LayerParameter]
    arrays: dict[str, Arrays]


class _Piece:
    """One layer that is replaced; makes layers that are present in the same phases."""

    def __init__(self, layer: pb.LayerParameter, shapes: Sequence[tuple[int, ...]]) -> None:
        self.layer = layer
        self.shapes = shapes  # of the bottoms; empty where they are not known
        self.made = Replaced([], {})

    def add(self, kind: type[Layer], bottoms: Sequence[str], top: str, name: str = "", **settings: Any) -> str:
        """Append a layer; its top. name: behind that of the replaced layer; "" for its own name."""
        new = pb.LayerParameter(name=self.layer.name + (f"/{name}" if name else ""), type=kind.type)
        new.bottom.extend(bottoms)
        new.top.append(top)
        for field, values in settings.items():
            getattr(new, field).MergeFrom(values)
        for rules in ("include", "exclude"):
            getattr(new, rules).extend(getattr(self.layer, rules))
        self.made.layers.append(new)
        return top

    def part(self, name: str) -> str:
        """The name of a blob between the layers: the top itself where the layer works in place on its only bottom."""
        (top,) = self.layer.top
        return top if [*self.layer.bottom] == [top] else f"{top}/{name}"


_Replacement: TypeAlias = Callable[[_Piece], bool]  # whether there was one for these settings
_F = TypeVar("_F", bound=_Replacement)
_BY_CLASS: dict[type[Layer], _Replacement] = {}


def _replaces(*classes: type[Layer]) -> Callable[[_F], _F]:
    def add(function: _F) -> _F:
        _BY_CLASS.update(dict.fromkeys(classes, function))
        return function

    return add


def replaced(layer: pb.LayerParameter, shapes: Sequence[tuple[int, ...]]) -> Replaced | None:
    """BVLC's layers with the outputs of one; None where there are none, or none for its settings.

    shapes: of the bottoms, as far as they are known.
    """
    write = _BY_CLASS.get(class_of(layer))
    piece = _Piece(layer, shapes)
    return piece.made if write is not None and write(piece) else None


@_replaces(Add, Mul)
def _pairwise(piece: _Piece) -> bool:
    layer = piece.layer
    if not piece.shapes or any(shape != piece.shapes[0] for shape in piece.shapes):
        return False
    sum_or_product = pb.EltwiseParameter.SUM if class_of(layer) is Add else pb.EltwiseParameter.PROD
    piece.add(Eltwise, layer.bottom, layer.top[0], eltwise_param=pb.EltwiseParameter(operation=sum_or_product))
    return True


@_replaces(Axpy)
def _axpy(piece: _Piece) -> bool:
    a, x, y = piece.layer.bottom
    if not piece.shapes:
        return False
    if len(piece.shapes[0]) > 2:
        shape = pb.ReshapeParameter(shape=pb.BlobShape(dim=[0, -1]))
        a = piece.add(Reshape, [a], piece.part("factor"), "factor", reshape_param=shape)
    scaled = piece.add(Scale, [x, a], piece.part("scaled"), "scaled", scale_param=pb.ScaleParameter(axis=0))
    piece.add(Eltwise, [scaled, y], piece.layer.top[0])
    return True


@_replaces(ReLU, ReLU6)
def _relu6(piece: _Piece) -> bool:
    layer = piece.layer
    kind = class_of(layer)
    assert issubclass(kind, ReLU)
    one = kind(layer)
    if one.maximum is None:
        return False
    if one.slope == 0:
        piece.add(Clip, layer.bottom, layer.top[0], clip_param=pb.ClipParameter(min=0, max=one.maximum))
        return True
    settings = pb.ReLUParameter(negative_slope=one.slope)
    inner = piece.add(ReLU, layer.bottom, piece.part("relu"), "relu", relu_param=settings)
    lowest = float(np.finfo(np.float32).min)
    piece.add(Clip, [inner], layer.top[0], clip_param=pb.ClipParameter(min=lowest, max=one.maximum))
    return True


def _gate(piece: _Piece, top: str) -> str:
    """A HardSigmoid of the bottom."""
    settings = pb.PowerParameter(scale=1 / 6, shift=0.5)
    inner = piece.add(Power, piece.layer.bottom, piece.part("sixth"), "sixth", power_param=settings)
    return piece.add(Clip, [inner], top, "gate", clip_param=pb.ClipParameter(min=0, max=1))


def _times(piece: _Piece, factor: str) -> None:
    """The bottom times a factor."""
    product = pb.EltwiseParameter(operation="PROD")
    piece.add(Eltwise, [piece.layer.bottom[0], factor], piece.layer.top[0], eltwise_param=product)


@_replaces(HardSigmoid)
def _hard_sigmoid(piece: _Piece) -> bool:
    _gate(piece, piece.layer.top[0])
    return True


@_replaces(HardSwish)
def _hard_swish(piece: _Piece) -> bool:
    if piece.layer.top[0] == piece.layer.bottom[0]:
        return False
    _times(piece, _gate(piece, piece.part("gate")))
    return True


@_replaces(Mish)
def _mish(piece: _Piece) -> bool:
    if piece.layer.top[0] == piece.layer.bottom[0]:
        return False
    inner = piece.add(BNLL, piece.layer.bottom, piece.part("softplus"), "softplus")
    _times(piece, piece.add(TanH, [inner], piece.part("tanh"), "tanh"))
    return True


@_replaces(SeLU)
def _selu(piece: _Piece) -> bool:
    p, layer = piece.layer.selu_param, piece.layer
    inner = piece.add(ELU, layer.bottom, piece.part("elu"), "elu", elu_param=pb.ELUParameter(alpha=p.alpha))
    piece.add(Power, [inner], layer.top[0], power_param=pb.PowerParameter(scale=getattr(p, "lambda")))
    return True


@_replaces(Convolution, DepthwiseConvolution)
def _convolution(piece: _Piece) -> bool:
    """A group for each channel, and padding that is written by side but is equal on opposite ones."""
    old = piece.layer.convolution_param
    new = pb.ConvolutionParameter()
    new.CopyFrom(old)
    if class_of(piece.layer) is DepthwiseConvolution and not old.HasField("group"):
        if not piece.shapes:
            return False
        new.group = piece.shapes[0][old.axis]
    if old.pad_t or old.pad_b or old.pad_l or old.pad_r:
        if old.pad_t != old.pad_b or old.pad_l != old.pad_r or old.pad or old.HasField("pad_h"):
            return False
        new.pad_h, new.pad_w = old.pad_t, old.pad_l
    for name in ("pad_t", "pad_b", "pad_l", "pad_r"):
        new.ClearField(name)
    if new == old and piece.layer.type == Convolution.type:
        return False
    layer = piece.layer
    piece.add(Convolution, layer.bottom, layer.top[0], convolution_param=new)
    piece.made.layers[-1].top.extend(layer.top[1:])
    piece.made.layers[-1].param.extend(layer.param)
    return True


@_replaces(Pooling)
def _pooling(piece: _Piece) -> bool:
    """Rounding, padding and averages in BVLC's words where these have the same meaning."""
    old, kinds = piece.layer.pooling_param, pb.PoolingParameter
    new = pb.PoolingParameter()
    new.CopyFrom(old)
    for name in ("kernel", "stride", "pad"):
        shape = f"{name}_shape"
        if old.HasField(shape):
            if len(getattr(old, shape).dim) != 2:
                return False
            height, width = getattr(old, shape).dim
            setattr(new, f"{name}_h", height)
            setattr(new, f"{name}_w", width)
            new.ClearField(shape)
    if old.HasField("ceil_mode"):
        new.round_mode = kinds.CEIL if old.ceil_mode else kinds.FLOOR
        new.ClearField("ceil_mode")
    if (old.pad_t, old.pad_l) == (old.pad_b, old.pad_r):
        if old.pad_t or old.pad_l:
            new.pad_h, new.pad_w = old.pad_t, old.pad_l
        for name in ("pad_t", "pad_b", "pad_l", "pad_r"):
            new.ClearField(name)
    padded = any((new.pad, new.pad_h, new.pad_w, new.pad_t, new.pad_b, new.pad_l, new.pad_r))
    if not padded or new.pool == kinds.MAX or old.avg_include_pad:
        new.ClearField("avg_include_pad")
    if not padded and new.pool == kinds.AVE_EXC_PAD:
        new.pool = kinds.AVE
    if new == old or len(piece.layer.top) > 1:
        return False
    piece.add(Pooling, piece.layer.bottom, piece.layer.top[0], pooling_param=new)
    return True


@_replaces(ContinuationIndicator)
def _continuation_indicator(piece: _Piece) -> bool:
    """Constants: the first step and the others, joined."""
    p, layer = piece.layer.continuation_indicator_param, piece.layer
    steps, batch = p.time_step, p.batch_size
    if not (steps and batch):
        if not piece.shapes:
            return False
        steps, batch = piece.shapes[0][:2]
    elif layer.bottom and not p.flag:
        return False

    def constant(top: str, name: str, count: int, value: float) -> str:
        filler = pb.FillerParameter(type="constant", value=value)
        shape = pb.BlobShape(dim=(count, batch))
        return piece.add(
            DummyData, (), top, name, dummy_data_param=pb.DummyDataParameter(shape=[shape], data_filler=[filler])
        )

    if p.flag or steps == 1:
        constant(layer.top[0], "", steps, p.flag)
        return True
    parts = [constant(piece.part(name), name, *what) for name, *what in (("begin", 1, 0), ("go_on", steps - 1, 1))]
    piece.add(Concat, parts, layer.top[0], concat_param=pb.ConcatParameter(axis=0))
    return True


@_replaces(Squeeze)
def _squeeze(piece: _Piece) -> bool:
    if not piece.shapes:
        return False
    shape = piece.shapes[0]
    named = {axis % len(shape) for axis in piece.layer.squeeze_param.axis}
    kept = [i for i, dim in enumerate(shape) if (i not in named if named else dim != 1)]
    dims = [0 if i == k else shape[i] for k, i in enumerate(kept)]
    settings = pb.ReshapeParameter(shape=pb.BlobShape(dim=dims))
    piece.add(Reshape, piece.layer.bottom, piece.layer.top[0], reshape_param=settings)
    return True


@_replaces(Upsample)
def _upsample(piece: _Piece) -> bool:
    """Repetition by a Deconvolution of ones for each channel."""
    p, layer = piece.layer.upsample_param, piece.layer
    if len(layer.bottom) > 1 or not piece.shapes:
        return False
    scale = p.scale if p.HasField("scale") else 1
    height, width = (getattr(p, n) if p.HasField(n) else scale for n in ("scale_h", "scale_w"))
    channels = piece.shapes[0][1]
    new = pb.ConvolutionParameter(num_output=channels, group=channels, bias_term=False)
    new.kernel_h, new.kernel_w, new.stride_h, new.stride_w = height, width, height, width
    new.weight_filler.value = 1
    piece.add(Deconvolution, layer.bottom, layer.top[0], convolution_param=new)
    piece.made.layers[-1].param.add(lr_mult=0, decay_mult=0)
    piece.made.arrays[layer.name] = [np.ones((channels, 1, height, width), np.float32)]
    return True
