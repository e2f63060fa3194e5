"""Norms of weights and gradients, the effective rate, and the growth of gradients in deep nets."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import UsageError
from dragon.probes import create, measure
from tests.probes.helpers import looked_at, make_solver, run_of
from tests.probes.measures.nets import deep, quadratic


def test_weight_norm_names_each_blob() -> None:
    solver = make_solver()
    values = measure(create("weight_norm"), run_of(solver))
    blobs = {name: [blob.peek() for blob in blobs] for name, blobs in solver.net.params.items()}
    expected = {
        "conv": blobs["conv"][0], "conv/bias": blobs["conv"][1], "bn/gamma": blobs["bn"][0], "bn/beta": blobs["bn"][1],
        "ip": blobs["ip"][0], "ip/bias": blobs["ip"][1],
    }  # fmt: skip
    assert values == {name: pytest.approx(np.linalg.norm(value), rel=1e-6) for name, value in expected.items()}


def test_gradient_norm_of_a_quadratic() -> None:
    """G = x' (x w - t) / images, the mean over two batches."""
    run = run_of(quadratic(), dtype=np.float64)
    w = run.source().params["ip"][0].peek()
    gradients = []
    for k in range(2):
        x, t = run.batch(k).arrays["data"], run.batch(k).arrays["label"]
        gradients.append((x @ w.T - t).T @ x / len(x))
    values = measure(create("gradient_norm", {"batches": 2}), run)
    assert values["ip"] == values["all"] == pytest.approx(float(np.linalg.norm(np.mean(gradients, axis=0))))
    of_outputs = measure(create("gradient_norm", {"of": "outputs"}), run)
    x, t = run.batch(0).arrays["data"], run.batch(0).arrays["label"]
    assert of_outputs == {"ip": pytest.approx(float(np.linalg.norm(x @ w.T - t)) / len(x))}


def test_quantiles_of_a_gradient() -> None:
    run = run_of(quadratic(inputs=4), dtype=np.float64)
    x, t, w = run.batch(0).arrays["data"], run.batch(0).arrays["label"], run.source().params["ip"][0].peek()
    g = np.sort(abs((x @ w.T - t).T @ x / len(x)).ravel())
    values = measure(create("gradient_quantiles", {"quantiles": [0, 0.5, 1]}), run)
    assert values == {
        "ip/q0": pytest.approx(g[0]), "ip/q50": pytest.approx((g[1] + g[2]) / 2), "ip/q100": pytest.approx(g[3])
    }  # fmt: skip


def test_what_a_gradient_can_be_of() -> None:
    with pytest.raises(UsageError, match='probe "gradient_norm": of is weights or outputs, got "inputs"'):
        create("gradient_norm", {"of": "inputs"})


def test_effective_rate() -> None:
    solver = make_solver(base_lr=0.5)
    w = solver.net.params["conv"][0].peek()
    assert measure(create("effective_rate"), run_of(solver))["conv"] == pytest.approx(0.5 / float((w**2).sum()))
    assert looked_at(quadratic(), "effective_rate", rate=0.0) == {"ip": 0.0}
    with pytest.raises(UsageError, match="which learning rate"):
        looked_at(quadratic(), "effective_rate")


@pytest.mark.parametrize(("normalised", "growth"), [(True, np.pi / (np.pi - 1)), (False, 1.0)])
def test_growth_of_the_gradient_in_a_deep_net_at_initialisation(normalised: bool, growth: float) -> None:
    """Yang et al. 2019: the squared gradient grows by pi / (pi - 1) = 1.467 a layer with batch normalisation and ReLU;
    He et al. 2015: it keeps its size without. The first layer reads no ReLU."""
    depth = 12
    values = looked_at(deep(512, depth, 512, normalised), "gradient_norm", engine="onednn", of="outputs")
    squares = [value**2 for k in range(1, depth) if (value := values[f"ip{k}"]) is not None]
    assert (squares[0] / squares[-1]) ** (1 / (len(squares) - 1)) == pytest.approx(growth, rel=0.015)
