"""Exact statistics: pooled batches give what all values at once give."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.errors import UsageError
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.surgery.recalibrate import Pool, recalibrate
from tests.surgery.helpers import FORMS, HEAD, definition


def test_pooling_counts_the_variance_between_batches() -> None:
    rng = np.random.default_rng(0)
    batches = [rng.normal(k, 0.1, size=(n, 3, 2, 2)) + 1e4 for k, n in enumerate((4, 1, 7))]
    pool = Pool()
    for batch in batches:
        pool.add(batch)
    everything = np.concatenate(batches)
    np.testing.assert_allclose(pool.mean, everything.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(pool.variance, everything.var((0, 2, 3), ddof=1), rtol=1e-9)


@pytest.mark.parametrize("form", list(FORMS))
def test_test_then_normalises_by_the_training_set(form: str) -> None:
    net = Net(definition(form), TRAIN, engine="numpy", seed=1)
    changes = recalibrate(net, 6)
    assert [(c.layer, c.channels) for c in changes] == [("bn1", 6)]
    again = Net(definition(form), TRAIN, engine="numpy", seed=1)
    values = []
    for _ in range(6):
        again.run_forward(0, 1)
        values.append(np.array(again.blobs["conv1"].peek(), np.float64))
    everything = np.concatenate(values)
    layer = net.layer_dict["bn1"]
    layer.phase = TEST
    mean, variance = layer.running()  # type: ignore[attr-defined]
    np.testing.assert_allclose(mean, everything.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(variance, everything.var((0, 2, 3), ddof=1), rtol=1e-4)


def test_iterations_of_batch_renorm_are_those_of_training() -> None:
    net = Net(definition("renorm"), TRAIN, engine="numpy", seed=1)
    for _ in range(3):
        net.run_forward()
    recalibrate(net, 2)
    np.testing.assert_array_equal(net.params["bn1"][3].peek(), 3)


def test_nets_without_batch_normalisation() -> None:
    net = Net(parse_text(HEAD, pb.NetParameter()), TRAIN, engine="numpy")
    with pytest.raises(UsageError, match="has no batch normalisation"):
        recalibrate(net, 1)


def test_a_net_with_statistics_of_another_kind_is_refused() -> None:
    text = 'layer { name: "dbn" type: "DecorrelatedBN" bottom: "data" top: "dbn" }'
    both = definition("merged")
    for net in (parse_text(HEAD + text, pb.NetParameter()), both):
        if net is both:
            net.layer.add().CopyFrom(parse_text(HEAD + text, pb.NetParameter()).layer[1])
        with pytest.raises(UsageError, match=r'layer "dbn" \(DecorrelatedBN\): its running statistics cannot be'):
            recalibrate(Net(net, TRAIN, engine="numpy", seed=1), 2)
