"""TEST passes that settle parameters and bounds before they run: results are the reference's whatever changes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import dragon
from dragon.engines import Options
from dragon.engines.onednn.executor import OneDNNExecutor
from dragon.engines.onednn.library.constants import DataType
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.lowerings.parameters import set_gains
from dragon.engines.onednn.plan.bound import Bound, Gains, Measured, largest_bf16
from dragon.engines.onednn.plan.guarded import is_finite
from dragon.engines.onednn.plan.settled import SettledProgram
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text

pytestmark = pytest.mark.usefixtures("device")

CONV = "num_output: 16 kernel_size: 3 pad: 1 weight_filler { type: 'msra' } bias_filler { type: 'constant' value: 0.1 }"
DEPTH = 14


def _layer(kind: str, bottom: str, top: str, more: str = "") -> str:
    return f'layer {{ name: "{top}/{kind}" type: "{kind}" bottom: "{bottom}" top: "{top}" {more} }}\n'


def _chain(normalised: bool = False, between: str = "", depth: int = DEPTH) -> str:
    """A deep net of convolutions and ReLUs, with a Concat and a sum; normalised: as DenseNet, BN before each."""
    text = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }\n'
    text += _layer("Convolution", "x", "c0", f"convolution_param {{ {CONV} }}")
    for k in range(depth):
        source = f"c{k}"
        if normalised:
            text += _layer("BatchNorm", source, f"n{k}") + _layer(
                "Scale", f"n{k}", f"n{k}", "scale_param { bias_term: true }"
            )
            text += _layer("ReLU", f"n{k}", f"n{k}")
            source = f"n{k}"
        if k == 5 and between:
            text += _layer(between, source, "between")
            source = "between"
        text += _layer("Convolution", source, f"c{k + 1}", f"convolution_param {{ {CONV} }}")
        text += "" if normalised else _layer("ReLU", f"c{k + 1}", f"c{k + 1}")
    text += 'layer { name: "j" type: "Concat" bottom: "c3" bottom: "c9" bottom: "x" top: "j" }\n'
    text += _layer("Convolution", "j", "k", f"convolution_param {{ {CONV} }}")
    text += f'layer {{ name: "s" type: "Eltwise" bottom: "k" bottom: "c{depth}" top: "s" }}\n' + _layer(
        "ReLU", "s", "s"
    )
    text += _layer("InnerProduct", "s", "f", "inner_product_param { num_output: 5 weight_filler { type: 'xavier' } }")
    return text + _layer("Softmax", "f", "p")


class Pair:
    """One net on both engines, with the same weights."""

    def __init__(self, text: str) -> None:
        self.ours, self.theirs = (
            dragon.Net(parse_text(text, pb.NetParameter()), phase=dragon.TEST, engine=engine, seed=3)
            for engine in ("onednn", "numpy")
        )
        self.rng = np.random.default_rng(0)

    def draw(self) -> None:
        """Statistics and affine parameters of normalisations that are not the fillers'."""
        for name in self.ours.params:
            for k, blob in enumerate(self.ours.params[name]):
                if name.endswith(("BatchNorm", "Scale")):
                    self.set(
                        name, k, np.ones(blob.shape) if blob.count == 1 else self.rng.uniform(0.5, 1.5, blob.shape)
                    )

    def set(self, name: str, k: int, values: NDArray[np.floating] | float) -> None:
        for net in (self.ours, self.theirs):
            net.params[name][k].data[...] = values

    def check(self, images: NDArray[np.floating]) -> None:
        """All blobs are the reference's, NaN and infinities in the same places."""
        for net in (self.ours, self.theirs):
            net.blobs["x"].data[...] = images
            with np.errstate(all="ignore"):
                net.forward()
        for name in ("p", "f", "s", f"c{DEPTH}", "c4", "c1"):
            found, wanted = self.ours.blobs[name].peek(), self.theirs.blobs[name].peek()
            finite = np.isfinite(wanted)
            np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted), name)
            np.testing.assert_array_equal(found[~finite], wanted[~finite], name)
            if name == "p":  # in which an error of a large score is a large one
                continue
            largest = np.abs(wanted[finite]).max(initial=1e-30)
            # beside a weight of 1e30 a score shows the rounding of one value alone, however small that is
            np.testing.assert_allclose(found[finite] / largest, wanted[finite] / largest, atol=1e-4, err_msg=name)

    def images(self) -> NDArray[np.float64]:
        return self.rng.standard_normal((2, 3, 8, 8))

    @property
    def program(self) -> SettledProgram:
        executor = self.ours.executor
        assert isinstance(executor, OneDNNExecutor)
        (program,) = executor.plans.plan(True)._settled.values()
        assert isinstance(program, SettledProgram)
        return program

    @property
    def measured(self) -> list[Measured]:
        """What is measured inside the net in each pass."""
        return [measured for measured in self.program._inside if measured.needed]


