"""NaN and infinities come out of every layer and fused chain, forward and backward, where they do on the reference."""

from __future__ import annotations

import numpy as np
import pytest

import dragon
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.plan import guarded
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from tests.engines.ignored_labels import KINDS, check
from tests.engines.nonfinite import CHAINS, CONV, POOL, RELU, Chain, faults, layer, places
from tests.engines.onednn.comparing import fill, make_net, notes
from tests.layers.catalogue import CASES, Case

pytestmark = [pytest.mark.usefixtures("device"), pytest.mark.filterwarnings("ignore::RuntimeWarning")]
PHASES = pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST], ids=["train", "test"])


def _agrees(case: Case | Chain, phase: int, spreads: bool = False) -> None:
    def make(text: str, engine: str) -> dragon.Net:
        return make_net(text, engine, phase, np.float64 if engine == "numpy" else np.float32)

    for place in places(case):
        assert not faults(case, make, "onednn", place, spreads), place


@PHASES
@pytest.mark.parametrize("name", CASES)
def test_everylayer(name: str, phase: int) -> None:
    _agrees(CASES[name], phase)


@PHASES
@pytest.mark.parametrize("name", CHAINS)
def test_fused(device: Device, name: str, phase: int) -> None:
    # with AVX2 channels that fill up a block become NaN beside an infinity, and pass it on in backward
    spreads = name == "convolution, TanH" and not device.has_avx512
    _agrees(Chain(CHAINS[name]), phase, spreads)


@PHASES
@pytest.mark.parametrize("name", [name for name in CHAINS if name.startswith("convolution")])
@pytest.mark.usefixtures("winograd_everywhere")
def test_with_fewer_products(name: str, phase: int) -> None:
    """A transform along the height takes a NaN to all of its tile, four rows or so."""
    layers = CHAINS[name].replace("num_output: 4", "num_output: 16").replace("num_output: 3", "num_output: 16")
    _agrees(Chain(layers, (2, 16, 8, 8)), phase, spreads=True)


@pytest.mark.parametrize("name", [name for name in CHAINS if name.startswith("convolution")])
@pytest.mark.usefixtures("square_tiles_everywhere")
def test_in_square_tiles(name: str) -> None:
    """Transforms along both axes take a NaN to all of its strip."""
    layers = CHAINS[name].replace("num_output: 4", "num_output: 16").replace("num_output: 3", "num_output: 16")
    _agrees(Chain(layers, (2, 16, 8, 8)), dragon.TEST, spreads=True)


@PHASES
@pytest.mark.parametrize("name", [name for name in CHAINS if name.startswith("convolution")])
@pytest.mark.usefixtures("images_last_everywhere")
def test_with_images_innermost(name: str, phase: int) -> None:
    _agrees(Chain(CHAINS[name]), phase)


@PHASES
@pytest.mark.parametrize("name", ["convolution, ReLU", "convolution, Sigmoid", "convolution, ReLU, pooling"])
@pytest.mark.usefixtures("images_last_everywhere")
def test_on_two_rows(name: str, phase: int) -> None:
    _agrees(Chain(CHAINS[name], (2, 3, 2, 5)), phase)


@PHASES
@pytest.mark.parametrize("shape", [(2, 1, 1, 1), (1, 3, 1, 1), (2, 2, 1, 2)])
@pytest.mark.parametrize("outputs", [1, 8])
def test_sigmoid_by_kernels_that_lose_nan(outputs: int, shape: tuple[int, ...], phase: int) -> None:
    """On small maps convolutions unfold images, or take the library's reference: quirk "logistic of NaN"."""
    layers = CONV.replace("num_output: 4", f"num_output: {outputs}") + layer("Sigmoid", "y", "y")
    _agrees(Chain(layers, shape), phase)


@pytest.mark.parametrize("large", [1e28, 1e38])
def test_overflow_in_a_fused_convolution_is_not_finite(large: float) -> None:
    """Finite bottoms and weights, but the bound does not hold. All products of an output have one sign."""
    text = Chain(CONV + RELU + layer("Pooling", "y", "y1", POOL)).text()
    nets = [make_net(text, engine) for engine in ("numpy", "onednn")]
    fill(tuple(nets), 1)
    for net in nets:
        bottom, weights = net.blobs["x0"], net.params["Convolution y"][0]
        bottom.data[...] = np.abs(bottom.data) * np.float32(large)
        weights.data[...] = np.abs(weights.data) * np.float32(1e19)
        weights.data[1::2] *= -1
        with np.errstate(all="ignore"):
            net.run_forward()
    expected, found = (np.isfinite(net.blobs["y1"].peek()) for net in nets)
    assert not expected.all()
    np.testing.assert_array_equal(found, expected)


def test_large_finite_numbers_are_as_on_the_reference() -> None:
    """The bound does not hold, but nothing overflows."""
    text = Chain(CONV + RELU + layer("Pooling", "y", "y1", POOL)).text()
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


BN_POOL = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 dim: 9 dim: 9 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BN" bottom: "conv" top: "bn" }
layer { name: "pool" type: "Pooling" bottom: "bn" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
"""


def test_a_pooling_after_a_normalisation_of_the_batch_checks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The normalisation bounds its top; where its statistics are not finite, the pooling checks after all."""
    checks: list[bool] = []
    original = guarded.is_finite

    def counted(memory: Memory) -> bool:
        checks.append(original(memory))
        return checks[-1]

    monkeypatch.setattr(guarded, "is_finite", counted)
    definition = parse_text("force_backward: true\n" + BN_POOL, pb.NetParameter())
    net = dragon.Net(definition, dragon.TRAIN, engine="onednn", seed=1)
    x = np.random.default_rng(0).standard_normal((4, 3, 9, 9)).astype(np.float32)
    net.blobs["x"].data[...] = x
    net.forward_backward()
    assert checks == []
    net.blobs["x"].data[1, 2, 3, 3] = np.nan
    net.run_forward()
    assert False in checks
    assert np.isnan(net.blobs["pool"].peek()).any()


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_at_ignored_labels_does_not_count(kind: str) -> None:
    check(kind, lambda text: make_net(text, "onednn"))
