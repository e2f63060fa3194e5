"""The layer type Lstm, of caffe-lstm; LSTM is BVLC Caffe's."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.recurrent import Carried
from dragon.counting import how_many
from dragon.layers.lstm_unit import lstm_step, lstm_step_backward
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["RowLSTM"]


@register()
class RowLSTM(Carried):
    """The LSTM of caffe-lstm (junhyukoh), whose sequences are rows of one axis.

    bottom 0: (T * N, ...), step by step, with N = batch_size; top: (T * N, num_output). A bottom of three axes without
    batch_size is (T, N, inputs), the top (T, N, num_output), as caffe_ocr has it. bottom 1, `clip` (T * N), is 0 where
    a sequence begins; with it a batch begins with the final states of the batch before, without it with zeros.
    No gradient flows between batches. Gates are in the order i, f, o, g, as in LSTM. With `clipping_threshold` above 0,
    gradients of the gates before activation are limited to [-clipping_threshold, clipping_threshold].

    Blobs: input weight (4 D, inputs), recurrent weight (4 D, D), bias (4 D).
    """

    type = "Lstm"
    settings = ("lstm_param",)
    unlimited = frozenset({"clipping_threshold"})
    bottoms = (1, 2)
    tops = (1, 1)
    states = ("h", "c")

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.lstm_param
        if p.num_output < 1 or p.batch_size < 1:
            self.bad_param(f"num_output and batch_size must be at least 1, got {p.num_output} and {p.batch_size}")
        self.size, self.n = p.num_output, p.batch_size
        self.has_batch_axis = bottom[0].ndim == 3 and not p.HasField("batch_size")
        self.inputs = math.prod(bottom[0].shape[1 + self.has_batch_axis :])
        self.add_blob((4 * self.size, self.inputs), p.weight_filler, "input weight")
        self.add_blob((4 * self.size, self.size), p.weight_filler, "recurrent weight")
        self.add_blob((4 * self.size,), p.bias_filler, "bias")
        self.carried = []

    def can_propagate(self, index: int) -> bool:
        return index == 0

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if self.has_batch_axis:
            if len(shape) != 3 or shape[2] != self.inputs:
                self.bad_shape(f"needs a bottom of shape (T, N, {self.inputs}), got shape {shape}")
            self.n, shape = shape[1], (shape[0] * shape[1], shape[2])
        if not shape or shape[0] % max(self.n, 1) or math.prod(shape[1:]) != self.inputs:
            self.bad_shape(
                f"needs a bottom with a multiple of batch_size {how_many(self.n, 'row')} of "
                f"{how_many(self.inputs, 'value')}, got shape {shape}"
            )
        rows = bottom[0].shape[: 1 + self.has_batch_axis]
        if len(bottom) > 1 and (bottom[1].count != shape[0] or bottom[1].shape[: len(rows)] not in (rows, shape[:1])):
            self.bad_shape(
                f"bottom 1 says where sequences go on: expected {how_many(shape[0], 'value')}, got {bottom[1].shape}"
            )
        self.steps = bottom[0].shape[0] if self.has_batch_axis else shape[0] // self.n
        top[0].reshape(*rows, self.size)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data.reshape(self.steps * self.n, self.inputs)
        xp = xp_of(x)
        input_weight, recurrent, bias = (blob.data for blob in self.blobs)
        gates = (x @ input_weight.T + bias).reshape(self.steps, self.n, 4 * self.size)
        self.outputs, self.cells = (xp.empty((self.steps + 1, self.n, self.size), x.dtype) for _ in range(2))
        if len(bottom) > 1:
            self.outputs[0], self.cells[0] = self.carried_states(self.n, x)
        else:
            self.outputs[0], self.cells[0] = 0, 0
        cont = self._cont(bottom, x)
        for t in range(self.steps):
            gates[t] += (self.outputs[t] * cont[t]) @ recurrent.T
            self.cells[t + 1], self.outputs[t + 1] = lstm_step(self.cells[t], gates[t], cont[t])
        self.activated = gates
        top[0].data[...] = self.outputs[1:].reshape(top[0].shape)
        if len(bottom) > 1:
            self.carried = [self.outputs[-1].copy(), self.cells[-1].copy()]

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy = top[0].diff.reshape(self.steps, self.n, self.size)
        xp = xp_of(dy)
        cont = self._cont(bottom, dy)
        limit = self.param.lstm_param.clipping_threshold
        recurrent = self.blobs[1].data
        dgates = xp.empty_like(self.activated)
        dh, dc = xp.zeros_like(self.outputs[0]), xp.zeros_like(self.cells[0])
        for t in reversed(range(self.steps)):
            dc = lstm_step_backward(
                self.cells[t], self.activated[t], cont[t], self.cells[t + 1], dc, dh + dy[t], dgates[t]
            )
            if limit > 0:
                xp.clip(dgates[t], -limit, limit, out=dgates[t])
            dh = (dgates[t] @ recurrent) * cont[t]
        flat = dgates.reshape(self.steps * self.n, 4 * self.size)
        self.blobs[0].diff[...] += flat.T @ bottom[0].data.reshape(self.steps * self.n, self.inputs)
        self.blobs[1].diff[...] += flat.T @ (self.outputs[:-1] * cont).reshape(self.steps * self.n, self.size)
        self.blobs[2].diff[...] += flat.sum(axis=0)
        if propagate_down[0]:
            bottom[0].diff[...] = (flat @ self.blobs[0].data).reshape(bottom[0].shape)

    def _cont(self, bottom: Sequence[Blob], like: Array) -> Array:
        """(T, N, 1), 1 where a sequence goes on."""
        xp = xp_of(like)
        if len(bottom) == 1:
            ones: Array = xp.ones((self.steps, self.n, 1), like.dtype)
            return ones
        going_on: Array = (bottom[1].data != 0).astype(like.dtype).reshape(self.steps, self.n, 1)
        return going_on