@pytest.fixture(params=[False, True], ids=["folded", "normalised"])
def pair(request: pytest.FixtureRequest) -> Pair:
    made = Pair(_chain(normalised=request.param))
    made.draw()
    return made


@pytest.fixture(params=[False, True], ids=["folded", "normalised"])
def deep(request: pytest.FixtureRequest) -> Pair:
    made = Pair(_chain(normalised=request.param, depth=3 * DEPTH))
    made.draw()
    return made


def test_bounds_hold_through_a_deep_net(deep: Pair) -> None:
    """Some values in between are measured, so that the bounds after them show something."""
    deep.check(deep.images())
    assert deep.program._holds
    assert 1 <= len(deep.measured) <= 4
    assert len(deep.program._needed) > DEPTH
    deep.check(deep.images())


def test_neither_nan_nor_large_inputs_are_lost(pair: Pair) -> None:
    pair.check(pair.images())
    for factor in (1e12, 1e25, 1.0, 1.0):  # the first small ones are measured in a pass of its own
        pair.check(pair.images() * factor)
    assert pair.program._holds


def test_a_pass_after_nan_measures_no_more_than_before(deep: Pair) -> None:
    deep.check(deep.images())
    before = deep.measured
    for value in (np.nan, np.inf, -np.inf):
        images = deep.images()
        images[1, 2, 3, 4] = value
        for _ in range(2):
            deep.check(images)
    for _ in range(3):
        deep.check(deep.images())
    assert deep.program._holds
    assert len(deep.measured) <= len(before)
    assert all(np.isfinite(measured.limit) for measured in deep.program._inputs)


def test_a_value_above_its_limit_is_measured(deep: Pair) -> None:
    """The bounds after it are computed again in the middle of the pass, and hold with a larger limit in the next."""
    deep.check(deep.images())
    limits = [measured.limit for measured in deep.measured]
    deep.check(deep.images() * 1e15)
    assert deep.measured
    assert min(measured.limit for measured in deep.measured) > max(limits)
    deep.check(deep.images() * 1e15)
    assert deep.program._holds


def test_values_that_overflow_inside(pair: Pair) -> None:
    """Infinities of both signs meet in the next layer and become NaN, which a fast ReLU would hide."""
    pair.check(pair.images())
    weight = pair.ours.params["c2/Convolution"][0].peek().copy()
    pair.set("c2/Convolution", 0, np.float32(1e38) * np.sign(weight))
    for _ in range(2):
        pair.check(pair.images() * 100)
    assert not pair.program._holds
    pair.set("c2/Convolution", 0, weight)
    for _ in range(2):
        pair.check(pair.images())
    assert pair.program._holds


@pytest.mark.parametrize("value", [2.0, np.nan, 1e30])
def test_parameters_may_change_between_passes(pair: Pair, value: float) -> None:
    images = pair.images()
    for name in list(pair.ours.params):
        pair.check(images)
        for k, blob in enumerate(pair.ours.params[name]):
            before = blob.peek().copy()
            changed = before.copy()
            changed.flat[min(4, changed.size - 1)] = value  # in the middle of a window: oneDNN leaves out 0 times NaN
            pair.set(name, k, changed)
            if name.startswith(("c2", "n2", "c8", "f", "k")):
                pair.check(images)
            pair.set(name, k, before)
    for _ in range(2):
        pair.check(images)
    assert pair.program._holds


