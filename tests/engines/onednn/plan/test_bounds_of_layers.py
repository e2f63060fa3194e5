"""Bounds go on through every kind of layer in TEST, so that ReLUs behind it need not keep NaN; and they are true."""

from __future__ import annotations

import numpy as np
import pytest

import dragon
from dragon.engines.onednn.executor import OneDNNExecutor
from dragon.engines.onednn.library.constants import Alg
from dragon.engines.onednn.library.primitive import Call, EltwisePost
from dragon.engines.onednn.plan.settled import SettledProgram
from tests.engines.onednn.comparing import forward, on_both

pytestmark = pytest.mark.usefixtures("device")

FILLED = "weight_filler { type: 'gaussian' std: 0.5 } bias_filler { type: 'gaussian' std: 0.5 }"
CONV = f"convolution_param {{ num_output: 8 kernel_size: 1 {FILLED} }}"
GAUSSIAN = "filler { type: 'gaussian' std: 2 }"

# each reads a, b (1, 8, 4, 4) or v (1, 8), which layers before it have made, and writes y
LAYERS = {
    "ReLU": 'bottom: "a"',
    "ReLU steep": 'bottom: "a" relu_param { negative_slope: 3 }',
    "ReLU leaky": 'bottom: "a" relu_param { negative_slope: 0.1 }',
    "ReLU6": 'bottom: "a"',
    "Sigmoid": 'bottom: "a"',
    "TanH": 'bottom: "a"',
    "ELU": 'bottom: "a" elu_param { alpha: 40 }',
    "SeLU": 'bottom: "a"',
    "AbsVal": 'bottom: "a"',
    "BNLL": 'bottom: "a"',
    "Swish": 'bottom: "a" swish_param { beta: -2 }',
    "Mish": 'bottom: "a"',
    "HardSigmoid": 'bottom: "a"',
    "HardSwish": 'bottom: "a"',
    "Clip": 'bottom: "a" clip_param { min: -7 max: 0.5 }',
    "Clip positive": 'bottom: "a" clip_param { min: 0 max: 3 }',
    "Power": 'bottom: "a" power_param { scale: -3 shift: 2 }',
    "PReLU": f'bottom: "a" prelu_param {{ {GAUSSIAN} }}',
    "PReLU shared": f'bottom: "a" prelu_param {{ {GAUSSIAN} channel_shared: true }}',
    "Softmax": 'bottom: "a"',
    "LRN": 'bottom: "a"',
    "Dropout": 'bottom: "a"',
    "Scale": f"bottom: \"a\" scale_param {{ {GAUSSIAN} bias_term: true bias_filler {{ type: 'constant' value: 5 }} }}",
    "Scale without bias": f'bottom: "a" scale_param {{ {GAUSSIAN} }}',
    "Scale of all": f'bottom: "a" scale_param {{ {GAUSSIAN} axis: 1 num_axes: -1 bias_term: true }}',
    "Scale by a bottom": 'bottom: "a" bottom: "v" scale_param { axis: 0 }',
    "Bias": f'bottom: "a" bias_param {{ {GAUSSIAN} }}',
    "Bias by a bottom": 'bottom: "a" bottom: "v" bias_param { axis: 0 }',
    "Eltwise": 'bottom: "a" bottom: "b" eltwise_param { operation: PROD }',
    "Eltwise sum": 'bottom: "a" bottom: "b" eltwise_param { coeff: -2 coeff: 3 }',
    "Eltwise maximum": 'bottom: "a" bottom: "b" bottom: "x" eltwise_param { operation: MAX }',
    "Add": 'bottom: "a" bottom: "b"',
    "Mul": 'bottom: "a" bottom: "b"',
    "Mul repeated": 'bottom: "a" bottom: "w"',
    "Axpy": 'bottom: "w" bottom: "a" bottom: "b"',
    "Concat": 'bottom: "a" bottom: "b"',
    "Slice": 'bottom: "a" top: "z"',
    "ShuffleChannel": 'bottom: "a" shuffle_channel_param { group: 2 }',
    "Upsample": 'bottom: "a" upsample_param { scale: 2 }',
    "Pooling": 'bottom: "a" pooling_param { kernel_size: 2 stride: 2 pool: AVE }',
    "Pooling masked": 'bottom: "a" top: "z" pooling_param { kernel_size: 2 stride: 2 }',
    "Deconvolution": f'bottom: "a" convolution_param {{ num_output: 8 kernel_size: 3 stride: 2 {FILLED} }}',
    "Deconvolution groups": f'bottom: "a" convolution_param {{ num_output: 4 group: 2 kernel_size: 2 {FILLED} }}',
    "InnerProduct": f'bottom: "a" inner_product_param {{ num_output: 8 axis: -1 {FILLED} }}',
    "BatchNorm": 'bottom: "a"',
    "Interp": 'bottom: "a" interp_param { height: 7 width: 7 }',
    "Tile": 'bottom: "a" tile_param { tiles: 2 }',
    "Normalize": 'bottom: "a"',
    "Crop": 'bottom: "a" bottom: "b"',
}


