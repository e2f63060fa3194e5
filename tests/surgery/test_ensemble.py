"""Several nets side by side in one: each learns as if it were alone, and their votes are the mean of probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.errors import UsageError
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.solver.solver import Solver
from dragon.surgery.model import Model
from dragon.surgery.operations import apply

NET = """
layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
  shape { dim: 12 dim: 5 } shape { dim: 12 } data_filler { type: "gaussian" }
  data_filler { type: "constant" value: 1 } } }
layer { name: "ip1" type: "InnerProduct" bottom: "data" top: "ip1" param { name: "w" }
  inner_product_param { num_output: 6 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BN" bottom: "ip1" top: "ip1" }
layer { name: "relu" type: "ReLU" bottom: "ip1" top: "ip1" }
layer { name: "drop" type: "Dropout" bottom: "ip1" top: "ip1" }
layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip2" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss" }
"""


def single(text: str = NET) -> pb.NetParameter:
    return parse_text(text, pb.NetParameter())


def three(text: str = NET) -> pb.NetParameter:
    return apply(Model(single(text)), "ensemble", {"count": 3}).net


def trained(net: pb.NetParameter) -> Solver:
    solver = Solver(
        pb.SolverParameter(
            train_net_param=net,
            base_lr=0.1,
            momentum=0.9,
            weight_decay=0.01,
            lr_policy="fixed",
            max_iter=5,
            random_seed=3,
        ),
        engine="numpy",
    )
    solver.step(5)
    return solver


def test_each_learns_as_if_it_were_alone() -> None:
    alone, together = trained(single()), trained(three())
    for name, blobs in alone.net.params.items():
        for mine, theirs in zip(blobs, together.net.params[name], strict=True):
            np.testing.assert_array_equal(mine.peek(), theirs.peek())
    first, second, third = (together.net.params[name][0].peek() for name in ("ip1", "net2/ip1", "net3/ip1"))
    assert not np.array_equal(first, second)
    assert not np.array_equal(second, third)


def softmax(scores: Any) -> Any:
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def test_the_vote_is_the_mean_of_probabilities() -> None:
    net = Net(three(), phase=TEST, engine="numpy", seed=2)
    net.run_forward()
    mean = sum(softmax(net.blobs[name].peek()) for name in ("ip2", "net2/ip2", "net3/ip2")) / 3
    np.testing.assert_allclose(net.blobs["mean_accuracy"].peek(), mean, rtol=1e-5)
    right = (mean.argmax(axis=1) == net.blobs["label"].peek()).mean()
    assert float(net.blobs["ensemble_accuracy"].peek()) == pytest.approx(right)
    assert {"accuracy", "net2/accuracy", "net3/accuracy", "ensemble_accuracy"} <= set(net.outputs)


def test_probabilities_that_are_there_are_taken() -> None:
    text = NET.replace(
        'name: "accuracy" type: "Accuracy" bottom: "ip2"', 'name: "accuracy" type: "Accuracy" bottom: "p"'
    )
    text += 'layer { name: "p" type: "Softmax" bottom: "ip2" top: "p" }'
    lines = text.strip().splitlines()
    net = three("\n".join([*lines[:-3], lines[-1], *lines[-3:-1]]))
    assert not any(layer.name.startswith("vote") for layer in net.layer)
    Net(net, phase=TEST, engine="numpy", seed=2).run_forward()


def test_the_training_net_has_no_votes() -> None:
    net = Net(three(), phase=TRAIN, engine="numpy", seed=2)
    assert net.outputs == ["loss", "net2/loss", "net3/loss"]


def test_weights_go_to_every_copy() -> None:
    arrays = {"ip1": [np.ones((6, 5)), np.zeros(6)]}
    new = apply(Model(single(), arrays), "ensemble", {"count": 2})
    assert set(new.arrays) == {"ip1", "net2/ip1"}


@pytest.mark.parametrize("count", [1, 0, -2, 101, 2.5, True, "three"])
def test_wrong_counts(count: Any) -> None:
    with pytest.raises(UsageError, match="count is a whole number from 2 to 100"):
        apply(Model(single()), "ensemble", {"count": count})


def test_a_net_without_accuracy() -> None:
    net = single()
    del net.layer[-2]
    with pytest.raises(UsageError, match="has no layer of type Accuracy"):
        apply(Model(net), "ensemble", {"count": 2})
