"""Drift of running statistics, and the scores of a test net by batch size, by exact statistics, and under attack."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dragon.bases.batch_statistics import BatchStatistics
from dragon.bases.layer import TEST, TRAIN
from dragon.data import write_synthetic
from dragon.errors import UsageError
from dragon.graph.net import Net
from dragon.memory.storage import Array
from dragon.probes import Run, create, measure
from dragon.probes.measures import adversarial
from dragon.probes.measures.adversarial import attack
from dragon.probes.statistics import exact_statistics
from dragon.solver.solver import Solver
from tests.helpers import TRAINABLE
from tests.probes.helpers import IMAGES, looked_at, make_solver, run_of


def norm_of(net: Net) -> BatchStatistics:
    layer = net.layers[net.layer_index("bn")]
    assert isinstance(layer, BatchStatistics)
    return layer


def inputs_of_bn(run: Run, batches: int) -> Array:
    """What the convolution gives for the probe batches, (channels, values)."""
    net, found = run.clone(TRAIN, engine="numpy", dtype=np.float64), []
    for k in range(batches):
        net.load(run.batch(k))
        net.net.run_forward(0, net.node("conv").index)
        found.append(net.net.blobs["conv"].peek().copy())
    return np.moveaxis(np.concatenate(found), 1, 0).reshape(4, -1)


@pytest.fixture
def trained() -> Solver:
    solver = make_solver(max_iter=5)
    solver.solve()
    return solver


def test_drift(trained: Solver) -> None:
    run = run_of(trained)
    x, bn = inputs_of_bn(run, 10), norm_of(trained.net)
    mean, variance, eps = x.mean(axis=1), x.var(axis=1, ddof=1), bn.normalization.eps
    running = [value.astype(np.float64) for value in bn.peek_running()]
    expected = {
        "bn/mean": math.sqrt((((running[0] - mean) ** 2) / (variance + eps)).mean()),
        "bn/variance": abs(np.log((running[1] + eps) / (variance + eps))).mean(),
    }
    assert measure(create("drift"), run) == pytest.approx(expected, rel=1e-4)


def test_no_drift_from_exact_statistics(trained: Solver) -> None:
    run = run_of(trained)
    exact = exact_statistics(run.clone(batch_statistics=True), [run.batch(k) for k in range(10)])
    norm_of(trained.net).set_running(*exact["bn"])
    assert measure(create("drift"), run) == pytest.approx({"bn/mean": 0, "bn/variance": 0}, abs=1e-6)
    norm_of(trained.net).set_running(exact["bn"][0] + 2 * np.sqrt(exact["bn"][1] + 1e-5), exact["bn"][1] * math.e)
    assert measure(create("drift"), run) == pytest.approx({"bn/mean": 2, "bn/variance": 1}, rel=1e-4)


def test_exact_statistics_that_two_layers_share() -> None:
    shared = "".join(f'param {{ name: "{name}" }} ' for name in ("gamma", "beta", "mean", "variance", "weight"))
    bn = f'layer {{ name: "bn" type: "BN" bottom: "conv" top: "conv" {shared}}}'
    second = bn.replace('"bn"', '"bn2"').replace('"conv"', '"data2"')
    data = TRAINABLE[TRAINABLE.index('layer { name: "data"') : TRAINABLE.index('layer { name: "conv"')]
    data = data.replace('name: "data" ', 'name: "data2" ').replace('top: "data" top: "label"', 'top: "data2" top: "l2"')
    net = TRAINABLE.replace('layer { name: "bn" type: "BN" bottom: "conv" top: "conv" }', bn)
    run = run_of(net + data.replace("dim: 2 dim: 5 dim: 5", "dim: 4 dim: 5 dim: 5") + second)
    found = exact_statistics(run.clone(batch_statistics=True), [run.batch(k) for k in range(2)])
    both = [inputs_of_bn(run, 2)]
    both += [np.moveaxis(run.batch(k).arrays["data2"], 1, 0).reshape(4, -1) for k in range(2)]
    for name in ("bn", "bn2"):
        np.testing.assert_allclose(found[name][0], np.concatenate(both, axis=1).mean(axis=1), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found[name][1], np.concatenate(both, axis=1).var(axis=1, ddof=1), rtol=1e-4)


def outputs(solver: Solver, run: Run, size: int, count: int, by_batch: bool) -> dict[str, float]:
    """The mean outputs of the solver's own test net over the probe batches, and its statistics as they were."""
    net = solver.test_nets[0]
    bn = norm_of(net)
    saved = [blob.peek().copy() for blob in bn.blobs]
    bn.phase = TRAIN if by_batch else TEST
    totals: dict[str, float] = {}
    for k in range(count):
        batch = run.batch(k, size, TEST)
        for name, value in batch.arrays.items():
            net.blobs[name].reshape(*value.shape)
            net.blobs[name].data[...] = value
        for i, node in enumerate(net.nodes):
            if node.bottoms:
                net.run_forward(i, i)
        for name, value in net.output_values().items():
            totals[name] = totals.get(name, 0) + float(value.reshape(-1)[0]) / count
    bn.phase = TEST
    for blob, value in zip(bn.blobs, saved, strict=True):
        blob.data[...] = value
    return totals


