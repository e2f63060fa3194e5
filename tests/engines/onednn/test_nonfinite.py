"""NaN and infinities come out of every layer and fused chain, forward and backward, where they do on the reference."""

from __future__ import annotations

import numpy as np
import pytest

import dragon
from tests.engines.nonfinite import Chain, faults, places
from tests.engines.onednn.comparing import fill, make_net, notes
from tests.layers.catalogue import CASES, Case

pytestmark = [pytest.mark.usefixtures("device"), pytest.mark.filterwarnings("ignore::RuntimeWarning")]
PHASES = pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST], ids=["train", "test"])

CONVOLUTION = 'convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } }'
RUNNING = "batch_norm_param { use_global_stats: true }"
POOL = "pooling_param { kernel_size: 2 stride: 2 }"


def _layer(kind: str, bottom: str, top: str, settings: str = "") -> str:
    return f'layer {{ name: "{kind} {top}" type: "{kind}" bottom: "{bottom}" top: "{top}" {settings} }}\n'


CONV = _layer("Convolution", "x0", "y", CONVOLUTION)
RELU = _layer("ReLU", "y", "y")
INNER = _layer("InnerProduct", "x0", "y", 'inner_product_param { num_output: 4 weight_filler { type: "xavier" } }')
SCALE = _layer("Scale", "y", "y", "scale_param { bias_term: true }")
CHAINS = {
    "convolution, ReLU": CONV + RELU,
    "convolution, leaky ReLU": CONV + _layer("ReLU", "y", "y", "relu_param { negative_slope: 0.1 }"),
    "convolution, ReLU up to 6": CONV + _layer("ReLU", "y", "y", "relu_param { relu6: true }"),
    "convolution, Sigmoid": CONV + _layer("Sigmoid", "y", "y"),
    "convolution, TanH": CONV + _layer("TanH", "y", "y"),
    "convolution, ELU": CONV + _layer("ELU", "y", "y"),
    "convolution, PReLU": CONV + _layer("PReLU", "y", "y"),
    "convolution, ReLU, pooling": CONV + RELU + _layer("Pooling", "y", "y1", POOL),
    "convolution, pooling, ReLU": CONV + _layer("Pooling", "y", "y1", POOL) + _layer("ReLU", "y1", "y1"),
    "convolution, pooling, convolution, ReLU": CONV.replace("pad: 1", "pad: 0")
    + _layer("Pooling", "y", "y1", POOL)
    + _layer("ReLU", "y1", "y1")
    + _layer("LRN", "y1", "y2")
    + _layer("Convolution", "y2", "y3", CONVOLUTION.replace("pad: 1", "pad: 0"))
    + _layer("ReLU", "y3", "y3"),
    "ReLU, pooling": _layer("Power", "x0", "y", "power_param { scale: 2 }") + RELU + _layer("Pooling", "y", "y1", POOL),
    "ReLU, dropout": _layer("Power", "x0", "y", "power_param { scale: 2 }") + RELU + _layer("Dropout", "y", "y"),
    "BatchNorm, ReLU": _layer("BatchNorm", "x0", "y") + RELU,
    "BatchNorm, ReLU, another top": _layer("BatchNorm", "x0", "y") + _layer("ReLU", "y", "y1"),
    "BatchNorm, Scale, ReLU": _layer("BatchNorm", "x0", "y") + SCALE + RELU,
    "BatchNorm on running statistics, ReLU": _layer("BatchNorm", "x0", "y", RUNNING) + RELU,
    "convolution, BatchNorm, ReLU": CONV + _layer("BatchNorm", "y", "y") + RELU,
    "convolution, BatchNorm, Scale, ReLU, pooling": CONV
    + _layer("BatchNorm", "y", "y")
    + SCALE
    + RELU
    + _layer("Pooling", "y", "y1", POOL),
    "convolution, BN, ReLU": CONV + _layer("BN", "y", "y") + RELU,
    "convolution, sum, ReLU": _layer("Convolution", "x0", "y", CONVOLUTION.replace("4", "3", 1))
    + 'layer { name: "sum" type: "Eltwise" bottom: "y" bottom: "x0" top: "y1" }\n'
    + _layer("ReLU", "y1", "y1"),
    "inner product, ReLU": INNER + RELU,
    "inner product, ELU": INNER + _layer("ELU", "y", "y"),
    "inner product, Sigmoid": INNER + _layer("Sigmoid", "y", "y"),
    "concatenation, pooling": CONV
    + _layer("ReLU", "y", "y")
    + 'layer { name: "both" type: "Concat" bottom: "y" bottom: "x0" top: "y1" }\n'
    + _layer("Pooling", "y1", "y2", POOL),
}  # fmt: skip


