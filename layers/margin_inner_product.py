"""The layer type MarginInnerProduct."""

from __future__ import annotations

from dragon.bases.layer import register
from dragon.bases.margin_product import MarginProduct
from dragon.proto import dragon_pb2 as pb

__all__ = ["MarginInnerProduct"]


@register()
class MarginInnerProduct(MarginProduct):
    """Inner product with weights of length 1 and an angular margin (SphereFace, A-Softmax; Liu et al. 2017).

    y = |x| cos(theta), and for the class of the item (|x| psi(theta) + lambda |x| cos(theta)) / (1 + lambda), where psi
    has the margin m of `type`: SINGLE 1, which is no margin, to QUADRUPLE 4. lambda = max(base (1 + gamma n)^-power,
    lambda_min) in training iteration n. Bottoms: x (N, ...) and labels (N). Tops: (N, num_output), and optionally
    lambda (1). Blob: weight (num_output, K); w / |w| is used, and the weight itself stays as it is.

    The gradients are those of this formula. SphereFace's program takes others: it scales an item's own gradient to the
    length of a plain one, and that of the weights is of the product without margin.
    """

    type = "MarginInnerProduct"
    settings = ("margin_inner_product_param",)
    unit_weights = True

    @property
    def margin_param(self) -> pb.MarginInnerProductParameter:
        return self.param.margin_inner_product_param
