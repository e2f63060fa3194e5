"""Functions of each element."""

from __future__ import annotations

from dragon.export.torch.form import Call, form, number
from dragon.export.torch.state import Same
from dragon.layers.abs_val import AbsVal
from dragon.layers.bnll import BNLL
from dragon.layers.clip import Clip
from dragon.layers.dropout import Dropout
from dragon.layers.elu import ELU
from dragon.layers.exp import Exp
from dragon.layers.hard_sigmoid import HardSigmoid
from dragon.layers.hard_swish import HardSwish
from dragon.layers.insanity import Insanity
from dragon.layers.log import Log
from dragon.layers.mish import Mish
from dragon.layers.power import Power
from dragon.layers.prelu import PReLU
from dragon.layers.relu import ReLU
from dragon.layers.relu6 import ReLU6
from dragon.layers.selu import SeLU
from dragon.layers.sigmoid import Sigmoid
from dragon.layers.softmax import Softmax
from dragon.layers.spatial_dropout import SpatialDropout
from dragon.layers.swish import Swish
from dragon.layers.tanh import TanH
from dragon.layers.threshold import Threshold

__all__: list[str] = []


@form(ReLU, ReLU6)
def _relu(c: Call) -> str:
    """ReLU and ReLU6, with a slope for the negative side."""
    assert isinstance(c.layer, ReLU)
    if c.layer.maximum is not None and not c.layer.slope:
        return c.call("nn.ReLU6()")
    module = "nn.ReLU()" if not c.layer.slope else f"nn.LeakyReLU({number(c.layer.slope)})"
    y = c.call(module)
    return y if c.layer.maximum is None else f"{y}.clamp(max={number(c.layer.maximum)})"


@form(PReLU)
def _prelu(c: Call) -> str:
    """A learned slope; Caffe's single one is a blob without axes."""
    slope = c.layer.blobs[0]
    return c.call(f"nn.PReLU({slope.count})", Same("weight", 0, (slope.count,)))


@form(ELU)
def _elu(c: Call) -> str:
    return c.call(f"nn.ELU({number(c.layer.param.elu_param.alpha)})")


@form(SeLU)
def _selu(c: Call) -> str:
    """SeLU, whose numbers can be set."""
    p = c.layer.param.selu_param
    return f"{number(getattr(p, 'lambda'))} * F.elu({c.x}, {number(p.alpha)})"


@form(Mish)
def _mish(c: Call) -> str:
    return c.call("nn.Mish()")


@form(Sigmoid)
def _sigmoid(c: Call) -> str:
    return c.call("nn.Sigmoid()")


@form(TanH)
def _tanh(c: Call) -> str:
    return c.call("nn.Tanh()")


@form(AbsVal)
def _abs_val(c: Call) -> str:
    return f"{c.x}.abs()"


@form(BNLL)
def _bnll(c: Call) -> str:
    """BNLL; the threshold above which PyTorch copies its input lies where it changes nothing."""
    return c.call("nn.Softplus(threshold=50)")


@form(HardSigmoid)
def _hard_sigmoid(c: Call) -> str:
    return c.call("nn.Hardsigmoid()")


@form(HardSwish)
def _hard_swish(c: Call) -> str:
    return c.call("nn.Hardswish()")


@form(Swish)
def _swish(c: Call) -> str:
    """Swish, which PyTorch calls SiLU for a beta of 1."""
    beta = c.layer.param.swish_param.beta
    return c.call("nn.SiLU()") if beta == 1 else f"{c.x} * torch.sigmoid({number(beta)} * {c.x})"


@form(Clip)
def _clip(c: Call) -> str:
    p = c.layer.param.clip_param
    return f"{c.x}.clamp({number(p.min)}, {number(p.max)})"


@form(Threshold)
def _threshold(c: Call) -> str:
    return f"({c.x} > {number(c.layer.param.threshold_param.threshold)}).to({c.x}.dtype)"


def linear(x: str, scale: float, shift: float) -> str:
    """The expression scale * x + shift."""
    scaled = x if scale == 1 else f"{number(scale)} * {x}"
    return scaled if shift == 0 else f"{scaled} + {number(shift)}"


@form(Power)
def _power(c: Call) -> str:
    """Power; with a power of 0 it is 1."""
    p = c.layer.param.power_param
    inner = linear(c.x, p.scale, p.shift)
    if p.power == 1:
        return inner
    return f"({inner}) ** {number(p.power)}" if inner != c.x else f"{c.x} ** {number(p.power)}"


@form(Exp)
def _exp(c: Call) -> str:
    """Exp, of e or another base."""
    p = c.layer.param.exp_param
    inner = linear(c.x, p.scale, p.shift)
    return f"torch.exp({inner})" if p.base == -1 else f"{number(p.base)} ** ({inner})"


@form(Log)
def _log(c: Call) -> str:
    """Log, to e or another base."""
    assert isinstance(c.layer, Log)
    p = c.layer.param.log_param
    y = f"torch.log({linear(c.x, p.scale, p.shift)})"
    return y if p.base == -1 else f"{y} / {number(1 / c.layer.outer)}"


@form(Insanity)
def _insanity(c: Call) -> str:
    """Insanity, whose slopes are not those of nn.RReLU: it divides by what it draws."""
    layer = c.layer
    assert isinstance(layer, Insanity)
    return f"{c.part('insanity')}({c.x}, {number(layer.low)}, {number(layer.high)}, {layer.mean!r}, {c.training})"


@form(Dropout)
def _dropout(c: Call) -> str:
    """Dropout; forks that scale in TEST instead of TRAIN multiply by 1 - ratio behind it."""
    assert isinstance(c.layer, Dropout)
    y = c.x if c.own_phase is not None else c.call(f"nn.Dropout({number(c.layer.ratio)})")
    return y if c.layer.scales_train else f"{y} * {number(1 - c.layer.ratio)}"


@form(SpatialDropout)
def _spatial_dropout(c: Call) -> str:
    """SpatialDropout of channels, whatever follows them; PyTorch's takes images alone."""
    assert isinstance(c.layer, SpatialDropout)
    ones = ", 1" * (len(c.shape()) - 2)
    mask = f"{c.x}.new_ones(*{c.x}.shape[:2]{ones})"
    return f"{c.x} * F.dropout({mask}, {number(c.layer.ratio)}, {c.training})"


@form(Softmax)
def _softmax(c: Call) -> str:
    """Softmax along an axis."""
    return c.call(f"nn.Softmax(dim={c.axis(c.layer.param.softmax_param.axis)})")
