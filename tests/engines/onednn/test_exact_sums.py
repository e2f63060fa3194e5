"""Batch normalisation is as exact as its formula in float32, whatever the number of values of a channel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import dragon
from dragon.bases.batch_statistics import BatchStatistics
from dragon.engines.onednn.lowerings import channel_sums
from tests.engines.onednn.comparing import compare, fill, inputs, make_net, set_output_diffs

Array = NDArray[Any]
SHAPE = (128, 16, 32, 32)
AXES = (0, 2, 3)
SAME = (
    'layer { name: "conv" type: "Convolution" bottom: "x0" top: "c" '
    "convolution_param { num_output: 16 kernel_size: 1 } }"
)
RELU = 'layer { name: "relu" type: "ReLU" bottom: "y" top: "y" }'


def norm(bottom: str, top: str = "y", kind: str = "BN") -> str:
    return f'layer {{ name: "bn" type: "{kind}" bottom: "{bottom}" top: "{top}" }}'


SPLIT = norm("c", "n", "BatchNorm") + (
    'layer { name: "scale" type: "Scale" bottom: "n" top: "y" scale_param { bias_term: true } }'
)
FORMS = {"merged": SAME + norm("c"), "split": SAME + SPLIT, "relu": SAME + norm("c") + RELU, "row-major": norm("x0")}


def trained(form: str, mean: float, **options: Any) -> tuple[dragon.Net, Array, Array]:
    """A net after forward and backward of values about `mean`, with scale 1 and shift 0; its input and top diff."""
    net = make_net(inputs(SHAPE) + FORMS[form], "onednn", **options)
    rng = np.random.default_rng(0)
    x, dy = ((rng.standard_normal(SHAPE) + about).astype(np.float32) for about in (mean, 0))
    if "conv" in net.params:  # passes x on, in its own layout
        net.params["conv"][0].data[...] = np.eye(16).reshape(16, 16, 1, 1)
        net.params["conv"][1].data[...] = 0
    net.blobs["x0"].data[...] = x
    net.forward()
    net.blobs["y"].diff[...] = dy
    net.backward()
    return net, x.astype(np.float64), dy.astype(np.float64)


def expected(net: dragon.Net, x: Array, dy: Array) -> tuple[Array, Array, Array, Array]:
    """The normalised x, dx, dgamma and dbeta by the formula in float64; the ReLU's mask is that of the net."""
    layer = net.layers[net.layer_index("bn")]
    assert isinstance(layer, BatchStatistics)
    inv = 1 / np.sqrt(x.var(AXES, keepdims=True) + layer.normalization.eps)
    n = (x - x.mean(AXES, keepdims=True)) * inv
    if "relu" in net.layer_names:
        dy = np.where(net.blobs["y"].peek() > 0, dy, 0)
    dx = (dy - dy.mean(AXES, keepdims=True) - n * (dy * n).mean(AXES, keepdims=True)) * inv
    return n, dx, (dy * n).sum(AXES), dy.sum(AXES)


@pytest.mark.parametrize("fuse", [True, False], ids=["", "single"])
@pytest.mark.parametrize("form", FORMS)
def test_mean_three_of_many_values(form: str, fuse: bool) -> None:
    net, x, dy = trained(form, 3, fuse=fuse)
    n, dx, dgamma, dbeta = expected(net, x, dy)
    y = np.maximum(n, 0) if form == "relu" else n
    np.testing.assert_allclose(net.blobs["y"].peek(), y, rtol=0, atol=2e-6)
    np.testing.assert_allclose(net.blobs["x0"].peek_diff(), dx, rtol=0, atol=2e-6)
    gamma, beta = net.params["scale" if form == "split" else "bn"][:2]
    np.testing.assert_allclose(gamma.peek_diff(), dgamma, rtol=0, atol=1e-3)
    np.testing.assert_allclose(beta.peek_diff(), dbeta, rtol=0, atol=1e-3)