def test_bounds_of_parts_of_a_pass(pair: Pair) -> None:
    """What an earlier part makes larger can overflow in a later one, whose own parameters are as they were."""
    weight = pair.ours.params["c2/Convolution"][0].peek().copy()
    pair.set("c9/Convolution", 0, pair.ours.params["c9/Convolution"][0].peek() * np.float32(1e6))
    images = pair.images()
    for factor in (1.0, 1e35, 1.0, 1e35):
        pair.set("c2/Convolution", 0, weight * np.float32(factor))
        pair.check(images)
        for run in (lambda: pair.ours.executor.profile(1, backward=False), pair.ours.forward):
            run()
            result, wanted = (net.blobs[f"c{DEPTH}"].peek() for net in (pair.ours, pair.theirs))
            np.testing.assert_array_equal(np.isnan(result), np.isnan(wanted))
            assert np.isnan(wanted).any() == (factor > 1)


def test_a_view_that_a_script_keeps_is_looked_at_in_each_pass(pair: Pair) -> None:
    images = pair.images()
    pair.check(images)
    views = [net.params["c3/Convolution"][0].data[...] for net in (pair.ours, pair.theirs)]
    for factor in (2.0, -1.0, 0.5):
        for view in views:
            view *= factor
        pair.check(images)


@pytest.mark.parametrize("between", ["Tile", "Power", "Softmax"])
def test_array_code_in_the_middle_reads_what_was_made_before_it(between: str) -> None:
    text = _chain(between=between)
    pair = Pair(text.replace('top: "between"', 'top: "between" tile_param { tiles: 1 }') if between == "Tile" else text)
    for _ in range(3):
        pair.check(pair.images())


def test_a_pass_that_breaks_off_is_made_up_for_in_the_next(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    images = pair.images()
    pair.check(images)
    program = pair.program
    at = program._chosen[4][0]
    monkeypatch.setattr(program, "_fast", [*program._fast[:at], lambda: 1 / 0, *program._fast[at + 1 :]])
    pair.set("c2/Convolution", 0, pair.ours.params["c2/Convolution"][0].peek() * 2)
    with pytest.raises(ZeroDivisionError):
        pair.ours.forward()
    monkeypatch.undo()
    pair.check(images)
    pair.check(pair.images())


def test_a_blob_whose_view_is_kept_is_brought_up_to_date(pair: Pair) -> None:
    """Also one of the middle, and after passes in which nobody looked."""
    pair.check(pair.images())
    pair.check(pair.images())
    view = pair.ours.blobs["c4"].data[...]
    for _ in range(3):
        pair.check(pair.images())
        np.testing.assert_allclose(view, pair.theirs.blobs["c4"].peek(), atol=1e-4)


def test_a_measured_memory_is_above_its_limit_where_it_is_not_finite() -> None:
    memory = Memory.wrap(Device(), np.array([3, 4], np.float32))
    measured = Measured(memory, limit=5)
    assert not measured()
    measured.limit = 4.9
    assert measured()
    measured.measure()
    assert (measured.largest, measured.limit) == (5, 40)
    assert measured.product(Gains(norm=2, positive=1, bias=1), 1000) == 11
    memory.elements()[0] = np.nan
    assert measured()
    measured.measure()
    assert not measured.holds()
    assert measured()


def test_a_memory_is_measured_where_its_computed_bound_is_too_large() -> None:
    computed = Bound(positive=True)
    measured = Measured(Memory.wrap(Device(), np.array([3, 4], np.float32)), 6, computed)
    measured.above = 1e10
    gains = Gains(norm=2, positive=7, bias=1)
    for bound, needed, largest, product in ((1e9, False, 1e9, 7e9 + 1), (1e11, True, 6, 13), (np.nan, True, 6, 13)):
        computed.largest = bound
        measured.choose()
        assert (measured.needed, measured.largest) == (needed, largest)
        assert measured.product(gains, 2) == product


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [3e38, np.inf, np.nan])
def test_weights_whose_gains_overflow_show_nothing(value: float) -> None:
    gains = Gains()
    set_gains(gains, np.full((2, 6), value, np.float32), 0, np.array([0.0, 2.0]), np.array([value, 1.0]))
    bound = Bound()
    bound.largest = 1.0
    for bound.positive in (False, True):
        assert not bound.product(gains, 6) < 1e30


