"""Learning-rate policies against their formulas, written out."""

from __future__ import annotations

import math

import pytest

from dragon.errors import NumericError, PrototxtError
from dragon.proto import dragon_pb2 as pb
from dragon.solver.rate import POLICIES, Plateau, check_end, check_policy, current_step, learning_rate


def param(**settings: object) -> pb.SolverParameter:
    base: dict[str, object] = {"base_lr": 0.5, "gamma": 0.1, "power": 0.75, "stepsize": 10, "max_iter": 100}
    base |= {"stagelr": [0.25, 0.125, 0.0625], "stageiter": [10, 20, 30]}
    return pb.SolverParameter(**{**base, **settings})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("policy", "iteration", "expected"),
    [
        ("fixed", 77, 0.5),
        ("step", 9, 0.5),
        ("step", 10, 0.05),
        ("step", 29, 0.005),
        ("exp", 3, 0.5 * 0.1**3),
        ("inv", 20, 0.5 * 3**-0.75),
        ("poly", 25, 0.5 * 0.75**0.75),
        ("poly", 100, 0.0),
        ("sigmoid", 10, 0.25),
        ("sigmoid", 30, 0.5 / (1 + math.exp(-0.1 * 20))),
        ("cosine", 0, 0.5),
        ("cosine", 50, 0.25),
        ("cosine", 100, 0.0),
        ("multifixed", 0, 0.25),
        ("multifixed", 10, 0.25),
        ("multifixed", 11, 0.125),
        ("multifixed", 20, 0.125),
        ("multifixed", 21, 0.0625),
        ("multifixed", 99, 0.0625),
    ],
)
def test_policy(policy: str, iteration: int, expected: float) -> None:
    assert learning_rate(param(lr_policy=policy), iteration) == pytest.approx(expected, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(
    ("settings", "iteration"),
    [
        ({"lr_policy": "exp", "gamma": 2}, 5000),
        ({"lr_policy": "step", "gamma": 1e30}, 500),
        ({"lr_policy": "inv", "gamma": -0.5}, 5),
        ({"lr_policy": "inv", "gamma": -0.5}, 2),
        ({"lr_policy": "poly", "power": -1}, 100),
        ({"lr_policy": "exp", "gamma": math.nan}, 1),
        ({"lr_policy": "fixed", "min_lr": math.inf}, 0),
    ],
)
def test_a_rate_that_is_not_finite_is_an_error(settings: dict[str, object], iteration: int) -> None:
    message = f"lr_policy {settings['lr_policy']} gives no finite learning rate at iteration {iteration}"
    with pytest.raises(NumericError, match=message):
        learning_rate(param(**settings), iteration)
    with pytest.raises(NumericError, match="lr_policy plateau gives no finite learning rate at iteration 7"):
        learning_rate(param(lr_policy="plateau", gamma=1e30), 7, 20)


def test_multistep_changes_at_each_value() -> None:
    p = param(lr_policy="multistep", stepvalue=[5, 8])
    steps = [current_step(p, i) for i in range(10)]
    assert steps == [0, 0, 0, 0, 0, 1, 1, 1, 2, 2]
    assert learning_rate(p, 8) == pytest.approx(0.005)


def test_plateau_steps_down_where_the_loss_has_not_fallen() -> None:
    """Windows of 2 and 3 iterations: counted from the lowest loss, or from the step before; none behind the last."""
    p, plateau = param(lr_policy="plateau", plateau_winsize=[2, 3], min_lr=0.01), Plateau()
    rates = []
    for i, loss in enumerate([5, 4, 4, 4, 3.9, 4, 4, 3.9, 9, 9, 9, 9, 9]):
        plateau.observe(p, i, loss)
        rates.append(learning_rate(p, i, plateau.steps))
    assert rates == pytest.approx([0.5] * 3 + [0.05] * 4 + [0.01] * 6)
    assert plateau == Plateau(3.9, 7, 2)


def test_warm_up_rises_in_a_line_to_the_policy() -> None:
    p = param(lr_policy="fixed", warmup_iter=10, warmup_start=0.2)
    assert [learning_rate(p, i) for i in (0, 5, 10)] == pytest.approx([0.1, 0.3, 0.5])


def test_warm_up_from_a_rate_rises_to_base_lr_whatever_the_policy() -> None:
    p = param(lr_policy="exp", warmup_iter=10, warmup_start_lr=0.1)
    assert [learning_rate(p, i) for i in (0, 5)] == pytest.approx([0.1, 0.3])
    assert learning_rate(p, 10) == pytest.approx(0.5 * 0.1**10)


@pytest.mark.parametrize(
    ("policy", "iteration", "expected"),
    [
        ("poly", 0, 0.5),
        ("poly", 25, 0.1 + 0.4 * 0.75**0.75),
        ("poly", 100, 0.1),
        ("poly", 120, 0.1),
        ("step", 9, 0.5),
        ("step", 29, 0.1),
        ("exp", 3, 0.1),
        ("multifixed", 21, 0.1),
        ("cosine", 100, 0.1),
    ],
)
def test_min_lr(policy: str, iteration: int, expected: float) -> None:
    p = param(lr_policy=policy, min_lr=0.1)
    assert learning_rate(p, iteration) == pytest.approx(expected, rel=1e-6)


def test_min_lr_leaves_the_warm_up_alone() -> None:
    p = param(lr_policy="fixed", warmup_iter=10, min_lr=0.1)
    assert [learning_rate(p, i) for i in (0, 1, 10)] == pytest.approx([0, 0.05, 0.5])


def test_every_policy_is_finite_over_a_whole_run() -> None:
    for policy in POLICIES:
        p = param(lr_policy=policy, stepvalue=[50])
        assert all(0 <= learning_rate(p, i) <= 0.5 + 1e-9 for i in range(101))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr_policy": "stepp"}, '"step"'),
        ({"lr_policy": "step", "stepsize": 0}, "positive stepsize"),
        ({"lr_policy": "poly", "max_iter": None}, "positive max_iter"),
        ({"lr_policy": "cosine", "max_iter": None}, "positive max_iter"),
        ({"lr_policy": "poly", "min_lr": 0.6}, "min_lr must lie between 0 and base_lr 0.5, got 0.6"),
        ({"lr_policy": "poly", "min_lr": -1}, "min_lr must lie between 0 and base_lr 0.5, got -1"),
        ({"lr_policy": "multifixed", "stagelr": [1]}, "as many stagelr as stageiter, got 1 and 3"),
        ({"lr_policy": "multifixed", "stageiter": [5, 3, 9]}, "stageiter must not fall, got 5, 3, 9"),
        ({"lr_policy": "plateau"}, "positive plateau_winsize for each step, got none"),
        ({"lr_policy": "plateau", "plateau_winsize": [5, 0]}, "positive plateau_winsize for each step, got 5, 0"),
        ({"lr_policy": "fixed", "warmup_start": 0.1, "warmup_start_lr": 0.1}, "not both"),
    ],
)
def test_wrong_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(PrototxtError, match=message):
        check_policy(param(**settings))


@pytest.mark.parametrize("policy", POLICIES)
def test_a_solver_that_only_tests_has_the_rate_of_its_start(policy: str) -> None:
    p = param(lr_policy=policy, max_iter=0, plateau_winsize=[5])
    check_policy(p)
    assert learning_rate(p, 0) == pytest.approx(learning_rate(param(lr_policy=policy), 0))


@pytest.mark.parametrize("policy", ["poly", "cosine"])
def test_a_rate_that_falls_to_the_end_needs_one_to_train(policy: str) -> None:
    with pytest.raises(PrototxtError, match=f"lr_policy {policy} needs a positive max_iter, got 0"):
        check_end(param(lr_policy=policy, max_iter=0))
    check_end(param(lr_policy=policy))
    check_end(param(lr_policy="fixed", max_iter=0))
