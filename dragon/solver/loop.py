"""The loop of a training: iterations, with tests, displays and snapshots between them in Caffe's order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon.errors import ArgumentTypeError, NumericError
from dragon.solver.definition import naming_file
from dragon.solver.glog import show_log
from dragon.solver.rate import check_end
from dragon.solver.testing import positions, restore

if TYPE_CHECKING:
    from dragon.solver.solver import Solver

__all__ = ["run", "step"]


def run(solver: Solver) -> None:
    """Train up to max_iter. Then make the last snapshot and, unless a stop was requested, the last display and test."""
    p, before = solver.param, solver.iter
    if solver.iter < p.max_iter:
        solver.step(p.max_iter - solver.iter)
        solver.net.check_parameters(solver.iter)
    stopped = solver.stopped
    if (p.snapshot_after_train or stopped) and not (_is_due(solver, p.snapshot) and solver.iter > before):
        solver.snapshot()
    if stopped:
        return
    if _is_due(solver, p.display):
        solver.window.append(solver.processes.forward())
        _display(solver, solver.smoothed_loss(), solver.learning_rate())
    if _is_due(solver, p.test_interval):
        _test_all(solver)


def step(solver: Solver, iterations: int) -> float:
    """Train for `iterations` iterations, or until a stop is requested; see `Solver.step`."""
    try:
        until = solver.iter + int(iterations)
    except (TypeError, ValueError, OverflowError):
        until = None
    if until is None or until - solver.iter != iterations:
        raise ArgumentTypeError(f"step takes a whole number of iterations, got {iterations!r:.80}")
    with naming_file(solver.definition):
        check_end(solver.param)
    if solver.verbose:
        show_log()
    for observer in solver.observers:
        observer.on_step(solver)
    p, net = solver.param, solver.net
    loss = solver.smoothed_loss()
    while solver.iter < until:
        show = _is_due(solver, p.display)
        # not in one go where observers or callbacks may read the gradients before the update
        separate = show or bool(solver.callbacks) or p.iter_size > 1 or solver.exchange is not None
        separate = separate or solver.plateau is not None  # whose rate depends on the loss
        if separate:
            net.clear_param_diffs()
        if _is_due(solver, p.test_interval) and (solver.iter > 0 or p.test_initialization):
            before = positions(solver.test_nets)
            _test_all(solver)
            if solver.stopped:  # during the tests, or just behind them: the resumed run tests once more
                restore(before)
                break
        for on_start, _ in solver.callbacks:
            on_start()
        net.debug_info = net.param.debug_info or (p.debug_info and show)
        loss, rate = _iterate(solver, show, separate)
        solver.iter += 1
        for observer in solver.observers:
            observer.on_iteration(solver, loss, rate)
        snapshot = "snapshot" in solver.processes.asked or _is_due(solver, p.snapshot)
        solver.processes.asked.discard("snapshot")
        if snapshot:
            solver.snapshot()
        if solver.stopped:
            break
    return loss


def _is_due(solver: Solver, interval: int) -> bool:
    """Whether what happens every `interval` iterations happens now; never for 0."""
    return bool(interval) and solver.iter % interval == 0


def _iterate(solver: Solver, show: bool, separate: bool) -> tuple[float, float]:
    """Forward, backward and update; return the smoothed loss and the rate. separate: the gradients are cleared."""
    net, rate = solver.net, solver.learning_rate()
    whole = None if separate else net.whole_step(solver.updater, rate, solver.iter)
    if whole is not None:
        return _record_loss(solver, whole), rate
    if not separate:
        net.clear_param_diffs()
    loss = _record_loss(solver, solver.processes.forward_backward(solver.param.iter_size))
    if solver.plateau is not None:
        solver.plateau.observe(solver.param, solver.iter, loss)
        rate = solver.learning_rate()
    if show:
        _display(solver, loss, rate)
    for _, on_gradients_ready in solver.callbacks:
        on_gradients_ready()
    net.executor.update(solver.updater, rate, solver.iter)
    return loss, rate


def _record_loss(solver: Solver, loss: float) -> float:
    """Record a loss and return the smoothed one. Raises NumericError if it is not finite."""
    try:
        solver.net.check_finite(loss, solver.iter, solver.processes.find_nonfinite)
    except NumericError as error:
        advice = f"if its inputs are right, a lower base_lr than {solver.param.base_lr:g} or clip_gradients may help"
        last = f"; the last snapshot is {solver.last_snapshot}" if solver.last_snapshot else ""
        raise NumericError(f"{error}; {advice}{last}") from None
    solver.window.append(loss)
    return solver.smoothed_loss()


def _display(solver: Solver, loss: float, rate: float) -> None:
    solver.phases = solver.processes.phases()
    for observer in solver.observers:
        observer.on_display(solver, loss, rate)


def _test_all(solver: Solver) -> None:
    with solver.processes.apart():
        solver.test_all()
