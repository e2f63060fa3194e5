"""InnerProduct: products by cuBLAS, the bias by convolution.cu."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import Layer
from dragon.engines.cuda.device.device import Matrix
from dragon.engines.cuda.lowerings.filtering import add_bias, learn_bias
from dragon.engines.cuda.lowerings.lowering import Lowering, lowers
from dragon.memory.blob import Blob

__all__ = ["InnerProductLowering"]


@lowers("InnerProduct")
class InnerProductLowering(Lowering):
    """InnerProduct: y (N, outputs) = x (N, inputs) W^T + bias."""

    half = True
    writes_gradients = True

    @classmethod
    def takes(cls, layer: Layer, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return bottom[0].count > 0

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        layer = self.layer
        rows, k = layer.rows, layer.inputs
        y = top[0].data.reshape(rows, -1)
        n = y.shape[1]
        weight = Matrix(self.working(layer.weight), n if layer.transposed else k, transposed=not layer.transposed)
        self.device.gemm(rows, n, k, Matrix(bottom[0].data, k), weight, Matrix(y, n))
        if layer.bias is not None:
            add_bias(self, y, layer.bias.data)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        layer = self.layer
        rows, k = layer.rows, layer.inputs
        dy, x = top[0].diff.reshape(rows, -1), bottom[0].data
        n, add = dy.shape[1], self.adds(layer.weight)
        if layer.transposed:
            a, b = Matrix(x, k, transposed=True), Matrix(dy, n)
            self.device.gemm(k, n, rows, a, b, Matrix(layer.weight.diff, n), add=add, unscale=self.unscale)
        else:
            a, b = Matrix(dy, n, transposed=True), Matrix(x, k)
            self.device.gemm(n, k, rows, a, b, Matrix(layer.weight.diff, k), add=add, unscale=self.unscale)
        if layer.bias is not None:
            learn_bias(self, dy, layer.bias)
        if propagate_down[0]:
            weight = Matrix(self.working(layer.weight), n if layer.transposed else k, transposed=layer.transposed)
            self.device.gemm(rows, k, n, Matrix(dy, n), weight, Matrix(bottom[0].diff, k))
