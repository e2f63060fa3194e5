"""Functions of each element: neurons, and what is made of several layers."""

from __future__ import annotations

import math

import numpy as np

from dragon.importing.context import Context
from dragon.importing.graph import NoForm
from dragon.importing.registry import operator

LARGEST = float(np.finfo(np.float32).max)  # a limit that nothing exceeds
_SELU = (1.6732632423543772, 1.0507009873554805)  # alpha, gamma (Klambauer et al. 2017)


@operator("Relu")
def relu(c: Context) -> None:
    """The layer ReLU."""
    c.result(c.layer("ReLU", c.blob()))


@operator("LeakyRelu")
def leaky_relu(c: Context) -> None:
    """ReLU with negative_slope."""
    c.result(c.layer("ReLU", c.blob(), relu_param={"negative_slope": c.node.number("alpha", 0.01)}))


@operator("PRelu")
def prelu(c: Context) -> None:
    """PReLU, with one slope or one for each channel."""
    slope, shape = c.needed_constant(1, "slope"), c.shape()
    if slope.size == 1:
        c.result(c.layer("PReLU", c.blob(), arrays=[slope.reshape(())], prelu_param={"channel_shared": True}))
        return
    if (
        len(shape) < 2
        or slope.size != shape[1]
        or (1,) * (len(shape) - slope.ndim) + slope.shape != (1, shape[1], *[1] * (len(shape) - 2))
    ):
        raise NoForm(f"its slope of shape {slope.shape} is not one for each channel of {shape}")
    c.result(c.layer("PReLU", c.blob(), arrays=[slope.reshape(-1)]))


@operator("Clip")
def clip(c: Context) -> None:
    """ReLU6 for 0 to 6, ReLU for 0 and above, else Clip."""
    low, high = c.scalar_of("min", 1, -LARGEST), c.scalar_of("max", 2, LARGEST)
    c.result(clipped(c, c.blob(), low, high))


def clipped(c: Context, blob: str, low: float, high: float) -> str:
    """A blob limited to a range."""
    if low == 0 and high >= LARGEST:
        return c.layer("ReLU", blob)
    if low == 0 and high == 6 and not c.bvlc:
        return c.layer("ReLU6", blob)
    limits = {"min": max(low, -LARGEST), "max": min(high, LARGEST)}
    if limits["min"] > limits["max"]:
        raise NoForm(f"its limits {low:g} and {high:g} are the wrong way round")
    return c.layer("Clip", blob, clip_param=limits)


@operator("Sigmoid")
def sigmoid(c: Context) -> None:
    """The layer Sigmoid."""
    c.result(c.layer("Sigmoid", c.blob()))


@operator("Tanh")
def tanh(c: Context) -> None:
    """The layer TanH."""
    c.result(c.layer("TanH", c.blob()))


@operator("HardSigmoid")
def hard_sigmoid(c: Context) -> None:
    """HardSigmoid for x / 6 + 1/2, else Power and Clip."""
    c.result(_hard_sigmoid(c, c.node.number("alpha", 0.2), c.node.number("beta", 0.5)))


def _hard_sigmoid(c: Context, alpha: float, beta: float) -> str:
    if math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5 and not c.bvlc:
        return c.layer("HardSigmoid", c.blob())
    return c.layer("Clip", c.linear(c.blob(), alpha, beta), clip_param={"min": 0, "max": 1})


@operator("HardSwish")
def hard_swish(c: Context) -> None:
    """HardSwish; with --bvlc Power, Clip and a product."""
    if c.bvlc:
        c.result(c.eltwise([c.blob(), _hard_sigmoid(c, 1 / 6, 0.5)], "PROD"))
    else:
        c.result(c.layer("HardSwish", c.blob()))


@operator("Swish")
def swish(c: Context) -> None:
    """Swish, also for x * sigmoid(x) (SiLU)."""
    alpha = c.node.number("alpha", 1.0)
    c.result(c.layer("Swish", c.blob(), swish_param={} if alpha == 1 else {"beta": alpha}))


@operator("Elu")
def elu(c: Context) -> None:
    """The layer ELU."""
    c.result(c.layer("ELU", c.blob(), elu_param={"alpha": c.node.number("alpha", 1.0)}))


@operator("Selu")
def selu(c: Context) -> None:
    """SeLU; with --bvlc, and for other factors than those of its paper, ELU and Power."""
    alpha, gamma = c.node.number("alpha", _SELU[0]), c.node.number("gamma", _SELU[1])
    if not c.bvlc and np.allclose((alpha, gamma), _SELU, rtol=1e-6):
        c.result(c.layer("SeLU", c.blob()))
        return
    c.result(c.linear(c.layer("ELU", c.blob(), elu_param={"alpha": alpha}), gamma))


