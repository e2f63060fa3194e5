"""Exact statistics: pooled batches give what all values at once give."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.errors import UsageError
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.surgery.recalibrate import VARIANCES, Pool, recalibrate
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


def test_the_variance_of_the_paper_is_the_mean_of_the_batches_variances() -> None:
    """Ioffe & Szegedy 2015, algorithm 2: Var[x] = m / (m - 1) E[var_b], without the variance between the means."""
    rng = np.random.default_rng(0)
    batches = [rng.normal(5 * k, 1 + k, size=(4, 3, 2, 2)) for k in range(5)]
    pool = Pool()
    for batch in batches:
        pool.add(batch)
    m = 4 * 2 * 2
    expected = m / (m - 1) * np.mean([batch.var((0, 2, 3)) for batch in batches], axis=0)
    np.testing.assert_allclose(pool.batch_variance, expected, rtol=1e-12)
    assert (pool.variance > 1.1 * pool.batch_variance).all()
    pool.add(batches[0][:1, :, :1, :1])  # a batch of one value: it counts, with variance 0
    np.testing.assert_allclose(pool.batch_variance, expected * (5 * m) / (5 * m + 1), rtol=1e-12)


@pytest.mark.parametrize("form", ["split", "merged", "merged, fork"])
def test_layers_take_the_variance_that_is_asked_for(form: str) -> None:
    net, again = (Net(definition(form), TRAIN, engine="numpy", seed=1) for _ in range(2))
    recalibrate(net, 6, variance="batches")
    values = []
    for _ in range(6):
        again.run_forward(0, 1)
        values.append(np.array(again.blobs["conv1"].peek(), np.float64))
    layer = net.layer_dict["bn1"]
    layer.phase = TEST
    mean, variance = layer.running()  # type: ignore[attr-defined]
    np.testing.assert_allclose(mean, np.concatenate(values).mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(variance, np.mean([v.var((0, 2, 3), ddof=1) for v in values], axis=0), rtol=1e-4)


def test_a_dialect_stores_the_deviation() -> None:
    """What the first Dragon stores beside the mean is sqrt(variance + eps)."""
    text = """layer { name: "bn1" type: "BatchNorm" bottom: "data" top: "y" batch_norm_param { eps: 0.5 } }"""
    net = Net(parse_text(HEAD + text, pb.NetParameter()), phase=TRAIN, profile="dragon-2016", engine="numpy", seed=1)
    recalibrate(net, 3)
    assert [c.layer for c in recalibrate(net, 3)] == ["bn1"]
    variance = net.layer_dict["bn1"].running()[1]  # type: ignore[attr-defined]
    np.testing.assert_allclose(net.params["bn1"][3].data, np.sqrt(variance + 0.5), rtol=1e-6)
    assert (variance > 4).all()


def test_an_unknown_variance() -> None:
    net = Net(definition("merged"), TRAIN, engine="numpy", seed=1)
    with pytest.raises(UsageError, match=r'variance "batch" \(did you mean "batches"\?\): known are pooled, batches'):
        recalibrate(net, 1, variance="batch")


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


@pytest.mark.parametrize("variance", VARIANCES)
def test_each_ghost_batch_is_a_batch(variance: str) -> None:
    """Five images by twos: groups of 2, 2 and 1, weighted by their counts."""
    net, plain = (Net(definition(form), TRAIN, engine="numpy", seed=1) for form in ("split, ghost", "split"))
    recalibrate(net, 3, variance=variance)
    recalibrate(plain, 3, variance="pooled")
    groups = []
    again = Net(definition("split, ghost"), TRAIN, engine="numpy", seed=1)
    for _ in range(3):
        again.run_forward(0, 1)
        x = np.array(again.blobs["conv1"].peek(), np.float64)
        groups += [x[0:2], x[2:4], x[4:5]]
    within = sum(len(g) * g.var((0, 2, 3), ddof=1) for g in groups) / 15
    found, pooled = (n.layer_dict["bn1"].peek_running()[1] for n in (net, plain))  # type: ignore[attr-defined]
    np.testing.assert_allclose(found, pooled if variance == "pooled" else within, rtol=1e-5)
    assert not np.allclose(within, pooled, rtol=1e-3)


TWINS = "".join(
    f"""
layer {{ name: "data{k}" type: "DummyData" top: "data{k}" dummy_data_param {{
  shape {{ dim: 5 dim: 4 dim: 6 dim: {width} }} data_filler {{ type: "gaussian" mean: {mean} std: 3 }} }} }}
layer {{ name: "bn{k}" type: "BN" bottom: "data{k}" top: "bn{k}" param {{ name: "gamma" }} param {{ name: "beta" }}
  param {{ name: "mean" }} param {{ name: "variance" }} param {{ name: "weight" }} }}
"""
    for k, mean, width in ((1, 0, 6), (2, 5, 3))
)


@pytest.mark.parametrize("variance", VARIANCES)
def test_layers_that_share_their_statistics_have_those_of_all_that_they_read(variance: str) -> None:
    net, again = (Net(parse_text(TWINS, pb.NetParameter()), TRAIN, engine="numpy", seed=1) for _ in range(2))
    changes = recalibrate(net, 4, variance=variance)
    assert [change.layer for change in changes] == ["bn1", "bn2"]
    values: list[np.ndarray] = []
    for _ in range(4):
        again.run_forward()
        values += [
            np.moveaxis(again.blobs[name].peek().astype(float), 1, 0).reshape(4, -1)
            for name in again.blobs
            if name.startswith("data")
        ]
    together = np.concatenate(values, axis=1)
    within = sum(v.shape[1] * v.var(axis=1, ddof=1) for v in values) / together.shape[1]
    for name in ("bn1", "bn2"):
        mean, found = net.layer_dict[name].peek_running()  # type: ignore[attr-defined]
        np.testing.assert_allclose(mean, together.mean(axis=1), rtol=1e-5)
        np.testing.assert_allclose(found, together.var(axis=1, ddof=1) if variance == "pooled" else within, rtol=1e-5)
