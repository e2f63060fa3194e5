"""Two threads in one net or solver are an error, at once; one net for each thread is fine."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import numpy as np
import pytest

from dragon.bases.layer import TRAIN
from dragon.errors import UsageError
from dragon.graph.net import Net
from dragon.graph.run_lock import RunLock
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.solver.solver import Solver

TEXT = """
name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [2, 6] } } }
layer { name: "label" type: "DummyData" top: "label" dummy_data_param { shape { dim: 2 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
RUNS: dict[str, Callable[[Net], object]] = {
    "forward": lambda net: net.forward(data=np.zeros((2, 6))),
    "part": lambda net: net.forward(end="ip"),
    "backward": lambda net: net.backward(),
    "forward_backward": lambda net: net.forward_backward(),
    "reshape": lambda net: net.reshape(),
}


def elsewhere(work: Callable[[], object]) -> BaseException | None:
    """What `work` raises in another thread."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    return raised[0] if raised else None


def net_of(engine: str) -> Net:
    return Net(parse_text(TEXT, pb.NetParameter()), phase=TRAIN, engine=engine, seed=1)


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
@pytest.mark.parametrize("run", RUNS)
def test_a_second_thread_is_refused(engine: str, run: str) -> None:
    net = net_of(engine)
    net.forward_backward()
    found: list[BaseException | None] = []
    net.before_forward(lambda i: found.append(elsewhere(lambda: RUNS[run](net))))
    net.run_forward()
    assert len(found) == len(net.layers)
    for error in found:
        assert isinstance(error, UsageError)
        assert 'net "small" is running in another thread: give each thread a net of its own' in str(error)
    net.before_forward_hooks.clear()
    assert elsewhere(lambda: RUNS[run](net)) is None, "one after the other is fine"
    RUNS[run](net)


def test_the_same_thread_may_run_a_part_from_a_hook() -> None:
    net = net_of("numpy")
    net.after_forward(lambda i: net.run_forward(0, 0) if i == 3 else None)
    net.forward()


def test_what_runs_at_a_time_is_never_mixed() -> None:
    net = net_of("onednn")
    seen: list[set[float]] = []
    net.after_forward(lambda i: seen.append(set(net.blobs["data"].peek().ravel().tolist())))
    ran: list[bool] = []

    def work(value: float) -> None:
        for _ in range(200):
            try:
                net.forward(data=np.full((2, 6), value))
            except UsageError:
                ran.append(False)
            else:
                ran.append(True)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ran) == 800
    assert len(seen) == sum(ran) * len(net.layers)
    assert all(len(values) == 1 for values in seen)
    assert all(seen[i] == seen[i - i % 4] for i in range(len(seen))), "one value from the first layer to the last"


def test_a_solver_steps_in_one_thread() -> None:
    param = pb.SolverParameter(base_lr=0.1, lr_policy="fixed")
    param.net_param.CopyFrom(parse_text(TEXT, pb.NetParameter()))
    with Solver(param, engine="numpy") as solver:
        found: list[BaseException | None] = []
        solver.add_callback(lambda: found.append(elsewhere(lambda: solver.step(1))))
        solver.step(1)
        assert isinstance(found[0], UsageError)
        assert solver.iter == 1


def test_a_lock_that_a_thread_held_at_a_fork_is_free_in_the_child() -> None:
    lock = RunLock("x")
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            taken.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()
    child = os.fork()
    if child == 0:
        try:
            with lock, lock:
                os._exit(7)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    with pytest.raises(UsageError, match="running in another thread"):
        lock.__enter__()
    done.set()
    thread.join()
    with lock:
        pass
