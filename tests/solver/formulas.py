"""Solvers by their formulas, in float64: rates, clipping, decay and rules, on the gradients of the reference engine."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import dragon
from dragon.proto import dragon_pb2 as pb

__all__ = ["Formulas", "Saved", "rate_of"]

Array = NDArray[np.float64]
TWO_SLOTS = ("AdaDelta", "Adam", "AdamW", "LAMB")


class Saved(NamedTuple):
    """What a snapshot holds: parameters, history, iteration, recent losses, and the state of the policy plateau."""

    weights: list[Array]
    history: list[list[Array]]
    iteration: int
    window: list[float]
    plateau: tuple[float, int, int]


def rate_of(p: pb.SolverParameter, i: int, steps: int) -> float:
    """The learning rate of iteration i; steps: those that the policy plateau has gone down."""
    done = min(1.0, i / p.max_iter)
    stages = [rate for last, rate in zip(p.stageiter, p.stagelr, strict=True) if i <= last]
    policies: dict[str, Callable[[], float]] = {
        "fixed": lambda: p.base_lr,
        "step": lambda: p.base_lr * p.gamma ** (i // p.stepsize),
        "exp": lambda: p.base_lr * p.gamma**i,
        "inv": lambda: p.base_lr / (1 + p.gamma * i) ** p.power,
        "multistep": lambda: p.base_lr * p.gamma ** len([value for value in p.stepvalue if value <= i]),
        "poly": lambda: p.min_lr + (p.base_lr - p.min_lr) * (1 - done) ** p.power,
        "sigmoid": lambda: p.base_lr / (1 + math.exp(p.gamma * (p.stepsize - i))),
        "cosine": lambda: p.min_lr + (p.base_lr - p.min_lr) * math.cos(math.pi * done / 2) ** 2,
        "multifixed": lambda: (stages or p.stagelr)[0 if stages else -1],
        "plateau": lambda: p.base_lr * p.gamma**steps,
    }
    rate = max(policies[p.lr_policy](), p.min_lr)
    return float(rate * (p.warmup_start + (1 - p.warmup_start) * i / p.warmup_iter) if i < p.warmup_iter else rate)


class Formulas:
    """A solver of `param` whose net, `net`, gives gradients in float64. window: the losses that are averaged."""

    def __init__(self, param: pb.SolverParameter, like: dragon.Net) -> None:
        self.param = param
        self.net = dragon.Net(param.net_param, phase=dragon.TRAIN, engine="numpy", dtype=np.float64)
        slots = 2 if param.type in TWO_SLOTS else 1
        self.history = [[np.zeros(p.blob.shape) for p in self.net.learnable] for _ in range(slots)]
        self.iteration = 0
        self.window: list[float] = []
        self.plateau = (math.inf, 0, 0)  # the lowest loss, its iteration or that of the last step, the steps
        for mine, its in zip(self.blobs(), (blob for blobs in like.params.values() for blob in blobs), strict=True):
            mine.data[...] = its.peek()

    def blobs(self) -> list[Any]:
        """All parameters and running statistics."""
        return [blob for blobs in self.net.params.values() for blob in blobs]

    @property
    def rate(self) -> float:
        """The learning rate of the next update."""
        return rate_of(self.param, self.iteration, self.plateau[2])

    def step(self) -> float:
        """One iteration on the values that the inputs have; the smoothed loss."""
        p = self.param
        self.net.clear_param_diffs()
        loss = sum([self.net.forward_backward() for _ in range(p.iter_size)]) / p.iter_size
        self.window = [*self.window, loss][-p.average_loss :]
        smoothed = sum(self.window) / len(self.window)
        if p.lr_policy == "plateau":
            lowest, since, steps = self.plateau
            lowest, since = (smoothed, self.iteration) if smoothed < lowest else (lowest, since)
            if steps < len(p.plateau_winsize) and self.iteration - since >= p.plateau_winsize[steps]:
                since, steps = self.iteration, steps + 1
            self.plateau = lowest, since, steps
        self._update()
        self.iteration += 1
        return smoothed

    def save(self) -> Saved:
        """A copy of the state."""
        history = [[one.copy() for one in slot] for slot in self.history]
        weights = [blob.data.copy() for blob in self.blobs()]
        return Saved(weights, history, self.iteration, list(self.window), self.plateau)

    def restore(self, saved: Saved) -> None:
        """Go back to a state."""
        for blob, value in zip(self.blobs(), saved.weights, strict=True):
            blob.data[...] = value
        self.history = [[one.copy() for one in slot] for slot in saved.history]
        self.iteration, self.window, self.plateau = saved.iteration, list(saved.window), saved.plateau

    def _update(self) -> None:
        p = self.param
        trained = [k for k, one in enumerate(self.net.learnable) if one.lr_mult]
        norm = math.sqrt(sum(float((self.net.learnable[k].blob.diff ** 2).sum()) for k in trained))
        shrink = p.clip_gradients / norm if 0 <= p.clip_gradients < norm else 1.0
        for k in trained:
            one = self.net.learnable[k]
            self._step(
                one.blob.data,
                one.blob.diff * shrink / p.iter_size,
                [slot[k] for slot in self.history],
                self.rate * one.lr_mult,
                p.weight_decay * one.decay_mult,
            )

    def _step(self, w: Array, g: Array, h: list[Array], rate: float, decay: float) -> None:
        p, t, one_of = self.param, self.iteration + 1, self.param.type
        if one_of == "LARS":
            rate *= _ratio(w, p.larc_eta, np.linalg.norm(g) + decay * np.linalg.norm(w), np.linalg.norm(g))
        if one_of not in ("AdamW", "LAMB"):
            g = g + decay * (np.sign(w) if p.regularization_type == "L1" else w)
        if one_of in ("SGD", "LARS"):
            h[0][...] = p.momentum * h[0] + rate * g
            w -= h[0]
        elif one_of == "Nesterov":
            before = h[0].copy()
            h[0][...] = p.momentum * before + rate * g
            w -= h[0] + p.momentum * (h[0] - before)
        elif one_of == "AdaGrad":
            h[0] += g**2
            w -= rate * g / (np.sqrt(h[0]) + p.delta)
        elif one_of == "RMSProp":
            h[0] += (1 - p.rms_decay) * (g**2 - h[0])
            w -= rate * g / (np.sqrt(h[0]) + p.delta)
        elif one_of == "AdaDelta":
            h[0] += (1 - p.momentum) * (g**2 - h[0])
            step = g * np.sqrt((h[1] + p.delta) / (h[0] + p.delta))
            h[1] += (1 - p.momentum) * (step**2 - h[1])
            w -= rate * step
        else:
            h[0] += (1 - p.momentum) * (g - h[0])
            h[1] += (1 - p.momentum2) * (g**2 - h[1])
            step = h[0] / (np.sqrt(h[1]) + p.delta) * math.sqrt(1 - p.momentum2**t) / (1 - p.momentum**t)
            step = step + (decay * w if one_of != "Adam" else 0)
            length = np.linalg.norm(step)
            w -= rate * step * (_ratio(w, 1.0, length, length) if one_of == "LAMB" else 1.0)


def _ratio(w: Array, factor: float, below: Any, zero: Any) -> float:
    """The factor times |w| / below; 1 where |w| or `zero` is 0."""
    length = float(np.linalg.norm(w))
    return factor * length / float(below) if length and zero else 1.0