def _text(name: str) -> str:
    text = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 8 dim: 4 dim: 4 } } }\n'
    for top in "ab":
        text += f'layer {{ name: "{top}" type: "Convolution" bottom: "x" top: "{top}" {CONV} }}\n'
    pooled = "pooling_param { pool: AVE global_pooling: true }"
    text += f'layer {{ name: "w" type: "Pooling" bottom: "a" top: "w" {pooled} }}\n'
    text += 'layer { name: "v" type: "Flatten" bottom: "w" top: "v" }\n'
    text += f'layer {{ name: "y" type: "{name.split()[0]}" top: "y" {LAYERS[name]} }}\n'
    text += f'layer {{ name: "c" type: "Convolution" bottom: "y" top: "c" {CONV} }}\n'
    text += 'layer { name: "r" type: "ReLU" bottom: "c" top: "c" }\n'
    # so that no value is left over, and the convolutions are not folded into what follows them
    return text + 'layer { name: "end" type: "Silence" bottom: "a" bottom: "b" }\n'


def _nets(name: str) -> tuple[dragon.Net, dragon.Net]:
    return on_both(_text(name), normalisation="y" if name == "BatchNorm" else "")


def _program(net: dragon.Net) -> SettledProgram:
    assert isinstance(net.executor, OneDNNExecutor)
    (program,) = net.executor.plans.plan(True)._settled.values()
    assert isinstance(program, SettledProgram)
    return program


@pytest.mark.parametrize("name", LAYERS)
def test_a_relu_behind_the_layer_need_not_keep_nan(name: str) -> None:
    nets = _nets(name)
    rng = np.random.default_rng(1)
    for _ in range(2):
        forward(nets, rng.standard_normal((1, 8, 4, 4)))
    program = _program(nets[0])
    assert program._holds
    last = [post for step in program._steps if isinstance(step, Call) for post in step.primitive.post_ops[-1:]]
    relu = [post.alg for post in last if isinstance(post, EltwisePost)]
    assert Alg.eltwise_relu in relu
    assert Alg.eltwise_elu not in relu


@pytest.mark.parametrize("name", LAYERS)
def test_no_element_is_beyond_its_bound(name: str) -> None:
    nets = _nets(name)
    rng = np.random.default_rng(2)
    for scale in (1.0, 30.0, 0.01):
        forward(nets, scale * rng.standard_normal((1, 8, 4, 4)))
        builder = nets[0].executor.plans.plan(True).builder  # type: ignore[attr-defined]
        for blob in ("a", "y", "c"):
            bound, found = builder.value_of(nets[0].blobs[blob]).bound, nets[1].blobs[blob].peek()
            assert np.abs(found).max() <= bound.largest * 1.0001
            assert not bound.positive or found.min() >= 0


@pytest.mark.parametrize("name", LAYERS)
def test_what_is_not_finite_comes_out_as_on_the_reference(name: str) -> None:
    nets = _nets(name)
    rng = np.random.default_rng(3)
    for value in (1.0, np.nan, np.inf, -np.inf, 1e20, 1e36, 1.0):
        x = rng.standard_normal((1, 8, 4, 4)).astype(np.float32)
        x[0, 3, 1, 2] = value
        forward(nets, x)
        found, wanted = (net.blobs["c"].peek() for net in nets)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted), f"{value}")
        finite = np.isfinite(wanted)
        np.testing.assert_array_equal(found[~finite], wanted[~finite], f"{value}")
        np.testing.assert_allclose(found[finite], wanted[finite], rtol=1e-3, atol=1e-3, err_msg=f"{value}")


@pytest.mark.parametrize("name", LAYERS)
def test_parts_of_a_pass_know_the_bounds_of_those_before_them(name: str) -> None:
    nets = _nets(name)
    rng = np.random.default_rng(4)
    for value in (1.0, 2.0, np.nan, np.inf, 1.0):
        x = rng.standard_normal((1, 8, 4, 4)).astype(np.float32)
        x[0, 3, 1, 2] = value
        forward(nets[1:], x)
        nets[0].blobs["x"].data[...] = x
        with np.errstate(all="ignore"):
            nets[0].executor.profile(1, backward=False)
        found, wanted = (net.blobs["c"].peek() for net in nets)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted), f"{value}")
        if value == 2:
            plan = nets[0].executor.plans.plan(True)  # type: ignore[attr-defined]
            assert len(plan._settled) > 4
            assert all(program._holds for program in plan._settled.values())


