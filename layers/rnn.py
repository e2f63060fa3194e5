"""The layer type RNN."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.recurrent import Recurrent
from dragon.memory.blob import Blob
from dragon.memory.xp import xp_of

__all__ = ["RNN"]


@register()
class RNN(Recurrent):
    """Recurrent layer h_t = tanh(W_hh cont h_{t-1} + W_xh x_t + b_h), y_t = tanh(W_ho h_t + b_o).

    Blobs: W_xh, b_h, [W_xh_static], W_hh, W_ho, b_o. State: h. Bottoms and tops: see `dragon.bases.recurrent`.
    """

    type = "RNN"

    @property
    def reads_top(self) -> bool:
        """Backward computes from the result."""
        return True

    def add_recurrent_blobs(self) -> None:
        p = self.param.recurrent_param
        self.add_blob((self.size, self.size), p.weight_filler, "recurrent weight")
        self.add_blob((self.size, self.size), p.weight_filler, "output weight")
        self.add_blob((self.size,), p.bias_filler, "output bias")

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        sums = self.project(bottom)
        y, cont = top[0].data, bottom[1].data[:, :, None]
        w_hh, w_ho, b_o = (blob.data for blob in self._recurrent_blobs())
        xp = xp_of(sums)
        self.hidden = xp.empty((self.steps + 1, self.n, self.size), sums.dtype)
        self.hidden[0] = self.initial_states(bottom)[0]
        for t in range(self.steps):
            sums[t] += (self.hidden[t] * cont[t]) @ w_hh.T
            xp.tanh(sums[t], out=self.hidden[t + 1])
        y[...] = xp.tanh(self.hidden[1:] @ w_ho.T + b_o)
        self.store_final_states([self.hidden[-1]], top)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        y, dy, cont = top[0].data, top[0].diff, bottom[1].data[:, :, None]
        recurrent, output, output_bias = self._recurrent_blobs()
        w_hh, w_ho = recurrent.data, output.data
        rows = self.steps * self.n
        dsum = dy * (1 - y * y)
        flat = dsum.reshape(rows, -1)
        output.diff[...] += flat.T @ self.hidden[1:].reshape(rows, -1)
        output_bias.diff[...] += flat.sum(axis=0)
        through = dsum @ w_ho
        dgates = xp_of(dy).empty_like(through)
        dh = self.final_state_diffs(top, dy)[0]
        for t in reversed(range(self.steps)):
            dgates[t] = (dh + through[t]) * (1 - self.hidden[t + 1] ** 2)
            dh = (dgates[t] @ w_hh) * cont[t]
        recurrent.diff[...] += dgates.reshape(rows, -1).T @ (self.hidden[:-1] * cont).reshape(rows, -1)
        self.project_backward(dgates, propagate_down, bottom)
        self.store_initial_diffs([dh], propagate_down, bottom)
