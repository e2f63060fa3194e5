"""Element-wise functions, and PReLU, whose slopes are learned.

oneDNN's formulas for x, with alpha and beta: relu max(x, 0) + alpha min(x, 0), elu alpha (e^x - 1) below 0,
linear alpha x + beta, soft_relu log(1 + e^(alpha x)) / alpha, swish x sigmoid(alpha x), pow alpha x^beta,
clip into [alpha, beta].
"""

from __future__ import annotations

from collections.abc import Callable

from dragon.engines.onednn.library.constants import Alg, Arg, Prop
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.primitive import Primitive

__all__ = [
    "KEEP_POSITIVE",
    "LIMITS",
    "REACH",
    "USES_DST",
    "backward",
    "forward",
    "keeping_nan",
    "never_negative",
    "prelu_backward",
    "prelu_forward",
]

# The backward algorithms that need only the result, so the layer may run in place (relu and elu: alpha >= 0).
USES_DST = {
    Alg.eltwise_relu: Alg.eltwise_relu_use_dst_for_bwd,
    Alg.eltwise_tanh: Alg.eltwise_tanh_use_dst_for_bwd,
    Alg.eltwise_elu: Alg.eltwise_elu_use_dst_for_bwd,
    Alg.eltwise_sqrt: Alg.eltwise_sqrt_use_dst_for_bwd,
    Alg.eltwise_logistic: Alg.eltwise_logistic_use_dst_for_bwd,
    Alg.eltwise_exp: Alg.eltwise_exp_use_dst_for_bwd,
    Alg.eltwise_clip_v2: Alg.eltwise_clip_v2_use_dst_for_bwd,
}


LIMITS = (Alg.eltwise_clip, Alg.eltwise_clip_v2)  # into [alpha, beta], which NaN is put into as well

# The largest magnitude of the function of numbers up to |x|, by (|x|, alpha, beta). Functions that make NaN or infinity
# of some numbers are not among them.
REACH: dict[Alg, Callable[[float, float, float], float]] = {
    Alg.eltwise_relu: lambda x, alpha, beta: max(1.0, abs(alpha)) * x,
    Alg.eltwise_elu: lambda x, alpha, beta: max(x, abs(alpha)),
    Alg.eltwise_linear: lambda x, alpha, beta: abs(alpha) * x + abs(beta),
    Alg.eltwise_soft_relu: lambda x, alpha, beta: x + 1 / abs(alpha),  # at 0 log 2 / alpha
    **dict.fromkeys(
        (Alg.eltwise_abs, Alg.eltwise_hardswish, Alg.eltwise_mish, Alg.eltwise_swish), lambda x, alpha, beta: x
    ),
    **dict.fromkeys((Alg.eltwise_hardsigmoid, Alg.eltwise_logistic, Alg.eltwise_tanh), lambda x, alpha, beta: 1.0),
    **dict.fromkeys(LIMITS, lambda x, alpha, beta: max(abs(alpha), abs(beta))),
}
KEEP_POSITIVE = (
    Alg.eltwise_relu,
    Alg.eltwise_elu,
    Alg.eltwise_tanh,
    Alg.eltwise_swish,
    Alg.eltwise_mish,
    Alg.eltwise_hardswish,
)  # no number above 0 becomes one below it
_POSITIVE = (Alg.eltwise_abs, Alg.eltwise_exp, Alg.eltwise_hardsigmoid, Alg.eltwise_logistic)


def never_negative(alg: Alg, alpha: float) -> bool:
    """Whether the function has no result below 0."""
    if alg in (Alg.eltwise_relu, Alg.eltwise_elu):
        return alpha == 0
    if alg in LIMITS:
        return alpha >= 0
    return alg in _POSITIVE or (alg == Alg.eltwise_soft_relu and alpha > 0)


def keeping_nan(alg: Alg, alpha: float) -> Alg:
    """An algorithm with the results of `alg` that leaves NaN as it is, for forward and post-ops.

    oneDNN's relu without a slope is max(x, 0), which is 0 for NaN. Its elu with alpha 0 is x above 0 and
    0 (e^x - 1) below: the same numbers, and NaN for NaN.
    """
    return Alg.eltwise_elu if alg == Alg.eltwise_relu and alpha == 0 else alg


def forward(
    device: Device,
    alg: Alg,
    src: MemoryDesc,
    alpha: float = 0.0,
    beta: float = 0.0,
    *,
    training: bool = True,
    layer: str = "",
) -> Primitive:
    """SRC -> DST in the same layout; both may be one memory."""
    prop = Prop.forward_training if training else Prop.forward_inference
    create = "eltwise_forward_primitive_desc_create"
    return Primitive(device, create, [prop, alg, src, src, alpha, beta], [Arg.SRC], [Arg.DST], layer=layer)


def backward(
    device: Device,
    alg: Alg,
    hint: Primitive,
    data: MemoryDesc,
    alpha: float = 0.0,
    beta: float = 0.0,
    *,
    diff: MemoryDesc | None = None,
    layer: str = "",
) -> Primitive:
    """SRC (DST for the algorithms that ``USES_DST`` maps to), DIFF_DST -> DIFF_SRC; may run in place."""
    diff = diff or data
    return Primitive(
        device,
        "eltwise_backward_primitive_desc_create",
        [alg, diff, diff, data, alpha, beta, hint.desc],
        [Arg.DST if alg in USES_DST.values() else Arg.SRC, Arg.DIFF_DST],
        [Arg.DIFF_SRC],
        layer=layer,
    )


def prelu_forward(
    device: Device, src: MemoryDesc, weights: MemoryDesc, *, training: bool = True, layer: str = ""
) -> Primitive:
    """SRC, WEIGHTS -> DST; weights have src's rank with 1 where a slope is shared."""
    prop = Prop.forward_training if training else Prop.forward_inference
    create = "prelu_forward_primitive_desc_create"
    return Primitive(device, create, [prop, src, weights, src], [Arg.SRC, Arg.WEIGHTS], [Arg.DST], layer=layer)


def prelu_backward(
    device: Device, hint: Primitive, src: MemoryDesc, weights: MemoryDesc, *, layer: str = ""
) -> Primitive:
    """SRC, WEIGHTS, DIFF_DST -> DIFF_SRC, DIFF_WEIGHTS."""
    return Primitive(
        device,
        "prelu_backward_primitive_desc_create",
        [src, weights, src, weights, src, hint.desc],
        [Arg.SRC, Arg.WEIGHTS, Arg.DIFF_DST],
        [Arg.DIFF_SRC, Arg.DIFF_WEIGHTS],
        layer=layer,
    )