def _agrees(case: Case | Chain, phase: int, spreads: bool = False) -> None:
    def make(text: str, engine: str) -> dragon.Net:
        return make_net(text, engine, phase, np.float64 if engine == "numpy" else np.float32)

    for place in places(case):
        assert not faults(case, make, "onednn", place, spreads), place


@PHASES
@pytest.mark.parametrize("name", CASES)
def test_every_layer(name: str, phase: int) -> None:
    _agrees(CASES[name], phase)


@PHASES
@pytest.mark.parametrize("name", CHAINS)
def test_fused(name: str, phase: int) -> None:
    _agrees(Chain(CHAINS[name]), phase)


@PHASES
@pytest.mark.parametrize("name", [name for name in CHAINS if name.startswith("convolution")])
@pytest.mark.usefixtures("winograd_everywhere")
def test_with_fewer_products(name: str, phase: int) -> None:
    """A transform along the height takes a NaN to all of its tile, four rows or so."""
    layers = CHAINS[name].replace("num_output: 4", "num_output: 16").replace("num_output: 3", "num_output: 16")
    _agrees(Chain(layers, (2, 16, 8, 8)), phase, spreads=True)


@pytest.mark.parametrize("large", [1e28, 1e38])
def test_overflow_in_a_fused_convolution_is_not_finite(large: float) -> None:
    """Finite bottoms and weights, but the bound does not hold."""
    text = Chain(CONV + RELU + _layer("Pooling", "y", "y1", POOL)).text()
    nets = [make_net(text, engine) for engine in ("numpy", "onednn")]
    fill(tuple(nets), 1)
    for net in nets:
        net.blobs["x0"].data[...] *= np.float32(large)
        net.params["Convolution y"][0].data[...] *= np.float32(1e19)
        with np.errstate(all="ignore"):
            net.run_forward()
    expected, found = (np.isfinite(net.blobs["y1"].peek()) for net in nets)
    assert not expected.all()
    np.testing.assert_array_equal(found, expected)


def test_large_finite_numbers_are_as_on_the_reference() -> None:
    """The bound does not hold, but nothing overflows."""
    text = Chain(CONV + RELU + _layer("Pooling", "y", "y1", POOL)).text()
    nets = [make_net(text, engine) for engine in ("numpy", "onednn")]
    fill(tuple(nets), 1)
    for net in nets:
        net.blobs["x0"].data[...] *= np.float32(1e33)
        net.run_forward()
    expected, found = (net.blobs["y1"].peek() for net in nets)
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e28)


def test_a_run_after_one_with_nan_is_as_before() -> None:
    text = Chain(CHAINS["convolution, pooling, convolution, ReLU"]).text()
    net = make_net(text, "onednn")
    fill((net,), 1)
    values = net.blobs["x0"].data.copy()
    net.run_forward()
    before = net.blobs["y3"].peek().copy()
    net.blobs["x0"].data[0, 0, 3, 3] = np.nan
    net.run_forward()
    assert np.isnan(net.blobs["y3"].peek()).any()
    net.blobs["x0"].data[...] = values
    net.run_forward()
    np.testing.assert_array_equal(net.blobs["y3"].peek(), before)
    assert "with" in notes(net)["Convolution y3"]
