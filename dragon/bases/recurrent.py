"""Base of RNN and LSTM: bottoms and tops, the state that is carried from batch to batch, learned blobs.

Bottoms: x (T, N, ...); cont (T, N), 0 where a sequence begins; optionally a static input (N, ...) that every step
reads; with `expose_hidden` the initial states. Tops: y (T, N, num_output); with `expose_hidden` the final states.
States have the shape (1, N, num_output). Without `expose_hidden` a batch begins with the final states of the batch
before; no gradient flows between batches.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import numpy as np

from dragon.bases.layer import Layer
from dragon.counting import how_many
from dragon.errors import WeightsError
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["Carried", "Recurrent"]

log = logging.getLogger("dragon")


class Carried(Layer):
    """Base of layers whose states (N, size) after a batch begin the next one. A snapshot holds them."""

    states: tuple[str, ...] = ("h",)
    size: int
    carried: list[Array]

    def carried_states(self, n: int, like: Array) -> list[Array]:
        """The states that the last batch left, each (n, size), in the type of `like`; zeros where there are none."""
        xp = xp_of(like)
        if len(self.carried) == len(self.states) and self.carried[0].shape == (n, self.size):
            return [xp.asarray(state, dtype=like.dtype) for state in self.carried]
        return [xp.zeros((n, self.size), like.dtype) for _ in self.states]

    def multiply_adds(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """Multiply-adds of one forward pass: those of each weight, a matrix, for each step of each sequence."""
        return top[0].count // self.size * sum(blob.count for blob in self.blobs if blob.ndim == 2)

    def state(self) -> dict[str, int | float | bytes]:
        found: dict[str, int | float | bytes] = {}
        for name, value in zip(self.states, self.carried, strict=False):
            host = value if isinstance(value, np.ndarray) else value.get()
            found[name] = host.astype("<f8").tobytes()
        return found

    def load_state(self, state: dict[str, int | float | bytes]) -> None:
        values = [state[name] for name in self.states if name in state]
        if not all(isinstance(value, bytes) and len(value) % (8 * self.size) == 0 for value in values):
            raise WeightsError(
                f"its states in the snapshot are not rows of {how_many(self.size, 'value')}", layer=self.where
            )
        self.carried = [
            np.frombuffer(v, "<f8").astype(self.dtype).reshape(-1, self.size) for v in values if isinstance(v, bytes)
        ]


class Recurrent(Carried):
    """Base of recurrent layers. The first blobs are W_x (gates * num_output, inputs), b, [W_static].

    A subclass gives `add_recurrent_blobs`, forward and backward. Raises PrototxtError for a wrong number of bottoms or
    tops, ShapeError for shapes that do not fit the weights.
    """

    settings = ("recurrent_param",)
    bottoms = (2, None)
    tops = (1, None)
    gates = 1

    @property
    def exposed(self) -> bool:
        """Whether initial and final states are bottoms and tops."""
        return self.param.recurrent_param.expose_hidden

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.recurrent_param
        extra = len(self.states) if self.exposed else 0
        if p.num_output < 1:
            self.bad_param("num_output must be at least 1")
        if len(bottom) not in (2 + extra, 3 + extra):
            self.bad_param(
                f"takes {how_many(2 + extra, 'bottom')}, or {3 + extra} with a static input, got {len(bottom)}"
            )
        if len(top) != 1 + extra:
            self.bad_param(f"takes {how_many(1 + extra, 'top')}, got {len(top)}")
        self.size = p.num_output
        self.static = len(bottom) > 2 + extra
        self.first_state = 3 if self.static else 2
        if bottom[0].ndim < 2:
            self.bad_shape(f"needs a bottom of shape (T, N, ...), got {bottom[0].shape}")
        rows = self.gates * self.size
        self.inputs = math.prod(bottom[0].shape[2:])
        self.static_inputs = math.prod(bottom[2].shape[1:]) if self.static else 0
        self.add_blob((rows, self.inputs), p.weight_filler, "input weight")
        self.add_blob((rows,), p.bias_filler, "bias")
        if self.static:
            self.add_blob((rows, self.static_inputs), p.weight_filler, "static input weight")
        self.add_recurrent_blobs()
        self.carried = []

    def add_recurrent_blobs(self) -> None:
        """Append the blobs that follow those of the input."""
        raise NotImplementedError

    def multiply_adds(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """As in `Carried`; the weight of the static input multiplies once for each sequence."""
        again = (self.steps - 1) * self.n * self.blobs[2].count if self.static else 0
        return super().multiply_adds(bottom, top) - again

    def can_propagate(self, index: int) -> bool:
        return index != 1

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) < 2 or math.prod(shape[2:]) != self.inputs:
            self.bad_shape(
                f"has weights for {how_many(self.inputs, 'input')} in each of (T, N, ...), got a bottom of "
                f"shape {shape}"
            )
        steps, n = shape[:2]
        if bottom[1].shape != (steps, n):
            self.bad_shape(f"bottom 1 says where sequences go on: expected shape {(steps, n)}, got {bottom[1].shape}")
        if self.static and (bottom[2].shape[:1] != (n,) or math.prod(bottom[2].shape[1:]) != self.static_inputs):
            self.bad_shape(
                f"the static input must hold {n} x {how_many(self.static_inputs, 'value')}, got shape {bottom[2].shape}"
            )
        state = (1, n, self.size)
        if self.exposed:
            for name, blob, out in zip(self.states, bottom[self.first_state :], top[1:], strict=True):
                if blob.count != n * self.size:
                    self.bad_shape(f"the state {name} to begin with must have shape {state}, got {blob.shape}")
                out.reshape(state)
        self.steps, self.n = steps, n
        top[0].reshape(steps, n, self.size)

    # -- for forward and backward of subclasses -------------------------------------------------------------
    def _recurrent_blobs(self) -> list[Blob]:
        return list(self.blobs[3 if self.static else 2 :])

    def project(self, bottom: Sequence[Blob]) -> Array:
        """The contribution of the inputs to the gates of every step, (T, N, gates * num_output)."""
        xp = xp_of(bottom[0].data)
        x = bottom[0].data.reshape(self.steps * self.n, self.inputs)
        flat = xp.matmul(x, self.blobs[0].data.T)
        flat += self.blobs[1].data
        gates: Array = flat.reshape(self.steps, self.n, -1)
        if self.static:
            gates += bottom[2].data.reshape(self.n, self.static_inputs) @ self.blobs[2].data.T
        return gates

    def project_backward(self, dgates: Array, propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Backward of `project`: the diffs of bottoms and input blobs from `dgates`, the gradient of its result."""
        flat = dgates.reshape(self.steps * self.n, -1)
        x = bottom[0].data.reshape(self.steps * self.n, self.inputs)
        self.blobs[0].diff[...] += flat.T @ x
        self.blobs[1].diff[...] += flat.sum(axis=0)
        if propagate_down[0]:
            bottom[0].diff[...] = (flat @ self.blobs[0].data).reshape(bottom[0].shape)
        if self.static:
            total = dgates.sum(axis=0)
            s = bottom[2].data.reshape(self.n, self.static_inputs)
            self.blobs[2].diff[...] += total.T @ s
            if propagate_down[2]:
                bottom[2].diff[...] = (total @ self.blobs[2].data).reshape(bottom[2].shape)

    def initial_states(self, bottom: Sequence[Blob]) -> list[Array]:
        """The initial states, each (N, num_output)."""
        if self.exposed:
            return [blob.data.reshape(self.n, self.size) for blob in bottom[self.first_state :]]
        return self.carried_states(self.n, bottom[0].data)

    def store_final_states(self, values: Sequence[Array], top: Sequence[Blob]) -> None:
        """Write the states after the last step to the tops, or keep them for the next batch."""
        if self.exposed:
            for blob, value in zip(top[1:], values, strict=True):
                blob.data[...] = value
        else:
            self.carried = [value.copy() for value in values]
        if self.param.recurrent_param.debug_info:
            norms = ", ".join(f"{s} {float(abs(v).mean()):.4g}" for s, v in zip(self.states, values, strict=True))
            log.info("%s: mean absolute value of the last state: %s", self.where, norms)

    def final_state_diffs(self, top: Sequence[Blob], like: Array) -> list[Array]:
        """Gradients of the states after the last step, each (N, num_output)."""
        xp = xp_of(like)
        if self.exposed:
            return [blob.diff.reshape(self.n, self.size).copy() for blob in top[1:]]
        return [xp.zeros((self.n, self.size), like.dtype) for _ in self.states]

    def store_initial_diffs(
        self, diffs: Sequence[Array], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        """Write the gradients of the initial states to the bottoms, if these are exposed."""
        if self.exposed:
            for i, diff in enumerate(diffs, self.first_state):
                if propagate_down[i]:
                    bottom[i].diff[...] = diff.reshape(bottom[i].shape)
