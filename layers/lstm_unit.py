"""The layer type LSTMUnit, and the step of an LSTM that it and LSTM compute."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import Layer, register
from dragon.layers.sigmoid import sigmoid
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["LSTMUnit", "lstm_step", "lstm_step_backward"]


def lstm_step(c_prev: Array, gates: Array, cont: Array) -> tuple[Array, Array]:
    """New cell and output, each (N, D); `gates` (N, 4 D) is overwritten by its activations.

    c_prev: (N, D). cont: (N, 1), 0 where a sequence begins.
    """
    xp = xp_of(gates)
    size = c_prev.shape[1]
    sigmoid(gates[:, : 3 * size], gates[:, : 3 * size])
    xp.tanh(gates[:, 3 * size :], out=gates[:, 3 * size :])
    i, f, o, g = (gates[:, k * size : (k + 1) * size] for k in range(4))
    c = cont * f * c_prev + i * g
    return c, o * xp.tanh(c)


def lstm_step_backward(
    c_prev: Array, gates: Array, cont: Array, c: Array, dc: Array, dh: Array, dgates: Array
) -> Array:
    """Write the gradient of the gates before activation to `dgates`; returns the gradient of c_prev.

    gates: as lstm_step left them. dc, dh: gradients of the new cell `c` and of the output.
    """
    size = c_prev.shape[1]
    i, f, o, g = (gates[:, k * size : (k + 1) * size] for k in range(4))
    tanh_c = xp_of(c).tanh(c)
    total = dc + dh * o * (1 - tanh_c * tanh_c)
    dgates[:, :size] = total * g * i * (1 - i)
    dgates[:, size : 2 * size] = total * c_prev * cont * f * (1 - f)
    dgates[:, 2 * size : 3 * size] = dh * tanh_c * o * (1 - o)
    dgates[:, 3 * size :] = total * i * (1 - g * g)
    dc_prev: Array = total * f * cont
    return dc_prev


@register()
class LSTMUnit(Layer):
    """One step of an LSTM, from the gates before their activation to the new cell and output.

    Hochreiter & Schmidhuber 1997, with forget gates: i, f, o = sigmoid, g = tanh of the four quarters of the gates; c =
    cont * f * c_prev + i * g; h = o * tanh(c). Bottoms: c_prev (1, N, D), gates (1, N, 4 D), cont (1, N). Tops: c and
    h, both (1, N, D).
    """

    type = "LSTMUnit"
    bottoms = (3, 3)
    tops = (2, 2)

    @property
    def reads_top(self) -> bool:
        """Backward computes from the result."""
        return True

    def can_propagate(self, index: int) -> bool:
        return index != 2

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) != 3 or shape[0] != 1:
            self.bad_shape(f"the previous cell must have shape (1, N, D), got {shape}")
        _, n, size = shape
        for i, wanted in ((1, (1, n, 4 * size)), (2, (1, n))):
            if bottom[i].shape != wanted:
                self.bad_shape(f"bottom {i}: expected shape {wanted}, got {bottom[i].shape}")
        for blob in top:
            blob.reshape(shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.gates = bottom[1].data[0].copy()
        c, h = lstm_step(bottom[0].data[0], self.gates, bottom[2].data[0][:, None])
        top[0].data[0] = c
        top[1].data[0] = h

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dgates = xp_of(self.gates).empty_like(self.gates)
        dc_prev = lstm_step_backward(
            bottom[0].data[0],
            self.gates,
            bottom[2].data[0][:, None],
            top[0].data[0],
            top[0].diff[0],
            top[1].diff[0],
            dgates,
        )
        if propagate_down[0]:
            bottom[0].diff[0] = dc_prev
        if propagate_down[1]:
            bottom[1].diff[0] = dgates
