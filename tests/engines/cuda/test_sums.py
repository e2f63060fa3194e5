"""Sums of blobs and of gradients, by themselves and with the ReLU and the Split behind them."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.bases.layer import TEST
from dragon.engines.cuda.plan.figures import plan_figures
from dragon.graph.net import Net
from tests.engines.cuda.running import by_kernels, compare, fill, inputs, layer, make, same

pytestmark = pytest.mark.usefixtures("cuda")

RANDOM = np.random.default_rng(77)
EVEN, ODD = (2, 8, 4, 4), (3, 5, 3, 7)
RELU = layer("ReLU", "", "s", "s", "relu")
LEAKY = layer("ReLU", "relu_param { negative_slope: 0.25 }", "s", "s", "relu")


def values(shape: tuple[int, ...], *names: str) -> dict[str, np.ndarray]:
    """Whole numbers, so that sums of 0 occur."""
    return {name: RANDOM.integers(-3, 4, shape).astype(np.float32) for name in names}


def block(bottoms: int, behind: str, readers: int, shape: tuple[int, ...]) -> tuple[str, dict[str, np.ndarray]]:
    """Layers that make the bottoms of a sum, the sum, what is behind it, and its readers."""
    given = values(shape, *(f"x{i}" for i in range(bottoms)))
    text = inputs(dict.fromkeys(given, shape))
    text += "".join(
        layer("Power", f"power_param {{ scale: {i + 1} }}", f"x{i}", f"p{i}", f"p{i}") for i in range(bottoms)
    )
    more = " ".join(f'bottom: "p{i}"' for i in range(1, bottoms))
    text += layer("Eltwise", more, "p0", "s", "sum") + behind
    kinds = ("TanH", "Sigmoid", "AbsVal", "BNLL", "ELU", "Swish")
    return text + "".join(layer(kinds[i], "", "s", f"y{i}", f"y{i}") for i in range(readers)), given


@pytest.mark.parametrize("shape", [EVEN, ODD], ids=["whole vectors", "odd"])
@pytest.mark.parametrize("readers", [1, 2, 4, 6])
@pytest.mark.parametrize("behind", ["", RELU, LEAKY], ids=["no ReLU", "ReLU", "leaky"])
def test_a_sum_with_what_is_behind_it(behind: str, readers: int, shape: tuple[int, ...]) -> None:
    """Every blob has the data and the diff of a net in which each layer runs by itself."""
    text, given = block(2, behind, readers, shape)
    net = same(text, given)
    by_kernels(net, "sum")
    notes = dict(zip(net.layer_names, net.executor.describe(), strict=True))
    fused = [name for name in ("relu", "s_relu_0_split" if behind else "s_sum_0_split") if name in notes]
    expected = [name for name in fused if name == "relu" or readers <= 4]
    assert [name for name in fused if notes[name].startswith("in ")] == expected
    same(text, given, fuse=False)


@pytest.mark.parametrize("bottoms", [3, 4, 5, 8])
@pytest.mark.parametrize("behind", ["", RELU], ids=["no ReLU", "ReLU"])
def test_sums_of_many_bottoms(bottoms: int, behind: str) -> None:
    text, given = block(bottoms, behind, 2, ODD)
    same(text, given)
    same(text, given, fuse=False)


def test_a_bottom_that_wants_no_gradient() -> None:
    shapes = dict.fromkeys(("x0", "x1"), EVEN)
    head = layer("Power", "", "x0", "p0", "p0")
    sums = layer("Eltwise", 'bottom: "x1" propagate_down: true propagate_down: false', "p0", "s", "sum")
    text = inputs(shapes) + head + sums + RELU + layer("TanH", "", "s", "y0", "y0") + layer("BNLL", "", "s", "y1", "y1")
    same(text, values(EVEN, *shapes))


@pytest.mark.parametrize(
    "text",
    [
        layer("Eltwise", 'bottom: "w" eltwise_param { coeff: 1 coeff: -1 }', "x", "s", "sum") + RELU,
        layer("Eltwise", 'bottom: "w" eltwise_param { operation: MAX }', "x", "s", "sum") + RELU,
        layer("Eltwise", 'bottom: "w"', "x", "s", "sum") + layer("ReLU6", "", "s", "s", "relu"),
        layer("Eltwise", 'bottom: "w"', "x", "s", "sum")
        + layer("ReLU", "relu_param { negative_slope: -0.5 }", "s", "s", "relu"),
        layer("Eltwise", 'bottom: "w"', "x", "s", "sum") + layer("ReLU", "", "s", "r", "relu"),
    ],
    ids=["coefficients", "maximum", "ReLU6", "slope below 0", "not in place"],
)
def test_what_is_not_fused(text: str) -> None:
    net = same(inputs({"x": ODD, "w": ODD}) + text, values(ODD, "x", "w"))
    assert not any(note.startswith("in ") for note in net.executor.describe())


def test_minus_infinity_and_nan_behind_the_fused_relu() -> None:
    text, given = block(2, RELU, 2, EVEN)
    given["x0"].flat[:3] = -np.inf, np.inf, np.nan
    nets = [make(text, engine, phase=TEST) for engine in ("numpy", "cuda")]
    for net in nets:
        fill(net, given)
        net.run_forward()
    np.testing.assert_array_equal(nets[1].blobs["s"].peek(), nets[0].blobs["s"].peek())


@pytest.mark.parametrize("start", ["s_relu_0_split", "relu", "sum"])
def test_backward_over_a_part_of_the_group(start: str) -> None:
    """From the end to a layer inside, then on from there; three times, so that the parts are graphs."""
    text, given = block(2, RELU, 2, ODD)
    nets = [make("force_backward: true\n" + text, engine) for engine in ("numpy", "cuda")]
    diffs = values(ODD, "y0", "y1")
    for _ in range(3):
        for net in nets:
            fill(net, given)
            net.run_forward()
            for name, value in diffs.items():
                net.blobs[name].diff[...] = value
            index = net.layer_index(start)
            net.run_backward(None, index)
            net.run_backward(index - 1)
        compare(nets[1], nets[0], f"from {start}", 1e-6)


def launches(net: Net, fuse: bool) -> tuple[int, int]:
    figures = plan_figures(net, fuse=fuse)
    return figures.launches, figures.bytes


def test_a_residual_block_adds_in_one_launch_each_way() -> None:
    """A launch each for sum, ReLU, the sum of the Split, the gradient of the ReLU, and one for both bottoms."""
    text, given = block(2, RELU, 2, EVEN)
    net = make("force_backward: true\n" + text, "numpy")
    fill(net, given)
    net.run_forward()
    array = given["x0"].nbytes
    (apart, bytes_apart), (fused, bytes_fused) = launches(net, False), launches(net, True)
    assert apart - fused == 3
    assert bytes_apart - bytes_fused == (3 + 2 + 3 + 4 + 3) * array - (3 + 6) * array