FUNCTIONS = {
    "ReLU6": "",
    "Sigmoid": "",
    "TanH": "",
    "ELU": "elu_param { alpha: 3 }",
    "AbsVal": "",
    "BNLL": "",
    "Swish": "swish_param { beta: 1.5 }",
    "Mish": "",
    "HardSwish": "",
    "Clip": "clip_param { min: -0.5 max: 2 }",
}
NORM = 'layer { name: "n" type: "BatchNorm" bottom: "a" top: "n" }\n'


@pytest.mark.parametrize("first", ["Convolution", "InnerProduct"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_behind_a_convolution_is_computed_with_it(name: str, first: str) -> None:
    """With the normalisation between them; blobs in between are there for who reads them, and NaN goes through."""
    product = CONV if first == "Convolution" else f"inner_product_param {{ num_output: 8 {FILLED} }}"
    text = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 8 dim: 4 dim: 4 } } }\n'
    text += f'layer {{ name: "a" type: "{first}" bottom: "x" top: "a" {product} }}\n{NORM}'
    text += f'layer {{ name: "y" type: "{name}" bottom: "n" top: "y" {FUNCTIONS[name]} }}\n'
    text += f'layer {{ name: "c" type: "{first}" bottom: "y" top: "c" {product} }}\n'
    text += 'layer { name: "r" type: "ReLU" bottom: "c" top: "c" }\n'
    nets = on_both(text, normalisation="n")
    rng = np.random.default_rng(6)
    for value in (1.0, np.nan, np.inf, -np.inf, 1e20, 1.0, 1.0):
        x = rng.standard_normal((2, 8, 4, 4)).astype(np.float32)
        x[1, 3, 1, 2] = value
        forward(nets, x)
        for top in ("c", "y", "n"):
            found, wanted = (net.blobs[top].peek() for net in nets)
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4, err_msg=f"{top} {value}")
    groups = nets[0].executor.plans.plan(True).groups  # type: ignore[attr-defined]
    assert [group.note for group in groups][1:] == ["onednn, with n, y", "onednn, with r"]
    assert _program(nets[0])._holds


def test_without_a_bound_a_chain_loses_its_limits_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """ReLU6 as a post-op would put NaN into its limits; the normalisation is folded all the same."""
    monkeypatch.setattr("dragon.engines.onednn.lowerings.activated.of_product", lambda *given: None)
    text = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 8 dim: 4 dim: 4 } } }\n'
    text += f'layer {{ name: "a" type: "Convolution" bottom: "x" top: "a" {CONV} }}\n{NORM}'
    text += 'layer { name: "y" type: "ReLU6" bottom: "n" top: "y" }\n'
    nets = on_both(text, normalisation="n")
    x = np.random.default_rng(7).standard_normal((2, 8, 4, 4))
    x[1, 3, 1, 2] = np.nan
    forward(nets, x)
    np.testing.assert_allclose(nets[0].blobs["y"].peek(), nets[1].blobs["y"].peek(), rtol=1e-4, atol=1e-4)
    groups = nets[0].executor.plans.plan(True).groups  # type: ignore[attr-defined]
    assert [group.note for group in groups][1:] == ["onednn, with n", "onednn"]


@pytest.mark.parametrize("kind", ["Eltwise", "Mul"])
def test_a_product_may_overflow_on_the_way_to_a_small_one(kind: str) -> None:
    """Here 1e18^3 is infinite, and NaN times 0, though the bound of all five factors together is below 1e30."""
    text = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 2 } } }\n'
    for i in range(5):
        bias = f"bias_filler {{ type: 'constant' value: {'1e18' if i < 3 else '0'} }}"
        param = f"inner_product_param {{ num_output: 2 {bias} }}"
        text += f'layer {{ name: "x{i}" type: "InnerProduct" bottom: "x" top: "x{i}" {param} }}\n'
    setting = "eltwise_param { operation: PROD }" if kind == "Eltwise" else ""
    bottoms = " ".join(f'bottom: "x{i}"' for i in range(5))
    text += f'layer {{ name: "p" type: "{kind}" {bottoms} top: "y" {setting} }}\n'
    net, _ = on_both(text + 'layer { name: "r" type: "ReLU" bottom: "y" top: "y" }')
    forward([net], np.ones((2, 2)))
    assert np.isnan(net.blobs["y"].peek()).all()