@pytest.mark.parametrize("form", FORMS)
def test_a_bias_below_has_no_gradient(form: str) -> None:
    net, _, _ = trained(form, 3)
    sums = net.blobs["x0"].peek_diff().sum(AXES, dtype=np.float64)
    assert np.abs(sums).max() < 1e-3
    if "conv" in net.params:  # whose own sum is of float32
        assert np.abs(net.params["conv"][1].peek_diff()).max() < 5e-3


@pytest.mark.parametrize("form", FORMS)
def test_a_mean_far_from_zero_takes_two_passes(form: str) -> None:
    net, x, dy = trained(form, 100)
    n, dx, dgamma, _ = expected(net, x, dy)
    y = np.maximum(n, 0) if form == "relu" else n
    np.testing.assert_allclose(net.blobs["y"].peek(), y, rtol=0, atol=3e-5)
    np.testing.assert_allclose(net.blobs["x0"].peek_diff(), dx, rtol=0, atol=3e-6)
    gamma = net.params["scale" if form == "split" else "bn"][0]
    np.testing.assert_allclose(gamma.peek_diff(), dgamma, rtol=0, atol=2e-2)


def test_runs_repeat_to_the_bit() -> None:
    first, second = (trained("relu", 3)[0] for _ in range(2))
    for net in (first, second):
        for _ in range(2):
            net.forward()
            net.backward()
    np.testing.assert_array_equal(first.blobs["y"].peek(), second.blobs["y"].peek())
    np.testing.assert_array_equal(first.blobs["x0"].peek_diff(), second.blobs["x0"].peek_diff())
    np.testing.assert_array_equal(first.params["bn"][0].peek_diff(), second.params["bn"][0].peek_diff())


NETS = {
    "flat": ((12, 5), norm("x0")),
    "flat, in place": ((12, 5), norm("x0", "x0")),
    "one axis": ((3, 5, 7), norm("x0")),
    "three axes": ((2, 5, 3, 4, 2), norm("x0") + RELU),
    "no space": ((9, 5, 1, 1), norm("x0") + RELU),
    "filled blocks": (
        (4, 16, 6, 5),
        SAME.replace("num_output: 16", "num_output: 20") + norm("c", "c") + RELU.replace('"y"', '"c"'),
    ),
    "split": ((4, 16, 6, 5), SAME + SPLIT + RELU),
    "scale alone": ((4, 16, 6, 5), SAME + SPLIT.replace('"n"', '"c"')[len(norm("c", "c", "BatchNorm")) :]),
    "constant statistics": (
        (4, 16, 6, 5),
        SAME + norm("c").replace(" }", " batch_norm_param { gradient_through_statistics: false } }") + RELU,
    ),
    "running statistics": (
        (4, 16, 6, 5),
        SAME + norm("c").replace(" }", " batch_norm_param { use_global_stats: true } }") + RELU,
    ),
}


@pytest.mark.parametrize("near", [0, 10], ids=["two passes", "one pass"])
@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST], ids=["train", "test"])
@pytest.mark.parametrize("fuse", [True, False], ids=["", "single"])
@pytest.mark.parametrize("name", NETS)
def test_small_nets_by_parts(name: str, fuse: bool, phase: int, near: float, monkeypatch: pytest.MonkeyPatch) -> None:
    for constant, value in (("FEW", 0), ("MANY", 0), ("LONG", 8), ("NEAR", near)):
        monkeypatch.setattr(channel_sums, constant, value)
    shape, text = NETS[name]
    if phase == dragon.TEST and "batch_norm_param" not in text:
        text = text.replace('type: "BN"', 'type: "BN" batch_norm_param { use_global_stats: false }')
    net = make_net(inputs(shape) + text, "onednn", phase, fuse=fuse)
    reference = make_net(inputs(shape) + text, "numpy", phase, np.float64)
    fill((reference, net), 1)
    for seed in (2, 3, 4):
        for each in (reference, net):
            each.forward()
        set_output_diffs((reference, net), seed)
        for each in (reference, net):
            each.backward()
        compare(reference, net, 2e-5, least_sum=1)
