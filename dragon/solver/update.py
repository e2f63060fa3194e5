"""One update of all learned blobs: clip, normalise, regularise, apply the rule, subtract.

The order and its rounding are Caffe's. An engine may replace `apply` by a faster equivalent of its own, from the data
that dragon/graph/update.py describes.

With `larc` each learned blob gets its own rate from its weights w and gradient g (You, Gitman & Ginsburg 2017):

    local = larc_eta |w| / (|g| + decay |w|)    1 where w or g is 0
    rate  = global rate * local                 larc_policy: scale
            min(global rate, local)             larc_policy: clip

with L2 norms, g after clipping and before weight decay. As in NVCaffe, lr_mult is ignored, except that 0 freezes.
The rule LARS takes the same rate, times lr_mult; LAMB scales the step of a blob by |w| / |step|: see `rules`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dragon.errors import SolverFieldError
from dragon.graph.update import Coefficients, Update
from dragon.memory.blob import Blob
from dragon.memory.scratch import parts
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of
from dragon.proto import dragon_pb2 as pb
from dragon.solver.choice import REGULARIZERS, check_choice
from dragon.solver.norms import squares
from dragon.solver.rules import Rule, make_rule

if TYPE_CHECKING:
    from dragon.graph.net import Net
    from dragon.graph.parameters import Param

__all__ = ["Updater"]

LARC_POLICIES = ("scale", "clip")


class Updater(Update):
    """The update that a solver definition describes. Raises PrototxtError for an unknown rule or regularisation."""

    rule: Rule

    def __init__(self, net: Net, param: pb.SolverParameter) -> None:
        check_choice("regularization_type", param.regularization_type, REGULARIZERS)
        if param.larc:
            check_choice("larc_policy", param.larc_policy, LARC_POLICIES)
        self.rule = make_rule(param)
        by_norms = self.rule.local_rate or self.rule.step_of_norm
        if param.larc and by_norms:
            raise SolverFieldError(
                "larc", f"larc cannot be used with the {self.rule.name} solver, which has rates of its own"
            )
        if (param.larc or self.rule.local_rate) and not param.larc_eta > 0:
            raise SolverFieldError("larc_eta", f"larc_eta must be positive, got {param.larc_eta:g}")
        self.net = net
        self.param = param
        self.params = net.learnable
        self.history = [
            [Blob(p.blob.shape, p.blob.dtype, net.context.space) for p in self.params] for _ in range(self.rule.slots)
        ]

    @property
    def coefficients(self) -> Coefficients:
        p = self.param
        return Coefficients(
            *self.rule.decays, p.delta, p.weight_decay, p.regularization_type == "L1", self.limit, p.iter_size
        )

    @property
    def limit(self) -> float:
        """The largest norm of all gradients, clip_gradients; -1 where there is no limit, which saves the norm."""
        limit: float = self.param.clip_gradients
        return limit if 0 <= limit < math.inf else -1.0

    def decay_of(self, p: Param) -> float:
        return self.param.weight_decay * p.decay_mult

    def clip_scale(self, sum_of_squares: float) -> float:
        """The factor by which clip_gradients shrinks the gradients.

        sum_of_squares: squared L2 norm of the gradients of all parameters with a learning rate.
        """
        limit = self.limit
        if limit < 0:
            return 1.0
        norm = math.sqrt(sum_of_squares)
        return limit / norm if norm > limit else 1.0

    def clip(self) -> float:
        if self.limit < 0:
            return 1.0
        # frozen parameters have no gradients in Caffe
        return self.clip_scale(float(sum(squares(p.blob.diff) for p in self.params if p.lr_mult)))

    def apply(self, rate: float, iteration: int) -> None:
        scale = self.clip()
        for k, p in enumerate(self.params):
            if p.lr_mult:
                self.apply_to(k, rate, iteration, scale)

    def apply_to(self, k: int, rate: float, iteration: int, scale: float) -> None:
        p = self.params[k]
        g, w = p.blob.diff.reshape(-1), p.blob.data.reshape(-1)
        history = [one.data.reshape(-1)[: g.size] for one in self.history_of(k)]
        own_rate = self._rate_of(p, g, w, rate, scale)
        for part in parts(g):  # rules are element-wise: all passes over a part happen in the cache
            if scale != 1.0:
                g[part] *= scale
            self.step(g[part], w[part], [h[part] for h in history], p, own_rate, iteration)
            if not self.rule.step_of_norm:
                w[part] -= g[part]
        if self.rule.step_of_norm:
            weights, step = math.sqrt(squares(w)), math.sqrt(squares(g))
            g *= rate * p.lr_mult * (weights / step if weights > 0 and step > 0 else 1.0)
            w -= g

    def _rate_of(self, p: Param, g: Array, w: Array, rate: float, scale: float) -> float:
        """The rate of one learned blob, whose gradient is `scale` * g / iter_size."""
        if self.param.larc:
            return self._larc_rate(p, g, w, rate, scale)
        if self.rule.step_of_norm:
            return 1.0
        own = rate * p.lr_mult
        return own * self._local_rate(p, g, w, scale) if self.rule.local_rate else own

    def _larc_rate(self, p: Param, g: Array, w: Array, rate: float, scale: float) -> float:
        local = self._local_rate(p, g, w, scale)
        return min(rate, local) if self.param.larc_policy == "clip" else rate * local

    def _local_rate(self, p: Param, g: Array, w: Array, scale: float) -> float:
        """larc_eta |w| / (|g| + decay |w|) for the gradient `scale` * g / iter_size; see the head of the file."""
        gradient = math.sqrt(squares(g)) * scale / self.param.iter_size
        weights = math.sqrt(squares(w))
        if gradient > 0 and weights > 0:
            return self.param.larc_eta * weights / (gradient + self.decay_of(p) * weights)
        return 1.0

    def step(self, g: Array, w: Array, history: Sequence[Array], p: Param, rate: float, iteration: int) -> None:
        """Replace the gradient `g` of `p` by its step, at learning rate `rate`, in which lr_mult is included.

        The arrays may have any layout as long as all have the same.
        """
        xp = xp_of(g)
        if self.param.iter_size > 1:
            g *= 1.0 / self.param.iter_size
        decay = self.decay_of(p)
        if decay and not self.rule.decoupled_decay:
            g += decay * (xp.sign(w) if self.param.regularization_type == "L1" else w)
        self.rule.step(xp, g, w, history, rate, decay, iteration)
