"""The end of a residual block as one group: a normalisation, the sum with the shortcut, the ReLU and the Split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.engines.cuda import plan_figures
from dragon.engines.cuda.lowerings import normalizing
from dragon.engines.cuda.lowerings.residual import ResidualLowering
from dragon.graph.net import Net
from tests.engines.cuda.emulation import standin
from tests.engines.cuda.running import close, compare, copy_weights, fill, inputs, layer, make, options_for, parse, same

pytestmark = pytest.mark.usefixtures("cuda")
SHAPE = (4, 8, 6, 6)
CONV = "convolution_param { num_output: 8 kernel_size: 1 bias_term: false }"
SPLIT = layer("BatchNorm", bottom="c", top="z", name="n") + layer(
    "Scale", "scale_param { bias_term: true filler { value: 0.7 } }", bottom="z", top="z", name="s"
)
IN_PLACE = SPLIT.replace('"z"', '"c"')
MERGED = layer("BN", bottom="c", top="z", name="n")
NORMS = {"split": SPLIT, "in place": IN_PLACE, "merged": MERGED, "merged in place": MERGED.replace('"z"', '"c"')}


def text_of(norm: str, relu: str | None = "", readers: int = 2, swapped: bool = False) -> str:
    """Data -> c -> normalisation -> sum with the convolution of another input -> ReLU -> `readers` layers.

    relu: settings; None: no ReLU. swapped: whether the shortcut comes first.
    """
    top = "c" if "in place" in norm else "z"
    first, second = ("k", top) if swapped else (top, "k")
    parts = [
        inputs({"x": SHAPE, "w": SHAPE}),
        layer("Convolution", CONV, bottom="w", top="k", name="k"),
        layer("Convolution", CONV, bottom="x", top="c", name="c"),
        NORMS[norm],
        layer("Eltwise", f'bottom: "{second}"', bottom=first, top="y", name="sum"),
        "" if relu is None else layer("ReLU", relu, bottom="y", top="y", name="r"),
        *(layer("Power", f"power_param {{ scale: {i + 2} }}", bottom="y", top=f"o{i}", name=f"o{i}")
          for i in range(readers)),
    ]  # fmt: skip
    return "".join(parts)


def values(seed: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {name: random.standard_normal(SHAPE) * 2 + 1 for name in ("x", "w")}


def pass_through(nets: Sequence[Net], number: int) -> None:
    """Run nets with two readers both ways, on the same values and the same gradients of what is read."""
    for net in nets:
        fill(net, values(number))
        net.clear_param_diffs()
        net.run_forward()
        for k in range(2):
            net.blobs[f"o{k}"].diff[...] = values(number + 5)["x"] * (k + 1)
        net.run_backward()


@pytest.fixture(params=["one launch", "several"])
def launches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the statistics are computed; several launches are what takes the sum along."""
    if request.param == "several":
        monkeypatch.setattr(normalizing, "slices", lambda *_, **__: None)
    return str(request.param)


def is_joined(net: Net) -> bool:
    return any(isinstance(group.lowering, ResidualLowering) for group in net.executor.plan.groups)  # type: ignore[attr-defined]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("relu", ["", "relu_param { negative_slope: 0.2 }", None], ids=["relu", "slope", "plain"])
def test_blobs_are_those_of_numpy(norm: str, relu: str | None, launches: str) -> None:
    for readers in (1, 2) if relu == "" else (2,):
        # a Scale in place gives its top's gradient another value, which no fused group does
        text, diffs = text_of(norm, relu, readers, swapped=readers == 1), norm != "split"
        net = same(text, values(), tolerance=1e-4, compare_diffs=diffs)
        assert is_joined(net)


@pytest.mark.parametrize("readers", [1, 2, 3, 4, 5])
def test_any_number_of_readers(readers: int, launches: str) -> None:
    assert is_joined(same(text_of("merged", "", readers), values(), tolerance=1e-4))


@pytest.mark.parametrize("shape", [(3, 5, 7, 3), (2, 3, 40, 40), (70, 12)], ids=str)
def test_odd_and_long_maps(shape: tuple[int, ...], launches: str) -> None:
    text = inputs({"x": shape, "w": shape}) + (
        layer("BN", top="z", name="n")
        + layer("Eltwise", 'bottom: "w"', bottom="z", top="y", name="sum")
        + layer("ReLU", bottom="y", top="y", name="r")
    )
    random = np.random.default_rng(2)
    given = {name: random.standard_normal(shape) for name in ("x", "w")}
    assert is_joined(same(text, given, tolerance=1e-4))
    assert is_joined(same(text, given, dtype=np.float64, tolerance=1e-10))