@pytest.mark.parametrize("axis", [0, 1])
def test_no_product_is_above_its_bound(axis: int) -> None:
    rng = np.random.default_rng(1)
    weight, scale, bias = rng.standard_normal((6, 6)).astype(np.float32), rng.uniform(-2, 2, 6), rng.standard_normal(6)
    gains = Gains()
    set_gains(gains, weight, axis, scale, bias)
    rows = (weight if axis == 0 else weight.T) * scale[:, np.newaxis]
    for positive in (True, False):
        bound = Bound(positive)
        bound.largest = 3.0
        below = 0.0 if positive else -3.0
        worst = max(np.where(sign * row > 0, 3.0, below) @ (sign * row) for row in rows for sign in (1, -1))
        assert worst <= bound.product(gains, 6) <= 3 * worst + 3


@pytest.mark.parametrize(
    ("values", "largest"),
    [([1.0, -2.5], 2.5), ([-1.0, -0.0], 1.0), ([0.0], 0.0), ([3e38, 1.0], 3e38), ([-np.inf, 1.0], np.inf),
     ([2.0, np.nan], np.nan), ([2.0, -np.nan], np.nan)],
)  # fmt: skip
def test_the_largest_magnitude_in_bf16(values: list[float], largest: float) -> None:
    bits = (np.array(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)
    memory = Memory(Device(), MemoryDesc.plain(bits.shape, DataType.bf16))
    memory.elements()[...] = bits
    np.testing.assert_allclose(largest_bf16(memory), largest, rtol=0.01)
    assert is_finite(memory) == np.isfinite(values).all()
    measured = Measured(memory, limit=1e39)
    assert measured() == (not np.isfinite(largest))
    measured.measure()
    assert measured.holds() == (largest < 1e30)
    sums = measured.product(Gains(norm=2, positive=1, bias=0), len(values))
    assert not measured.holds() or sums >= 2 * np.linalg.norm(values) * 0.99


@pytest.mark.parametrize("normalised", [False, True])
def test_bounds_hold_in_bf16(device: Device, normalised: bool) -> None:
    """Then no layer is checked by itself, and NaN is not lost either."""
    if not device.native_bf16:
        pytest.skip("this CPU has no bf16")
    text = parse_text(_chain(normalised), pb.NetParameter())
    net = dragon.Net(text, phase=dragon.TEST, engine="onednn", seed=3, options=Options(precision="bf16"))
    for name in net.params:
        for blob in net.params[name] if name.endswith("BatchNorm") else ():
            blob.data[...] = 1
    images = np.random.default_rng(0).standard_normal((2, 3, 8, 8))
    net.blobs["x"].data[...] = images
    net.forward()
    executor = net.executor
    assert isinstance(executor, OneDNNExecutor)
    (program,) = executor.plans.plan(True)._settled.values()
    assert isinstance(program, SettledProgram)
    assert program._inside
    for value, holds in ((np.nan, False), (np.inf, False), (1.0, True)):
        net.blobs["x"].data[...] = images
        net.blobs["x"].data[1, 2, 3, 4] = value
        for _ in range(2):  # the first after NaN measures the limits
            with np.errstate(all="ignore"):
                net.forward()
        assert program._holds == holds
        assert np.isnan(net.blobs["p"].peek()[1]).any() == (not holds)
        assert np.isfinite(net.blobs["p"].peek()[0]).all()


def test_nan_with_a_sign_behind_a_relu(device: Device) -> None:
    """The root of a variance below 0. It is measured as others are, although no number there is below 0."""
    if not device.native_bf16:
        pytest.skip("this CPU has no bf16")
    text = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }\n'
    text += _layer("Convolution", "x", "a", f"convolution_param {{ {CONV} }}")
    text += _layer("BatchNorm", "a", "b") + _layer("Scale", "b", "b") + _layer("ReLU", "b", "b")
    text += _layer("Pooling", "b", "p", "pooling_param { pool: AVE kernel_size: 2 stride: 2 }")
    text += _layer("Convolution", "p", "c", f"convolution_param {{ {CONV} }}") + _layer("ReLU", "c", "c")
    text += _layer("Convolution", "a", "d", f"convolution_param {{ {CONV} }}")  # so that a is not folded into b
    net = dragon.Net(
        parse_text(text, pb.NetParameter()), phase=dragon.TEST, engine="onednn", options=Options(precision="bf16")
    )
    net.blobs["x"].data[...] = 1
    for variance in (1.0, -2.0, 1.0):
        for blob in net.params["b/BatchNorm"]:
            blob.data[...] = 1
        net.params["b/BatchNorm"][1].data[0] = variance
        for _ in range(2):
            with np.errstate(all="ignore"):
                net.forward()
            assert all(np.isnan(net.blobs[name].peek()).any() == (variance < 0) for name in "bpc")


