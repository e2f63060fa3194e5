"""The layer type LSTM."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.recurrent import Recurrent
from dragon.layers.lstm_unit import lstm_step, lstm_step_backward
from dragon.memory.blob import Blob
from dragon.memory.xp import xp_of

__all__ = ["LSTM"]


@register()
class LSTM(Recurrent):
    """Long short-term memory over sequences (Hochreiter & Schmidhuber 1997, with forget gates).

    Blobs: W_xc (4 D, inputs), b_c (4 D), [W_xc_static (4 D, static inputs)], W_hc (4 D, D); gates in the order i, f, o,
    g. States: h, c. Bottoms and tops: see `dragon.bases.recurrent`.
    """

    type = "LSTM"
    gates = 4
    states = ("h", "c")

    def add_recurrent_blobs(self) -> None:
        self.add_blob((4 * self.size, self.size), self.param.recurrent_param.weight_filler, "recurrent weight")

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        gates = self.project(bottom)
        y, cont = top[0].data, bottom[1].data[:, :, None]
        weight = self._recurrent_blobs()[0].data.T
        h, c = self.initial_states(bottom)
        xp = xp_of(gates)
        self.outputs, self.cells = (xp.empty((self.steps + 1, self.n, self.size), gates.dtype) for _ in range(2))
        self.outputs[0], self.cells[0] = h, c
        for t in range(self.steps):
            gates[t] += (self.outputs[t] * cont[t]) @ weight
            self.cells[t + 1], self.outputs[t + 1] = lstm_step(self.cells[t], gates[t], cont[t])
        self.activated = gates
        y[...] = self.outputs[1:]
        self.store_final_states([self.outputs[-1], self.cells[-1]], top)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy, cont = top[0].diff, bottom[1].data[:, :, None]
        recurrent = self._recurrent_blobs()[0]
        weight = recurrent.data
        dgates = xp_of(dy).empty_like(self.activated)
        dh, dc = self.final_state_diffs(top, dy)
        for t in reversed(range(self.steps)):
            dc = lstm_step_backward(
                self.cells[t], self.activated[t], cont[t], self.cells[t + 1], dc, dh + dy[t], dgates[t]
            )
            dh = (dgates[t] @ weight) * cont[t]
        flat = dgates.reshape(self.steps * self.n, -1)
        recurrent.diff[...] += flat.T @ (self.outputs[:-1] * cont).reshape(self.steps * self.n, -1)
        self.project_backward(dgates, propagate_down, bottom)
        self.store_initial_diffs([dh, dc], propagate_down, bottom)
