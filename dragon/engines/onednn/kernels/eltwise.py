"""Element-wise functions, and PReLU, whose slopes are learned.

oneDNN's formulas for x, with alpha and beta: relu max(x, 0) + alpha min(x, 0), elu alpha (e^x - 1) below 0,
linear alpha x + beta, soft_relu log(1 + e^(alpha x)) / alpha, swish x sigmoid(alpha x), pow alpha x^beta,
clip into [alpha, beta].
"""

from __future__ import annotations

from dragon.engines.onednn.library.constants import Alg, Arg, Prop
from dragon.engines.onednn.library.memory import Device, MemoryDesc
from dragon.engines.onednn.library.primitive import Primitive

__all__ = ["LIMITS", "USES_DST", "backward", "forward", "keeping_nan", "prelu_backward", "prelu_forward"]

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