_ONE_BY_ONE = "num_output: {} kernel_size: 1 bias_term: false"


def _plain_chain(*outputs: int, scale: bool = False) -> str:
    text = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 16 dim: 4 dim: 4 } } }\n'
    for k, count in enumerate(outputs):
        bottom = f"c{k - 1}" if k else "x"
        text += _layer("Convolution", bottom, f"c{k}", f"convolution_param {{ {_ONE_BY_ONE.format(count)} }}")
        text += _layer("Scale", f"c{k}", f"c{k}") if scale and k == 0 else ""
        text += _layer("ReLU", f"c{k}", f"c{k}")
    return text


@pytest.mark.parametrize(("images", "first"), [(1e-30, 1e18), (1e19, 1e-24)])
def test_squares_too_small_for_float32(images: float, first: float) -> None:
    """They do not make bounds 0: what overflows five layers on is NaN where it is on the reference."""
    rng = np.random.default_rng(5)
    nets = [
        dragon.Net(parse_text(_plain_chain(32, 16, 16, 16, 16), pb.NetParameter()), phase=dragon.TEST, engine=engine)
        for engine in ("onednn", "numpy")
    ]
    values = {name: rng.standard_normal(nets[0].params[name][0].shape) for name in nets[0].params}
    x = rng.standard_normal((1, 16, 4, 4)) * images
    for net in nets:
        for k, name in enumerate(values):
            net.params[name][0].data[...] = values[name] * (first if k == 0 else 1e18)
        net.blobs["x"].data[...] = x
        with np.errstate(all="ignore"):
            net.forward()
    found, wanted = (np.isnan(net.blobs["c4"].peek()) for net in nets)
    assert wanted.any()
    np.testing.assert_array_equal(found, wanted)


def test_a_scale_that_makes_weights_infinite_is_not_lost() -> None:
    """Folded into the weights it overflows; a ReLU of NaN must not be 0 then."""
    rng = np.random.default_rng(5)
    text = parse_text(_plain_chain(32, 16, scale=True), pb.NetParameter())
    net = dragon.Net(text, phase=dragon.TEST, engine="onednn")
    for name, factor in (("c0/Convolution", 1e8), ("c0/Scale", 1e34), ("c1/Convolution", 1.0)):
        weight = net.params[name][0]
        weight.data[...] = np.abs(rng.standard_normal(weight.shape)) * factor
    net.blobs["x"].data[...] = rng.standard_normal((1, 16, 4, 4)) * 1e-18
    with np.errstate(all="ignore"):
        net.forward()
    assert np.abs(net.blobs["c0"].peek()).max() != 0
