"""The Hessian's largest eigenvalue, the Jacobian's singular values, and internal covariate shift."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.bases.layer import TEST
from dragon.errors import UsageError
from dragon.memory.storage import Array
from dragon.probes import ProbeNet, Run, create, measure
from dragon.probes.measures.jacobian import jacobians
from tests.helpers import TRAINABLE
from tests.probes.helpers import make_solver, observe, run_of
from tests.probes.measures.nets import layer, linear, quadratic


@pytest.mark.parametrize(("outputs", "images"), [(1, 16), (3, 4)])
def test_hessian_of_a_quadratic(outputs: int, images: int) -> None:
    run = run_of(quadratic(images, 5, outputs))
    x = run.batch(0).arrays["data"].astype(np.float64)
    largest = np.linalg.eigvalsh(x.T @ x / images)[-1]
    exact = measure(create("hessian", {"exact": True, "iterations": 500, "tolerance": 1e-13}), run)
    assert exact["largest"] == pytest.approx(largest, rel=1e-6)
    assert exact["residual"] == pytest.approx(0, abs=1e-5)
    assert exact["step_error"] == pytest.approx(0, abs=1e-6)
    fast = measure(create("hessian", {"exact": False, "iterations": 500, "tolerance": 1e-6}), run)
    assert fast["largest"] == pytest.approx(largest, rel=1e-3)


SMOOTH = TRAINABLE.replace("ReLU", "TanH").replace("Dropout", "Power").replace("dim: 5 dim: 5", "dim: 3 dim: 3")


def dense(net: ProbeNet, run: Run) -> Array:
    """The whole Hessian, column by column, by differences of the gradient."""
    weights, h = net.weights(), 1e-5
    flat = np.concatenate([w.ravel() for w in weights])

    def gradient(at: Array) -> Array:
        parts = np.split(at, np.cumsum([w.size for w in weights])[:-1])
        net.set_weights([part.reshape(w.shape) for part, w in zip(parts, weights, strict=True)])
        return np.concatenate([g.ravel() for g in net.gradient(run.batch(0))[1]])

    steps = h * np.eye(flat.size)
    return np.stack([(gradient(flat + e) - gradient(flat - e)) / (2 * h) for e in steps])


def test_hessian_of_a_net_with_batch_normalisation() -> None:
    run = run_of(SMOOTH)
    values = np.linalg.eigvalsh(dense(run.clone(engine="numpy", dtype=np.float64), run))
    largest = values[np.argmax(abs(values))]
    found = measure(create("hessian", {"exact": True, "iterations": 2000, "tolerance": 1e-12}), run)
    assert found["largest"] == pytest.approx(largest, rel=1e-4)
    fast = measure(create("hessian", {"exact": False, "iterations": 200, "tolerance": 1e-5}), run)
    assert fast["largest"] == pytest.approx(largest, rel=0.02)
    assert fast["step_error"] is not None
    assert fast["step_error"] < 0.02 * abs(largest)


def test_hessian_of_a_net_of_relus_is_that_of_its_linear_pieces() -> None:
    """With inputs as large as 255, a step that suits others crosses many kinks, and each adds its jump."""
    net = TRAINABLE.replace('data_filler { type: "gaussian" std: 1 }', 'data_filler { type: "gaussian" std: 100 }')
    net = net.replace("dim: 8", "dim: 64").replace('type: "xavier"', 'type: "gaussian" std: 0.0001')
    run = run_of(net)
    by_step = [measure(create("hessian", {"iterations": 20, "step": step}), run)["largest"] for step in (1e-8, 1e-9)]
    assert by_step[1] == pytest.approx(by_step[0], rel=1e-3)
    assert measure(create("hessian", {"iterations": 20}), run)["largest"] == by_step[0]


def test_jacobian_of_a_linear_net() -> None:
    run = run_of(linear((6, 5, 4)))
    first, second = (run.source().params[name][0].peek().astype(np.float64) for name in ("ip1", "ip2"))
    values = np.linalg.svd(second @ first, compute_uv=False)
    expected = {"largest": values[0], "smallest": values[-1], "condition": values[0] / values[-1]}
    assert measure(create("jacobian", {"images": 3}), run) == pytest.approx(expected)
    (lower,) = {measure(create("jacobian", {"layer": "ip1"}), run)["largest"]}
    assert lower == pytest.approx(np.linalg.svd(first, compute_uv=False)[0])


@pytest.mark.parametrize("loss", ["EuclideanLoss", "SigmoidCrossEntropyLoss"])
def test_jacobian_where_the_data_layer_gives_labels_first(loss: str) -> None:
    net = linear((6, 4)).replace("EuclideanLoss", loss)
    shapes = "shape { dim: 3 dim: 6 } shape { dim: 3 dim: 4 }"
    turned = net.replace('top: "data" top: "label"', 'top: "label" top: "data"')
    turned = turned.replace(shapes, "shape { dim: 3 dim: 4 } shape { dim: 3 dim: 6 }")
    run = run_of(turned)
    values = np.linalg.svd(run.source().params["ip1"][0].peek().astype(np.float64), compute_uv=False)
    found = measure(create("jacobian", {"images": 3}), run)
    assert (found["largest"], found["smallest"]) == pytest.approx((values[0], values[-1]))


@pytest.mark.parametrize("name", ["hessian", "jacobian"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_of_a_net_that_diverged(name: str, value: float) -> None:
    """No number, and no error: the training goes on."""
    run = run_of(linear())
    run.source().params["ip1"][0].data[...] = value
    assert set(measure(create(name, {}), run).values()) == {None}


def test_hessian_beside_weights_that_no_loss_reads() -> None:
    net = quadratic()
    run = run_of(net + layer("InnerProduct", "aside", "data", "inner_product_param { num_output: 2 }"))
    expected = measure(create("hessian", {}), run_of(net))["largest"]
    run.source().params["aside"][0].data[...] = np.nan
    assert measure(create("hessian", {}), run)["largest"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name", ["hessian", "ulp"])
def test_probes_of_learning_where_nothing_learns(name: str) -> None:
    frozen = TRAINABLE
    for kind in ("Convolution", "BN", "InnerProduct"):
        frozen = frozen.replace(f'type: "{kind}"', f'type: "{kind}" param {{ lr_mult: 0 }} param {{ lr_mult: 0 }}')
    solver = make_solver(frozen)
    observe(solver, (name, {}))
    with pytest.raises(UsageError, match=f'probe "{name}": nothing learns in this net'):
        solver.solve()


@pytest.mark.parametrize("kind", ["BN", "BatchRenorm", "DecorrelatedBN"])
def test_jacobian_behind_running_statistics(kind: str) -> None:
    """By its own statistics a batch ties the images together, so that one row of a backward is of none of them."""
    net = linear((3, 2), images=16).replace('bottom: "data" top: "ip1"', 'bottom: "bn" top: "ip1"')
    run = run_of(net.replace('layer { name: "ip1"', layer(kind, "bn", "data") + 'layer { name: "ip1"'))
    for _ in range(20):
        run.source().run_forward()
    test = run.source(TEST)
    batch = run.batch(0, 4).arrays["data"]
    ends = []
    for image in batch.astype(np.float64):
        test.blobs["data"].data[...] = image
        sides = []
        for step in (1e-2, -1e-2):
            test.blobs["data"].data[:3] = image + step * np.eye(3)
            test.run_forward(test.layer_index("bn"), test.layer_index("ip1"))
            sides.append(test.blobs["ip1"].peek()[:3].astype(np.float64))
        ends.append(np.linalg.svd((sides[0] - sides[1]) / 2e-2, compute_uv=False)[[0, -1]])
    found = measure(create("jacobian", {"images": 4}), run)
    assert (found["largest"], found["smallest"]) == pytest.approx(tuple(np.mean(ends, axis=0)), rel=1e-3)


def test_jacobian_of_what_is_no_value_for_each_image() -> None:
    with pytest.raises(UsageError, match=r'layer "loss" gives no value for each image, but shape \(\)'):
        measure(create("jacobian", {"layer": "loss"}), run_of(linear()))


@pytest.mark.parametrize("joint", [False, True])
def test_jacobian_of_a_net_with_batch_normalisation(joint: bool) -> None:
    """Against differences; with statistics of the batch each output depends on all images."""
    run = run_of(SMOOTH)
    net = run.clone(engine="numpy", dtype=np.float64, input_gradients=True, batch_statistics=joint)
    batch = run.batch(0, 2)
    found = jacobians(net, batch, "ip", joint)
    x = batch.arrays["data"].astype(np.float64)
    assert found.shape == ((1, 2 * 3, x.size) if joint else (2, 3, x[0].size))
    h = 1e-6
    for k in (0, 7, x.size - 1):
        sides = []
        for sign in (1, -1):
            moved = x.ravel().copy()
            moved[k] += sign * h
            net.load(type(batch)({**batch.arrays, "data": moved.reshape(x.shape)}, batch.index))
            net.net.run_forward(0, net.node("ip").index)
            sides.append(net.net.blobs["ip"].peek().copy())
        column = (sides[0] - sides[1]) / (2 * h)  # (images, outputs)
        image, pixel = divmod(k, x[0].size)
        ours = found[0, :, k] if joint else found[image, :, pixel]
        np.testing.assert_allclose(ours, column.ravel() if joint else column[image], atol=1e-6)
        if not joint:
            assert not column[1 - image].any()


def test_covariate_shift_of_two_layers() -> None:
    run, rate = run_of(linear((4, 3, 2)), dtype=np.float64), 0.3
    x, t = run.batch(0).arrays["data"], run.batch(0).arrays["label"]
    a, b = (run.source().params[name][0].peek() for name in ("ip1", "ip2"))

    def gradients(a: Array, b: Array) -> tuple[Array, Array]:
        rest = (x @ a.T @ b.T - t) / len(x)
        return (rest @ b).T @ x, rest.T @ (x @ a.T)

    first, second = gradients(a, b)
    _, after = gradients(a - rate * first, b)
    cosine = (second * after).sum() / np.linalg.norm(second) / np.linalg.norm(after)
    expected = {
        "ip1/distance": 0.0, "ip1/cosine": 1.0, "ip1/norm": np.linalg.norm(first),
        "ip2/distance": np.linalg.norm(second - after), "ip2/cosine": cosine, "ip2/norm": np.linalg.norm(second),
    }  # fmt: skip
    assert measure(create("covariate_shift", {"rate": rate}), run) == pytest.approx(expected)


def test_covariate_shift_with_fresh_noise() -> None:
    """At rate 0 nothing but the noise differs; without random layers it makes no difference."""
    quiet = {"rate": 0.0, "fresh_noise": True}
    assert measure(create("covariate_shift", quiet), run_of(linear((4, 3, 2))))["ip2/distance"] == 0
    dropping = run_of(TRAINABLE)
    assert measure(create("covariate_shift", {"rate": 0.0}), dropping)["ip/distance"] == 0
    distance = measure(create("covariate_shift", quiet), dropping)["ip/distance"]
    assert distance is not None
    assert distance > 0


def test_covariate_shift_moves_gamma_and_beta_below() -> None:
    """With no weights learned but gamma and beta of the layer below, the shift above is still there."""
    net = TRAINABLE.replace(
        'top: "conv"\n  convolution', 'top: "conv" param { lr_mult: 0 } param { lr_mult: 0 } convolution'
    )
    assert net != TRAINABLE
    values = measure(create("covariate_shift"), run_of(make_solver(net)))
    assert values["ip/distance"] is not None
    assert values["ip/distance"] > 0
    assert "conv/distance" not in values