def test_scores_by_the_size_of_the_test_batch(trained: Solver) -> None:
    run = run_of(trained)
    values = measure(create("test_batch", {"images": 8, "sizes": [2, 4, 8, 16]}), run)
    expected = {f"{name}/running": v for name, v in outputs(trained, run, 8, 1, False).items()}
    for size in (2, 4, 8):
        expected |= {f"{name}/batch/{size}": v for name, v in outputs(trained, run, size, 8 // size, True).items()}
    assert values == pytest.approx(expected, rel=1e-5)
    assert set(values) == {
        f"{n}/{w}" for n in ("accuracy", "loss") for w in ("running", "batch/2", "batch/4", "batch/8")
    }


@pytest.mark.parametrize("kind", ["BN", "DecorrelatedBN"])
def test_scores_by_the_batch_of_every_kind(kind: str) -> None:
    values = looked_at(TRAINABLE.replace('"BN"', f'"{kind}"'), "test_batch", images=16, sizes=[8, 16])
    assert len({values[f"loss/{name}"] for name in ("running", "batch/8", "batch/16")}) == 3


def test_sizes_that_are_all_too_large(trained: Solver) -> None:
    with pytest.raises(UsageError, match='probe "test_batch": all sizes are above images, which is 8'):
        measure(create("test_batch", {"images": 8, "sizes": 9}), run_of(trained))


def test_scores_with_exact_statistics(trained: Solver) -> None:
    run = run_of(trained)
    values = measure(create("precise_bn", {"samples": [16, 60], "images": 20}), run)
    expected = {f"{name}/running": v for name, v in outputs(trained, run, 8, 3, False).items()}
    for samples, batches in ((16, 2), (60, 8)):
        exact = exact_statistics(run.clone(batch_statistics=True), [run.batch(k) for k in range(batches)])
        norm_of(trained.net).set_running(*exact["bn"])
        expected |= {f"{name}/{samples}": v for name, v in outputs(trained, run, 8, 3, False).items()}
    assert values == pytest.approx(expected, rel=1e-4)
    assert values["loss/16"] != values["loss/60"]


def test_an_attack_stays_in_its_box_and_raises_the_loss(trained: Solver) -> None:
    run = run_of(trained)
    net, batch = run.clone(TEST, input_gradients=True), run.batch(0, phase=TEST)
    before = net.loss(batch)
    for eps in (0.03, 0.3):
        moved = attack(net, batch, "data", eps, 2.5 * eps / 10, 10)
        difference = abs(moved.astype(np.float64) - batch.arrays["data"])
        assert difference.max() <= eps * (1 + 1e-5)
        assert (difference > 0.99 * eps).mean() > 0.5
        assert net.loss(type(batch)({**batch.arrays, "data": moved}, 0)) > before
    np.testing.assert_array_equal(moved, attack(net, batch, "data", eps, 2.5 * eps / 10, 10))


def test_the_attack_on_a_linear_net_is_the_best_one() -> None:
    """There the worst image of the box is a corner: x - eps * sign(w) for the class that should win against another."""
    net = """layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
        shape { dim: 4 dim: 6 } shape { dim: 4 } data_filler { type: "gaussian" std: 1 }
        data_filler { type: "constant" } } }
        layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2
          weight_filler { type: "gaussian" std: 1 } } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }"""
    run = run_of(net)
    w = run.source().params["ip"][0].peek()
    batch = run.batch(0, phase=TEST)
    moved = attack(run.clone(TEST, input_gradients=True), batch, "data", 0.5, 0.25, 20)
    np.testing.assert_allclose(moved, batch.arrays["data"] + 0.5 * np.sign(w[1] - w[0]), atol=1e-6)


def test_an_attack_where_the_data_layer_gives_labels_first() -> None:
    net = """layer { name: "data" type: "DummyData" top: "label" top: "data" dummy_data_param {
        shape { dim: 4 } shape { dim: 4 dim: 6 } data_filler { type: "constant" }
        data_filler { type: "gaussian" std: 1 } } }
        layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2
          weight_filler { type: "gaussian" std: 1 } } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }"""
    values = looked_at(net, "adversarial")
    clean, attacked = values["loss/clean"], values["loss/attacked"]
    assert clean is not None
    assert attacked is not None
    assert attacked > clean
    assert values["eps"]


@pytest.mark.parametrize("clip", [True, False])
def test_an_attacked_image_is_an_image(tmp_path: Path, clip: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """8-bit images less 128, by 0.01: from -1.28 to 1.27."""
    write_synthetic(tmp_path, train=16, test=16)
    source = IMAGES.replace("SOURCE", str(tmp_path / "synthetic_test_lmdb"))
    net = source + TRAINABLE[TRAINABLE.index('layer { name: "conv"') :].replace("num_output: 3", "num_output: 10")
    seen: list[Array] = []

    def recorded(*args: Any) -> Array:
        seen.append(attack(*args))
        return seen[-1]

    monkeypatch.setattr(adversarial, "attack", recorded)
    values = looked_at(net, "adversarial", eps=None, clip=clip)
    assert values["eps"] == pytest.approx(8 * 0.01), "8 of 255 gray levels"
    wide = looked_at(net, "adversarial", eps=1.0, clip=clip)
    assert wide["eps"] == 1
    assert (seen[1].min() >= np.float32(-1.28) and seen[1].max() <= np.float32(1.27)) == clip
    assert seen[1].std() > 0.5


def test_scores_under_attack(trained: Solver) -> None:
    run = run_of(trained)
    values = measure(create("adversarial", {"eps": 0.3, "steps": 5}), run)
    assert set(values) == {"accuracy/clean", "accuracy/attacked", "loss/clean", "loss/attacked", "eps"}
    clean = outputs(trained, run, 8, 1, False)
    assert {name: values[f"{name}/clean"] for name in clean} == pytest.approx(clean, rel=1e-5)
    assert values["loss/attacked"] is not None
    assert values["loss/attacked"] > clean["loss"]
    data = run.batch(0, phase=TEST).arrays["data"]
    by_range = measure(create("adversarial", {"steps": 1}), run)["eps"]
    assert by_range == pytest.approx(8 / 255 * float(data.max() - data.min()))
