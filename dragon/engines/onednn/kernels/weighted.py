"""The part that convolution, deconvolution and inner product share: source, weights and bias to destination.

In int8 with s source, w weights, each with a float32 scale: dst = post-ops(scale_s scale_w sum(s w) + bias), where the
sum is exact in 32 bits, bias and post-ops are float32, and an int8 destination is divided by its scale and rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from dragon.engines.onednn.library.constants import Alg, Arg, DataType, Prop
from dragon.engines.onednn.library.descriptor import MemoryDesc, Shape
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.primitive import Attributes, EltwisePost, PostOp, Primitive, binary_operands

__all__ = ["WeightedSpec", "backward_data", "backward_weights", "forward", "forward_int8"]

_LOSING = ("ref", "x64:gemm")  # kernels whose post-ops make 0 of NaN: quirk "logistic of NaN"


class WeightedSpec(Protocol):
    """One such operation. ``dtype`` is that of src, weights and dst; diff_weights and biases are float32."""

    @property
    def src(self) -> Shape:
        """(N, inputs, spatial...)."""
        ...

    @property
    def dst(self) -> Shape:
        """(N, outputs, spatial...)."""
        ...

    @property
    def weights(self) -> Shape:
        """In oneDNN's logical order."""
        ...

    @property
    def bias(self) -> bool:
        """Whether there is a bias, float32 (outputs,)."""
        ...

    @property
    def dtype(self) -> DataType:
        """The element type of src, weights and dst."""
        ...

    @property
    def family(self) -> str:
        """The prefix of the names of its C functions."""
        ...

    @property
    def algorithm(self) -> list[Any]:
        """The arguments before the descriptors, in all three functions."""
        ...

    @property
    def window(self) -> list[Any]:
        """The arguments after the descriptors."""
        ...


def _bias(spec: WeightedSpec) -> MemoryDesc | None:
    return MemoryDesc.plain(spec.dst[1:2]) if spec.bias else None


def forward(
    device: Device,
    spec: WeightedSpec,
    *,
    src: MemoryDesc | None = None,
    weights: MemoryDesc | None = None,
    dst: MemoryDesc | None = None,
    training: bool = True,
    post_ops: Sequence[PostOp] = (),
    layer: str = "",
) -> Primitive:
    """SRC, WEIGHTS, (BIAS) -> DST; a layout not given is the library's choice."""
    primitive = Primitive(
        device,
        f"{spec.family}_forward_primitive_desc_create",
        [
            Prop.forward_training if training else Prop.forward_inference,
            *spec.algorithm,
            src or MemoryDesc.any(spec.src, spec.dtype),
            weights or MemoryDesc.any(spec.weights, spec.dtype),
            _bias(spec),
            dst or MemoryDesc.any(spec.dst, spec.dtype),
            *spec.window,
        ],
        [Arg.SRC, Arg.WEIGHTS, *([Arg.BIAS] if spec.bias else []), *binary_operands(post_ops)],
        [Arg.DST],
        attributes=Attributes(post_ops),
        layer=layer,
    )
    if any(map(_is_logistic, post_ops)) and primitive.implementation.startswith(_LOSING):
        return primitive.with_post_ops([each for post in post_ops for each in _by_tanh(post)])
    return primitive


def _is_logistic(post: PostOp) -> bool:
    return isinstance(post, EltwisePost) and post.alg == Alg.eltwise_logistic


def _by_tanh(post: PostOp) -> list[PostOp]:
    """A logistic function as (1 + tanh(x / 2)) / 2, which keeps NaN; other post-ops as they are."""
    if not _is_logistic(post):
        return [post]
    half = EltwisePost(Alg.eltwise_linear, 0.5), EltwisePost(Alg.eltwise_linear, 0.5, 0.5)
    return [half[0], EltwisePost(Alg.eltwise_tanh), half[1]]


def forward_int8(
    device: Device,
    spec: WeightedSpec,
    *,
    src: MemoryDesc,
    dst: MemoryDesc,
    post_ops: Sequence[PostOp] = (),
    layer: str = "",
) -> Primitive:
    """SRC (s8 or u8), WEIGHTS (s8), BIAS (float32) -> DST (float32, s8 or u8), for inference.

    Scales are float32 memories under ``Arg.runtime_scale``: one of SRC, one of each output of WEIGHTS, and one of DST
    unless that is float32.
    """
    grouped = len(spec.weights) > len(spec.src)
    scales = {Arg.SRC: 0, Arg.WEIGHTS: 0b11 if grouped else 0b1}
    if dst.dtype != DataType.f32:
        scales[Arg.DST] = 0
    weights = MemoryDesc.any(spec.weights, DataType.s8)
    return Primitive(
        device,
        f"{spec.family}_forward_primitive_desc_create",
        [Prop.forward_inference, *spec.algorithm, src, weights, _bias(spec), dst, *spec.window],
        [Arg.SRC, Arg.WEIGHTS, *([Arg.BIAS] if spec.bias else []), *binary_operands(post_ops)],
        [Arg.DST],
        attributes=Attributes(post_ops, scales),
        layer=layer,
    )


def backward_data(
    device: Device,
    spec: WeightedSpec,
    hint: Primitive,
    *,
    diff_dst: MemoryDesc | None = None,
    weights: MemoryDesc | None = None,
    diff_src: MemoryDesc | None = None,
    layer: str = "",
) -> Primitive:
    """DIFF_DST, WEIGHTS -> DIFF_SRC; ``hint`` is the forward primitive."""
    return Primitive(
        device,
        f"{spec.family}_backward_data_primitive_desc_create",
        [
            *spec.algorithm,
            diff_src or MemoryDesc.any(spec.src, spec.dtype),
            weights or MemoryDesc.any(spec.weights, spec.dtype),
            diff_dst or MemoryDesc.any(spec.dst, spec.dtype),
            *spec.window,
            hint.desc,
        ],
        [Arg.DIFF_DST, Arg.WEIGHTS],
        [Arg.DIFF_SRC],
        layer=layer,
    )


def backward_weights(
    device: Device,
    spec: WeightedSpec,
    hint: Primitive,
    *,
    src: MemoryDesc | None = None,
    diff_dst: MemoryDesc | None = None,
    diff_weights: MemoryDesc | None = None,
    layer: str = "",
) -> Primitive:
    """SRC, DIFF_DST -> DIFF_WEIGHTS, (DIFF_BIAS), both float32."""
    return Primitive(
        device,
        f"{spec.family}_backward_weights_primitive_desc_create",
        [
            *spec.algorithm,
            src or MemoryDesc.any(spec.src, spec.dtype),
            diff_weights or MemoryDesc.any(spec.weights),
            _bias(spec),
            diff_dst or MemoryDesc.any(spec.dst, spec.dtype),
            *spec.window,
            hint.desc,
        ],
        [Arg.SRC, Arg.DIFF_DST],
        [Arg.DIFF_WEIGHTS, *([Arg.DIFF_BIAS] if spec.bias else [])],
        layer=layer,
    )
