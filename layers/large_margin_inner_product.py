"""The layer type LargeMarginInnerProduct."""

from __future__ import annotations

from dragon.bases.layer import register
from dragon.bases.margin_product import MarginProduct
from dragon.proto import dragon_pb2 as pb

__all__ = ["LargeMarginInnerProduct"]


@register()
class LargeMarginInnerProduct(MarginProduct):
    """Inner product with an angular margin (L-Softmax; Liu et al. 2016).

    y = <x, w> = |x| |w| cos(theta), and for the class of the item (|x| |w| psi(theta) + lambda <x, w>) / (1 + lambda),
    where psi has the margin m of `type`: SINGLE 1, which is no margin, to QUADRUPLE 4. lambda = max(base (1 + gamma
    n)^-power, lambda_min) in training iteration n. Bottoms: x (N, ...) and labels (N). Tops: (N, num_output), and
    optionally lambda (1). Blob: weight (num_output, K).
    """

    type = "LargeMarginInnerProduct"
    settings = ("largemargin_inner_product_param",)

    @property
    def margin_param(self) -> pb.LargeMarginInnerProductParameter:
        return self.param.largemargin_inner_product_param
