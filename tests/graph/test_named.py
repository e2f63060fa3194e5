"""Names that a net does not have are a KeyError that names the nearest one."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import dragon
from dragon import layers as L
from dragon.errors import UnknownNameError
from tests.helpers import toy_solver


@pytest.fixture(scope="module")
def solver() -> dragon.Solver:
    return toy_solver(test_iter=[1], test_interval=5)


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda s: s.net.blobs["con"], 'no blob "con" (did you mean "conv"?)'),
        (lambda s: s.net.params["cnv"], 'no layer with parameters "cnv" (did you mean "conv"?)'),
        (lambda s: s.net.params["relu"], 'no layer with parameters "relu"'),
        (lambda s: s.net.layer_dict["dat"], 'no layer "dat" (did you mean "data"?)'),
        (lambda s: s.net.top_names["dat"], 'no layer "dat" (did you mean "data"?)'),
        (lambda s: s.net.bottom_names["lss"], 'no layer "lss" (did you mean "loss"?)'),
        (lambda s: s.net.blob_loss_weights["los"], 'no blob "los" (did you mean "loss"?)'),
        (lambda s: s.net.forward()["los"], 'no output "los" (did you mean "loss"?)'),
        (lambda s: s.net.backward(diffs=["conv"])["con"], 'no output "con" (did you mean "conv"?)'),
        (lambda s: s.net.forward(blobs=["con"]), 'no blob "con" (did you mean "conv"?)'),
        (lambda s: s.test()["acuracy"], 'no blob "acuracy" (did you mean "accuracy"?)'),
        (lambda s: s.net.blobs[3], 'no blob "3"'),
    ],
)
def test_a_name_that_is_not_there(read: Callable[[dragon.Solver], Any], message: str, solver: dragon.Solver) -> None:
    with pytest.raises(KeyError) as caught:
        read(solver)
    assert isinstance(caught.value, UnknownNameError)
    assert str(caught.value).startswith(message)
    assert len(str(caught.value).splitlines()) == 1


def test_a_net_under_construction_has_the_same_error() -> None:
    n = dragon.NetSpec()
    n.data = L.Input()
    for use in (lambda: n["dta"], lambda: n.dta, lambda: n.update("dta", {}), lambda: n.__delitem__("dta")):
        with pytest.raises(KeyError, match=r'no top "dta" \(did you mean "data"\?\)'):
            use()


def test_they_are_still_dictionaries(solver: dragon.Solver) -> None:
    net = solver.net
    assert "nothing" not in net.blobs
    assert net.blobs.get("nothing") is None
    assert isinstance(net.blobs, dict)
    weights = copy.copy(net.blob_loss_weights)
    assert pickle.loads(pickle.dumps(weights)) == weights == dict(weights)
    out = net.forward()
    assert repr(out) == repr(dict(out))
