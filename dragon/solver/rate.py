"""Learning-rate policies, each with an optional linear warm-up.

fixed: base_lr; step: base_lr * gamma^floor(iter/stepsize); exp: base_lr * gamma^iter; inv: base_lr * (1 + gamma *
iter)^-power; multistep: base_lr * gamma^(step values passed); poly: min_lr + (base_lr - min_lr) * (1 -
iter/max_iter)^power; sigmoid: base_lr / (1 + exp(-gamma * (iter - stepsize))); cosine: Loshchilov & Hutter 2017, from
base_lr to min_lr at max_iter; multifixed, of forks: the entry of stagelr that belongs to the first stageiter not yet
passed, else the last; plateau, of SSD's Caffe: base_lr * gamma^(steps down), see Plateau. The other policies give at
least min_lr, as in NVCaffe.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from dragon.errors import NumericError, SolverFieldError
from dragon.proto import dragon_pb2 as pb
from dragon.solver.choice import check_choice

__all__ = ["PLATEAU", "POLICIES", "Plateau", "check_end", "check_policy", "current_step", "learning_rate"]

PLATEAU = "plateau"


@dataclass
class Plateau:
    """When the policy plateau steps down: after plateau_winsize iterations without a new lowest smoothed loss.

    Each step has its own number of iterations, counted from the last lowest loss or step; behind the last one the rate
    stays. To be told the smoothed loss of each iteration before the update of that iteration.
    """

    lowest: float = math.inf
    since: int = 0  # the iteration of the lowest loss or of the last step down
    steps: int = 0

    def observe(self, p: pb.SolverParameter, iteration: int, loss: float) -> None:
        """Take note of the smoothed loss of an iteration."""
        if loss < self.lowest:
            self.lowest, self.since = loss, iteration
        if self.steps < len(p.plateau_winsize) and iteration >= self.since + p.plateau_winsize[self.steps]:
            self.steps, self.since = self.steps + 1, iteration


def current_step(p: pb.SolverParameter, iteration: int) -> int:
    """How many steps the step and multistep policies have taken by `iteration`."""
    if p.lr_policy == "step":
        return iteration // p.stepsize
    if p.lr_policy == "multistep":
        return sum(iteration >= value for value in p.stepvalue)
    return 0


def _stepped(p: pb.SolverParameter, i: int) -> float:
    return p.base_lr * p.gamma ** current_step(p, i)


def _done(p: pb.SolverParameter, i: int) -> float:
    """The share of the training that is done, at most 1; 0 before a training of no iterations."""
    return min(i / p.max_iter, 1.0) if p.max_iter else float(i > 0)


def _cosine(p: pb.SolverParameter, i: int) -> float:
    return p.min_lr + (p.base_lr - p.min_lr) * (1 + math.cos(math.pi * _done(p, i))) / 2


def _sigmoid(p: pb.SolverParameter, i: int) -> float:
    x = -p.gamma * (i - p.stepsize)
    return p.base_lr / (1 + math.exp(x)) if x < 700 else 0.0


def _staged(p: pb.SolverParameter, i: int) -> float:
    passed = sum(i > last for last in p.stageiter)
    return p.stagelr[min(passed, len(p.stagelr) - 1)]


POLICIES: dict[str, Callable[[pb.SolverParameter, int], float]] = {
    "fixed": lambda p, i: p.base_lr,
    "step": _stepped,
    "exp": lambda p, i: p.base_lr * p.gamma**i,
    "inv": lambda p, i: p.base_lr * (1 + p.gamma * i) ** -p.power,
    "multistep": _stepped,
    "poly": lambda p, i: p.min_lr + (p.base_lr - p.min_lr) * (1 - _done(p, i)) ** p.power,
    "sigmoid": _sigmoid,
    "cosine": _cosine,
    "multifixed": _staged,
    PLATEAU: lambda p, i: p.base_lr,
}


def check_end(p: pb.SolverParameter) -> None:
    """Raise PrototxtError for a policy that falls to the last iteration where there is none."""
    if p.lr_policy in ("poly", "cosine") and p.max_iter <= 0:
        raise SolverFieldError("max_iter", f"lr_policy {p.lr_policy} needs a positive max_iter, got {p.max_iter}")


def check_policy(p: pb.SolverParameter) -> None:
    """Raise PrototxtError for an unknown policy or one whose settings are missing."""
    check_choice("lr_policy", p.lr_policy, POLICIES)
    if p.lr_policy == "step" and p.stepsize <= 0:
        raise SolverFieldError("stepsize", f"lr_policy step needs a positive stepsize, got {p.stepsize}")
    if p.lr_policy == "multistep" and list(p.stepvalue) != sorted(p.stepvalue):
        raise SolverFieldError("stepvalue", f"stepvalue must not fall, got {', '.join(map(str, p.stepvalue))}")
    if not p.HasField("max_iter"):  # max_iter: 0 is a solver that only tests
        check_end(p)
    if p.lr_policy == "poly" and p.HasField("min_lr") and not 0 <= p.min_lr <= p.base_lr:
        raise SolverFieldError("min_lr", f"min_lr must lie between 0 and base_lr {p.base_lr:g}, got {p.min_lr:g}")
    if p.lr_policy == "multifixed":
        if not p.stagelr or len(p.stagelr) != len(p.stageiter):
            raise SolverFieldError(
                "stagelr",
                f"lr_policy multifixed needs as many stagelr as stageiter, got {len(p.stagelr)} and {len(p.stageiter)}",
            )
        if list(p.stageiter) != sorted(p.stageiter):
            raise SolverFieldError("stageiter", f"stageiter must not fall, got {', '.join(map(str, p.stageiter))}")
    if p.lr_policy == PLATEAU and (not p.plateau_winsize or min(p.plateau_winsize) < 1):
        got = ", ".join(map(str, p.plateau_winsize)) or "none"
        raise SolverFieldError(
            "plateau_winsize", f"lr_policy plateau needs a positive plateau_winsize for each step, got {got}"
        )
    if p.HasField("warmup_start") and p.HasField("warmup_start_lr"):
        raise SolverFieldError(
            "warmup_start_lr",
            "give warmup_start, a fraction of the rate, or warmup_start_lr, the rate itself, not both",
        )


_NEEDS = {
    "step": {"gamma": "the rate is 0 from the first step on"},
    "exp": {"gamma": "the rate is 0 from iteration 1 on"},
    "inv": {"gamma": "the rate stays base_lr", "power": "the rate stays base_lr"},
    "multistep": {"gamma": "the rate is 0 from the first step on", "stepvalue": "the rate stays base_lr"},
    "poly": {"power": "the rate stays base_lr"},
    "sigmoid": {"gamma": "the rate stays half of base_lr", "stepsize": "the rate falls from the first iteration on"},
    PLATEAU: {"gamma": "the rate is 0 from the first step on"},
}


# what each policy reads, of the settings that are there for policies alone
_READS: dict[str, tuple[str, ...]] = {
    "step": ("gamma", "stepsize"),
    "exp": ("gamma",),
    "inv": ("gamma", "power"),
    "multistep": ("gamma", "stepvalue"),
    "poly": ("power",),
    "sigmoid": ("gamma", "stepsize"),
    "multifixed": ("stagelr", "stageiter"),
    PLATEAU: ("gamma", "plateau_winsize"),
}
_OF_POLICIES = tuple(dict.fromkeys(name for names in _READS.values() for name in names))


def useless_settings(p: pb.SolverParameter) -> list[str]:
    """One line for each setting of the policy that is missing, as Caffe allows, with what that makes of the rate.

    And one for each setting of the rate that is given and not read.
    """
    needs, reads = _NEEDS.get(p.lr_policy, {}), _READS.get(p.lr_policy, ())
    given = {field.name for field, _ in p.ListFields()}
    found = [f"lr_policy {p.lr_policy} without {name}: {effect}" for name, effect in needs.items() if name not in given]
    found += [
        f"{name} has no effect with lr_policy {p.lr_policy}"
        for name in _OF_POLICIES
        if name in given and name not in reads
    ]
    if not p.warmup_iter:
        found += [
            f"{name} has no effect without warmup_iter" for name in ("warmup_start", "warmup_start_lr") if name in given
        ]
    return found


def learning_rate(p: pb.SolverParameter, iteration: int, steps_down: int = 0) -> float:
    """The learning rate of update number `iteration` (from 0). steps_down: of the policy plateau.

    Raises NumericError where the formula has no finite value, such as inv with a negative gamma.
    """
    try:
        rate = _rate(p, iteration, steps_down)
    except (OverflowError, ZeroDivisionError):
        rate = math.inf
    if isinstance(rate, complex) or not math.isfinite(rate):  # a negative number to a power that is not whole
        raise NumericError(f"lr_policy {p.lr_policy} gives no finite learning rate at iteration {iteration}")
    return rate


def _rate(p: pb.SolverParameter, iteration: int, steps_down: int) -> float:
    if iteration < p.warmup_iter and p.HasField("warmup_start_lr"):
        return p.warmup_start_lr + (p.base_lr - p.warmup_start_lr) * iteration / p.warmup_iter
    rate = POLICIES[p.lr_policy](p, iteration)
    if steps_down:
        rate *= p.gamma**steps_down
    if p.HasField("min_lr") and p.lr_policy != "cosine":
        rate = max(rate, p.min_lr)
    if iteration < p.warmup_iter:
        rate *= p.warmup_start + (1 - p.warmup_start) * iteration / p.warmup_iter
    return rate
