"""Buckets, the sender, and gradients of 16 bits, without processes of MPI."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import dragon
from dragon.errors import NumericError
from dragon.memory.bf16 import from_bf16
from dragon.parallel.buckets import buckets_of
from dragon.parallel.exchange import Exchange
from dragon.parallel.ranks import Ranks
from dragon.parallel.sender import Sender
from dragon.parallel.wire import WIRES, Wire, exponents
from tests.engines.test_parts import net


def names(made: dragon.Net, least: int) -> list[tuple[int, list[int]]]:
    """Of each bucket the layer, and the numbers of its learned blobs."""
    number = {id(p.blob): k for k, p in enumerate(made.learnable)}
    return [(bucket.layer, [number[id(blob)] for blob in bucket.blobs]) for bucket in buckets_of(made, least)]


def test_blobs_come_in_the_order_of_backward() -> None:
    made = net("numpy")  # c1: 0, 1; s1: 2, 3; c2 and c3 together: 4, 5; i: 6, 7
    layer = {node.name: node.index for node in made.nodes}
    by_blob = [(layer["i"], [6]), (layer["i"], [7]), (layer["c2"], [4]), (layer["c2"], [5]),
               (layer["s1"], [2]), (layer["s1"], [3]), (layer["c1"], [0]), (layer["c1"], [1])]  # fmt: skip
    assert names(made, 1) == by_blob
    assert names(made, 1 << 30) == [(layer["c1"], [6, 7, 4, 5, 2, 3, 0, 1])]
    size = made.learnable[6].blob.count * 4
    assert names(made, size + 1)[0] == (layer["i"], [6, 7])


class Two(Ranks):
    """Two ranks with the same gradients; `sent` is set when the first vector has been sent."""

    def __init__(self) -> None:
        self.rank, self.size, self.waited = 0, 2, 0.0
        self.sent = threading.Event()
        self.other: Any = None  # what the other rank has, if not the same
        self.threads: set[str] = set()

    def twin(self) -> Ranks:
        return self

    def wait(self) -> None:
        pass

    def agree(self, value: Any) -> Any:
        return value

    def agree_all(self, value: Any) -> list[Any]:
        return [value, self.other or value]

    def mean(self, values: Any, wire: Wire | None = None) -> None:
        self.threads.add(threading.current_thread().name)
        self.sent.set()


@pytest.mark.parametrize(("overlap", "thread"), [(True, "dragon-sender"), (False, "MainThread")])
def test_gradients_are_sent_while_backward_goes_on(overlap: bool, thread: str) -> None:
    """Backward of the lowest layer waits until those of the highest have been sent."""
    made, ranks, before = net("numpy"), Two(), []
    exchange = Exchange(made, ranks, overlap=overlap)
    exchange.start()
    if overlap:
        exchange.split(1)
    ranks.sent.clear()
    ranks.threads.clear()
    lowest = [node.name for node in made.nodes].index("c1")
    made.before_backward(lambda k: before.append(ranks.sent.wait(30 if overlap else 0)) if k == lowest else None)
    made.clear_param_diffs()
    exchange.run(1, set())
    exchange.close()
    assert before == [overlap]
    assert ranks.threads == {thread}


def test_the_rank_with_the_infinite_value_is_named() -> None:
    made, ranks = net("numpy"), Two()
    exchange = Exchange(made, ranks)
    assert exchange.first_nonfinite() is None
    ranks.other = 'layer "x": its top "y" is not finite'
    assert exchange.first_nonfinite() == 'layer "x": its top "y" is not finite on rank 1'
    with pytest.raises(NumericError, match='loss is nan; first in layer "x": its top "y" is not finite on rank 1'):
        made.check_finite(float("nan"), 3, exchange.first_nonfinite)


@pytest.mark.parametrize("threaded", [False, True])
def test_jobs_run_in_their_order(threaded: bool) -> None:
    sender, done = Sender(threaded), []
    for k in range(50):
        sender.send(lambda k=k: done.append((k, threading.current_thread().name == "dragon-sender")))  # type: ignore[misc]
    sender.finish()
    sender.finish()
    assert done == [(k, threaded) for k in range(50)]
    sender.close()


@pytest.mark.parametrize("threaded", [False, True])
def test_the_error_of_a_job_is_raised_where_it_is_waited_for(threaded: bool) -> None:
    sender = Sender(threaded)
    sender.send(lambda: [][1])
    with pytest.raises(IndexError):
        sender.finish()
    sender.close()


def test_bf16_has_8_bits_and_the_range_of_float32() -> None:
    wire = WIRES["bf16"]
    assert wire is not None
    values = np.array([1, 1 + 2**-8, 1 + 2**-7, -3e38, 1e-38, np.inf, np.nan], np.float32)
    back = wire.unpack(wire.pack(values))
    np.testing.assert_array_equal(back[:3], [1, 1, 1 + 2**-7])
    np.testing.assert_allclose(back[3:5], values[3:5], rtol=2**-8)
    np.testing.assert_array_equal(back[5:], [np.inf, np.nan])
    assert wire.pack(values).nbytes == values.nbytes / 2
    np.testing.assert_array_equal(back, from_bf16(wire.pack(values)))


@pytest.mark.parametrize("largest", [1e-30, 1e-5, 1.0, 6e4, 1e30])
def test_fp16_takes_blobs_of_any_size(largest: float) -> None:
    wire = WIRES["fp16"]
    assert wire is not None
    blob = (np.random.default_rng(1).uniform(-1, 1, 1000) * largest).astype(np.float32)
    (power,) = exponents([blob])
    scaled = np.ldexp(blob, power)
    assert 2**14 <= np.abs(scaled).max() < 2**15
    back = np.ldexp(wire.unpack(wire.pack(scaled)), -power)
    np.testing.assert_allclose(back, blob, rtol=2**-11, atol=0)


def test_powers_of_blobs_that_have_none() -> None:
    blobs = [np.zeros(3), np.array([np.inf, 1]), np.array([np.nan]), np.zeros(0), np.ones(1)]
    assert exponents([b.astype(np.float32) for b in blobs]).tolist() == [127, 127, 127, 127, 14]
