"""Percentiles, moments, saturation and correlation of what layers give."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from dragon.errors import UsageError
from dragon.probes import create, measure
from dragon.probes.measures.correlation import mean_correlation
from dragon.probes.measures.saturation import Saturation
from tests.helpers import TRAINABLE
from tests.probes.helpers import looked_at, make_solver, run_of
from tests.probes.measures.nets import quadratic


def test_percentiles_of_known_values() -> None:
    run = run_of(quadratic(images=21, inputs=1))
    w = run.source().params["ip"][0]
    w.data[...] = 2
    x = np.sort(2 * run.batch(0).arrays["data"].ravel())
    values = measure(create("percentiles"), run)
    assert values == {
        "ip/0/p15": pytest.approx(x[3], rel=1e-6), "ip/0/p50": pytest.approx(x[10], rel=1e-6),
        "ip/0/p85": pytest.approx(x[17], rel=1e-6),
    }  # fmt: skip


def test_percentiles_of_a_layer_and_of_a_blob() -> None:
    """The layer's values are those before the ReLU in place above it, the blob's those after the whole pass."""
    run = run_of(TRAINABLE)
    settings = {"units": [0, 3], "percentiles": [0]}
    before = measure(create("percentiles", {"layer": "conv", **settings}), run)
    after = measure(create("percentiles", {"blob": "conv", **settings}), run)
    assert set(before) == set(after) == {"conv/0/p0", "conv/3/p0"}
    assert all(value is not None and value < 0 for value in before.values())
    assert set(after.values()) == {0.0}


def test_percentiles_of_the_input_of_a_layer() -> None:
    """What a ReLU in place is given is what the layer below it gives."""
    run = run_of(TRAINABLE)
    below = measure(create("percentiles", {"layer": "bn", "units": [0, 3]}), run)
    given = measure(create("percentiles", {"input_of": "relu", "units": [0, 3]}), run)
    assert list(given.values()) == list(below.values())
    assert set(given) == {f"relu/{unit}/p{p}" for unit in (0, 3) for p in (15, 50, 85)}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layer": "ip", "blob": "ip"}, "give layer or blob, not both"),
        ({"input_of": "ip", "layer": "ip"}, "give layer or input_of, not both"),
        ({"input_of": "data"}, 'probe "percentiles": "data" is given nothing'),
        ({"layer": "ipp"}, r'the net has no layer "ipp" \(did you mean "ip"\?\)'),
        ({"blob": "con"}, r'the net has no blob "con" \(did you mean "conv"\?\)'),
        ({"units": [3]}, 'probe "percentiles": unit 3 of "ip", which has 3, counted from 0'),
        ({"layer": "loss"}, r'probe "percentiles": "loss" of shape \(\) has no units'),
        ({"percentiles": [101]}, 'probe "percentiles": percentiles must be at most 100, got 101'),
    ],
)
def test_wrong_percentiles(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        looked_at(TRAINABLE, "percentiles", **settings)


def test_moments() -> None:
    run = run_of(TRAINABLE)
    values = measure(create("moments"), run)
    assert {key.split("/")[0] for key in values} == {"conv", "bn", "relu", "drop", "ip"}
    net = run.net
    net.load(run.batch(0))
    net.net.run_forward(0, net.node("relu").index)
    y = net.net.blobs["conv"].peek().astype(np.float64).ravel()
    z = (y - y.mean()) / y.std()
    expected = {"mean": y.mean(), "variance": y.var(), "skewness": (z**3).mean(), "kurtosis": (z**4).mean()}
    assert {k: values[f"relu/{k}"] for k in expected} == pytest.approx(expected)
    assert values["bn/mean"] == pytest.approx(0, abs=1e-6)
    assert values["bn/variance"] == pytest.approx(1, rel=1e-3)


def test_kurtosis_of_a_gaussian_is_3() -> None:
    values = looked_at(quadratic(images=20_000, inputs=2), "moments")
    assert values["ip/kurtosis"] == pytest.approx(3, abs=0.1)
    assert values["ip/skewness"] == pytest.approx(0, abs=0.05)


def test_shares_of_saturated_and_dead() -> None:
    probe = Saturation(tolerance=0.1)
    y = np.array([[0.0, 0.05], [0.5, 0.95], [0.2, 1.0]])
    assert probe._shares(y, 0, 1) == {"saturated": 4 / 6}
    assert probe._shares(np.array([[-1.0, -0.79, 0.8, 0.0]]), -1, 1) == {"saturated": 0.5}
    images = np.zeros((2, 3, 2))
    images[0, 0, 1] = images[1, 2] = 1
    assert probe._shares(images, 0, math.inf) == {"dead": pytest.approx(1 / 3), "zero": pytest.approx(9 / 12)}


def test_saturation_of_a_net() -> None:
    solver = make_solver()
    conv = solver.net.params["bn"]
    conv[1].data[...] = [-100, 0, 0, 100]  # beta: one channel is dead, one always alive
    values = measure(create("saturation"), run_of(solver))
    assert values["relu/dead"] == 0.25
    assert set(values) == {"relu/dead", "relu/zero"}
    sigmoid = make_solver(TRAINABLE.replace('"ReLU"', '"Sigmoid"'))
    sigmoid.net.params["bn"][1].data[...] = [-100, 0, 0, 100]
    values = measure(create("saturation", {"tolerance": 0.0001}), run_of(sigmoid))
    assert values == {"relu/saturated": 0.5}


def test_correlation_of_known_channels() -> None:
    base = np.random.default_rng(1).standard_normal((50, 1, 4))
    assert mean_correlation(np.concatenate([base, -3 * base + 1, 0 * base], axis=1)) == pytest.approx(1)
    x = np.random.default_rng(2).standard_normal((40, 5, 3))
    r = np.asarray(np.corrcoef(np.moveaxis(x, 1, 0).reshape(5, -1)))
    assert mean_correlation(x) == pytest.approx(abs(r[np.triu_indices(5, 1)]).mean())
    assert math.isnan(mean_correlation(x[:, :1]))


def test_batch_normalisation_leaves_correlations() -> None:
    values = looked_at(TRAINABLE, "correlation", dtype=np.float64)
    assert values["bn/before"] is not None
    assert values["bn/after"] == pytest.approx(values["bn/before"], rel=1e-4)
    assert 0 < values["bn/before"] < 1