@operator("Celu")
def celu(c: Context) -> None:
    """ELU of x / alpha, times alpha."""
    alpha = c.node.number("alpha", 1.0)
    c.result(c.linear(c.layer("ELU", c.linear(c.blob(), 1 / alpha, suffix="inner")), alpha, suffix="outer"))


@operator("Softplus")
def softplus(c: Context) -> None:
    """BNLL, which is log(1 + exp(x))."""
    c.result(c.layer("BNLL", c.blob()))


@operator("Mish")
def mish(c: Context) -> None:
    """Mish; with --bvlc BNLL, TanH and a product."""
    if not c.bvlc:
        c.result(c.layer("Mish", c.blob()))
        return
    c.result(c.eltwise([c.blob(), c.layer("TanH", c.layer("BNLL", c.blob()))], "PROD"))


@operator("Softsign")
def softsign(c: Context) -> None:
    """AbsVal, Power and a product."""
    inverse = c.linear(c.layer("AbsVal", c.blob()), 1, 1, -1)
    c.result(c.eltwise([c.blob(), inverse], "PROD"))


@operator("ThresholdedRelu")
def thresholded_relu(c: Context) -> None:
    """Threshold and a product."""
    above = c.layer("Threshold", c.blob(), threshold_param={"threshold": c.node.number("alpha", 1.0)})
    c.result(c.eltwise([c.blob(), above], "PROD"))


@operator("Gelu")
def gelu(c: Context) -> None:
    """Power, Exp and products, with the error function to 1.5e-7; TanH for the tanh form."""
    x = c.blob()
    if c.node.text("approximate", "none") == "tanh":
        cube = c.linear(x, power=3, suffix="cube")
        inner = c.eltwise([x, cube], "SUM", "inner", [math.sqrt(2 / math.pi), math.sqrt(2 / math.pi) * 0.044715])
        gate = c.linear(c.layer("TanH", inner), 0.5, 0.5, suffix="gate")
        c.result(c.eltwise([x, gate], "PROD"))
        return
    # x erf(x / sqrt 2) = |x| erf(|x| / sqrt 2), by formula 7.1.26 of Abramowitz & Stegun for arguments above 0
    size = c.layer("AbsVal", x)
    t = c.linear(size, 0.3275911 / math.sqrt(2), 1, -1, "t")
    factors = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
    series = c.linear(t, factors[0], factors[1], suffix="series")
    for k, factor in enumerate(factors[2:]):
        product = c.eltwise([series, t], "PROD", f"term{k}")
        series = c.linear(product, 1, factor, suffix=f"series{k}")
    series = c.eltwise([series, t], "PROD", "series")
    fall = c.layer("Exp", c.linear(x, power=2, suffix="square"), exp_param={"scale": -0.5})
    erf = c.linear(c.eltwise([series, fall], "PROD", "rest"), -1, 1, suffix="erf")
    c.result(c.eltwise([x, c.eltwise([size, erf], "PROD", "even")], "SUM", coeff=[0.5, 0.5]))


@operator("Exp")
def exp(c: Context) -> None:
    """The layer Exp."""
    c.result(c.layer("Exp", c.blob()))


@operator("Log")
def log(c: Context) -> None:
    """The layer Log."""
    c.result(c.layer("Log", c.blob()))


@operator("Abs")
def absolute(c: Context) -> None:
    """AbsVal."""
    c.result(c.layer("AbsVal", c.blob()))


@operator("Neg")
def negative(c: Context) -> None:
    """Power."""
    c.result(c.linear(c.blob(), -1))


@operator("Sqrt")
def square_root(c: Context) -> None:
    """Power."""
    c.result(c.linear(c.blob(), power=0.5))


@operator("Reciprocal")
def reciprocal(c: Context) -> None:
    """Power."""
    c.result(c.linear(c.blob(), power=-1))


@operator("Softmax")
def softmax(c: Context) -> None:
    """Softmax, over one axis or, in operator sets before 13, over all from it on."""
    c.result(_softmax(c))


@operator("LogSoftmax")
def log_softmax(c: Context) -> None:
    """Softmax and Log."""
    c.result(c.layer("Log", _softmax(c)))


def _softmax(c: Context) -> str:
    shape = c.shape()
    axis = c.axis(c.node.integer("axis", -1 if c.node.opset >= 13 else 1))
    if c.node.opset >= 13 or math.prod(shape[axis + 1 :]) == 1:
        return c.layer("Softmax", c.blob(), softmax_param={} if axis == 1 else {"axis": axis})
    flat = [*shape[:axis], math.prod(shape[axis:])]
    rows = c.layer("Softmax", c.reshape(c.blob(), shape, flat, "flat"), softmax_param={"axis": axis})
    return c.reshape(rows, flat, shape)