@pytest.mark.parametrize("norm", ["merged", "merged in place"])
def test_bits_are_those_of_separate_layers(norm: str, launches: str) -> None:
    text = "force_backward: true " + text_of(norm)
    nets = [make(text, "cuda", fuse=fuse) for fuse in (True, False)]
    for number in range(3):
        pass_through(nets, number)
        for name, blob in nets[0].blobs.items():
            other = nets[1].blobs[name]
            np.testing.assert_array_equal(blob.peek(), other.peek(), err_msg=name)
            np.testing.assert_array_equal(blob.peek_diff(), other.peek_diff(), err_msg=f"diff of {name}")
        for name in ("c", "k", "n"):
            for a, b in zip(nets[0].params[name], nets[1].params[name], strict=True):
                np.testing.assert_array_equal(a.peek_diff(), b.peek_diff(), err_msg=name)
                np.testing.assert_array_equal(a.peek(), b.peek(), err_msg=name)


@pytest.mark.parametrize("precision", ["tf32", "bf16", "fp16"])
@pytest.mark.parametrize("norm", ["split", "merged in place"])
def test_other_precisions_and_channels_last(norm: str, precision: str, launches: str) -> None:
    text = "force_backward: true " + text_of(norm)
    nets = [make(text, "numpy", dtype=np.float64)]
    nets.append(Net(parse(text), TRAIN, engine="cuda", seed=5, options=options_for(precision)))
    copy_weights(*nets)
    tolerance = {"tf32": 5e-3, "bf16": 0.1, "fp16": 0.02}[precision]
    for number in range(3):
        pass_through(nets, number)
        for name in ("y", "k", "x"):
            close(name, nets[1].blobs[name].peek(), nets[0].blobs[name].peek(), tolerance)
        agree = (nets[0].blobs["y"].peek() > 0) == (nets[1].blobs["y"].peek() > 0)
        for name in ("y", "k"):
            ours, expected = (net.blobs[name].peek_diff() for net in reversed(nets))
            close(f"diff of {name}", ours * agree, expected * agree, 3 * tolerance)
    assert is_joined(nets[1])
    assert nets[1].executor.describe()[4].endswith("channels last, with " + ("s" if norm == "split" else "sum"))


def test_in_test_the_statistics_are_constants(launches: str) -> None:
    net = same(text_of("split"), values(), phase=TEST, tolerance=1e-4, compare_diffs=False)
    assert is_joined(net)


@pytest.mark.parametrize("norm", ["split", "merged in place"])
def test_a_part_of_the_group_goes_back(norm: str, launches: str) -> None:
    text = "force_backward: true " + text_of(norm)
    nets = [make(text, engine) for engine in ("numpy", "cuda")]
    for net in nets:
        fill(net, values())
        net.clear_param_diffs()
        net.run_forward()
        names = net.layer_names
        net.blobs["y"].diff[...] = values(3)["x"]
        before = net.blobs["y"].peek().copy(), net.params["n"][0].peek().copy()
        net.run_backward(names.index("r"), names.index("sum"))
        net.run_backward(names.index("n") + (norm == "split"), names.index("c"))
        np.testing.assert_array_equal(net.blobs["y"].peek(), before[0])
        np.testing.assert_array_equal(net.params["n"][0].peek(), before[1])
    compare(nets[1], nets[0], "a part", 1e-4)


@pytest.mark.parametrize(
    "text",
    [
        text_of("split").replace('top: "y" bottom: "k"', 'top: "y" bottom: "z"'),
        text_of("split") + layer("Power", bottom="z", top="more", name="more"),
        text_of("split").replace('top: "y" bottom: "k"', 'top: "y" bottom: "k" eltwise_param { coeff: 1 coeff: 2 }'),
        text_of("split").replace('top: "y" bottom: "k"', 'top: "y" bottom: "k" eltwise_param { operation: PROD }'),
        text_of("split").replace('"y"', '"z"'),
    ],
    ids=["twice", "read elsewhere", "coefficients", "product", "in place"],
)
def test_what_does_not_join(text: str) -> None:
    assert not is_joined(same(text, values(), tolerance=1e-4, compare_diffs=False))


@pytest.mark.usefixtures("emulated")
def test_less_is_launched_and_moved() -> None:
    """The sum in front of a ReLU and a Split of two: forward reads what is normalised and the shortcut once."""
    shape = (64, 64, 56, 56)
    text = text_of("merged").replace("dim: 4 dim: 8 dim: 6 dim: 6", " ".join(f"dim: {d}" for d in shape))
    figures = plan_figures(make("force_backward: true " + text.replace("num_output: 8", "num_output: 64"), "numpy"))
    (group,) = [each for each in figures.layers if each.name.startswith("n ..")]
    size = int(np.prod(shape)) * 4
    # forward: x; x, shortcut, z, y. backward: two gradients, x, y, their sum; that, x, dx
    assert 13 * size <= group.bytes <= 13.1 * size
    assert group.launches <= 6


@pytest.mark.usefixtures("emulated")
def test_the_joined_kernels_run(launches: str) -> None:
    standin.counts.clear()
    same(text_of("merged"), values(), tolerance=1e-4)
    joined = [standin.counts[f"launches of {name}"] for name in ("bn_normalize_sum", "channel_sums_of_sum")]
    assert all(joined) == (launches == "several")
