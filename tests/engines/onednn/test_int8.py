"""Nets in int8 on oneDNN against the NumPy engine, which rounds the same numbers and multiplies in float."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import dragon
from dragon.engines import Options
from dragon.engines.int8.arithmetic import Range, rounded
from dragon.engines.int8.table import Calibration, products
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.surgery.calibrate import calibrate

pytestmark = pytest.mark.usefixtures("device")
Array = NDArray[Any]


def conv(name: str, bottom: str, outputs: int, size: int = 1, more: str = "") -> str:
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" convolution_param {{ '
        f"num_output: {outputs} kernel_size: {size} pad: {size // 2} {more} }} }}"
    )


def relu(name: str) -> str:
    return f'layer {{ name: "{name}_relu" type: "ReLU" bottom: "{name}" top: "{name}" }}'


# a maximum pooling, a concatenation, a sum, an average pooling, a group, flat and transposed inner products
NET = "\n".join([
    'name: "net" layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 9 dim: 9 } } }',
    conv("c1", "x", 16, 3), relu("c1"),
    'layer { name: "p1" type: "Pooling" bottom: "c1" top: "p1" pooling_param { kernel_size: 3 stride: 2 } }',
    conv("c2", "p1", 16), relu("c2"),
    conv("c3", "p1", 32, 3, "group: 4"), relu("c3"),
    'layer { name: "j" type: "Concat" bottom: "c2" bottom: "c3" top: "j" }',
    conv("c4", "j", 16, 3), conv("c5", "j", 16, 1, "bias_term: false"),
    'layer { name: "s" type: "Eltwise" bottom: "c4" bottom: "c5" top: "s" }', relu("s"),
    conv("c6", "s", 20, 3),
    'layer { name: "p2" type: "Pooling" bottom: "c6" top: "p2" pooling_param { pool: AVE kernel_size: 2 stride: 2 } }',
    'layer { name: "f" type: "Flatten" bottom: "p2" top: "f" }',
    'layer { name: "i1" type: "InnerProduct" bottom: "f" top: "i1" inner_product_param { num_output: 24 } }',
    relu("i1"),
    'layer { name: "i2" type: "InnerProduct" bottom: "i1" top: "y" '
    "inner_product_param { num_output: 7 transpose: true } }",
])  # fmt: skip
# powers of two as scales, so that no float operation but the average rounds
STEPS = {"c1": (0, True), "c2": (6, False), "c3": (6, False), "c4": (13, False), "c5": (13, False),
         "c6": (21, False), "i1": (29, True), "i2": (35, False)}  # fmt: skip
EXACT = {name: Range((127.0 if signed else 255.0) * 2.0**step, signed) for name, (step, signed) in STEPS.items()}


def table(ranges: Mapping[str, Range | None]) -> Calibration:
    return Calibration("net", "", "max", None, 1, ranges)


def make(engine: str, ranges: Mapping[str, Range | None], text: str = NET, **options: Any) -> dragon.Net:
    chosen = Options(precision="int8", calibration=table(ranges), **{"threads": 1, **options})
    return dragon.Net(parse_text(text, pb.NetParameter()), phase=dragon.TEST, engine=engine, seed=1, options=chosen)


def fill(net: dragon.Net, seed: int = 1) -> None:
    """Integers that are what they are in 8 bits: few weights, each output with one of 127; the input in -127..127."""
    rng = np.random.default_rng(seed)
    for node in products(net):
        weight: Any = node.layer
        w = np.where(rng.random(weight.weight.shape) < 0.2, rng.integers(-9, 10, weight.weight.shape), 0)
        rows = np.moveaxis(w, weight.output_axis, 0).reshape(weight.num_output, -1)
        rows[np.arange(len(rows)), rng.integers(0, rows.shape[1], len(rows))] = 127
        moved = rows.reshape(np.moveaxis(w, weight.output_axis, 0).shape)
        weight.weight.data[...] = np.moveaxis(moved, 0, weight.output_axis)
        if weight.bias is not None:
            weight.bias.data[...] = rng.integers(-2000, 2000, weight.num_output) * 2.0 ** STEPS[node.name][0]
    net.blobs["x"].data[...] = rng.integers(-127, 128, net.blobs["x"].shape)


def values(net: dragon.Net) -> dict[str, Array]:
    net.run_forward()
    return {name: blob.peek().copy() for name, blob in net.blobs.items()}


def pair(ranges: Mapping[str, Range | None] = EXACT, **options: Any) -> tuple[dragon.Net, dragon.Net]:
    nets = make("numpy", ranges), make("onednn", ranges, **options)
    for net in nets:
        fill(net)
    return nets


@pytest.mark.usefixtures("vnni")
@pytest.mark.parametrize("fuse", [True, False], ids=["fused", "single"])
def test_with_exact_numbers_the_results_are_those_of_numpy_to_the_bit(fuse: bool) -> None:
    reference, net = pair(fuse=fuse)
    expected, found = values(reference), values(net)
    assert np.unique(expected["y"]).size > 10
    np.testing.assert_array_equal(found["y"], expected["y"])
    for name in ("c6", "p2") if fuse else expected:  # others are written in int8
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


@pytest.mark.usefixtures("vnni")
def test_neighbours_hand_integers_over() -> None:
    _, net = pair()
    notes = dict(zip([node.name for node in net.nodes], net.executor.describe(), strict=True))
    assert notes["c1"] == "onednn, with c1_relu, int8 to int8"
    assert notes["p1"] == "onednn, int8"
    assert notes["c2"] == "onednn, with c2_relu, int8 to int8"
    assert notes["j"] == "onednn, int8"
    assert notes["i1"] == "onednn, with i1_relu, int8 to int8"
    assert notes["c6"] == "onednn, int8"  # an average follows
    assert notes["i2"] == "onednn, int8"


@pytest.mark.usefixtures("vnni")
def test_blobs_in_between_hold_what_is_left_of_them() -> None:
    reference, net = pair()
    expected, found = values(reference), values(net)
    for name, reader in {"c1": "c2", "p1": "c2", "c2": "c4", "c3": "c4", "j": "c4", "s": "c6", "i1": "i2"}.items():
        of = EXACT[reader]
        rounded = np.clip(np.rint(expected[name] / of.scale), 0, 255) * of.scale
        np.testing.assert_array_equal(found[name], rounded, err_msg=name)
        assert (rounded != expected[name]).any()


@pytest.mark.usefixtures("vnni")
def test_an_inner_product_reads_maps_in_any_layout() -> None:
    text = "\n".join([
        'name: "net" layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 9 dim: 9 } } }',
        conv("c1", "x", 20, 3), relu("c1"),
        'layer { name: "p" type: "Pooling" bottom: "c1" top: "p" pooling_param { kernel_size: 3 stride: 3 } }',
        'layer { name: "i1" type: "InnerProduct" bottom: "p" top: "y" inner_product_param { num_output: 5 } }',
    ])  # fmt: skip
    ranges = {"c1": EXACT["c1"], "i1": EXACT["c2"]}
    nets = [make(engine, ranges, text) for engine in ("numpy", "onednn")]
    for net in nets:
        fill(net)
    assert nets[1].executor.describe()[1].endswith("int8 to int8")
    np.testing.assert_array_equal(values(nets[1])["y"], values(nets[0])["y"])


@pytest.mark.usefixtures("vnni")
def test_layers_that_want_other_ranges_get_them() -> None:
    """One reader of j has another range, and a layer is not in int8 at all."""
    ranges = {**EXACT, "c5": Range(255.0 * 16, signed=False), "c2": None}
    reference, net = pair(ranges)
    np.testing.assert_array_equal(values(net)["y"], values(reference)["y"])
    notes = dict(zip([node.name for node in net.nodes], net.executor.describe(), strict=True))
    assert notes["j"] == "onednn"
    assert notes["c2"] == "onednn, with c2_relu"
    assert notes["c1"] == "onednn, with c1_relu, int8"


@pytest.mark.usefixtures("vnni")
def test_new_weights_inputs_and_shapes_count() -> None:
    reference, net = pair()
    values(net)
    for seed, batch in ((2, 2), (3, 5), (4, 1)):
        for each in (reference, net):
            each.blobs["x"].reshape(batch, 3, 9, 9)
            each.reshape()
            fill(each, seed)
        np.testing.assert_array_equal(values(net)["y"], values(reference)["y"])


@pytest.mark.usefixtures("vnni")
def test_parts_of_a_net_and_what_a_script_writes() -> None:
    reference, net = pair()
    written = np.random.default_rng(1).integers(0, 255, net.blobs["p1"].shape) * EXACT["c2"].scale
    for each in (reference, net):
        each.run_forward()
        each.blobs["p1"].data[...] = written
        each.run_forward([node.name for node in each.nodes].index("c2"))
    np.testing.assert_array_equal(net.blobs["y"].peek(), reference.blobs["y"].peek())


@pytest.mark.usefixtures("vnni")
def test_a_blob_that_was_read_is_right_in_the_next_run() -> None:
    reference, net = pair()
    held = net.blobs["p1"].data  # a script's view, up to date after each run
    for seed in (1, 2):
        for each in (reference, net):
            fill(each, seed)
        values(net)
        of, expected = EXACT["c2"], values(reference)["p1"]
        np.testing.assert_array_equal(held, np.clip(np.rint(expected / of.scale), 0, 255) * of.scale)


def test_threads_do_not_change_a_bit() -> None:
    found = []
    for threads in (1, 2, 3):
        net = make("onednn", EXACT, threads=threads)
        fill(net)
        for node in products(net):
            node.layer.blobs[0].data[...] += np.random.default_rng(5).random(node.layer.blobs[0].shape)
        net.blobs["x"].data[...] *= np.float32(0.77)
        found.append(values(net)["y"])
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


def test_nan_and_infinities_become_numbers() -> None:
    _, net = pair()
    net.blobs["x"].data[0, :, 3:6, 3:6] = np.nan
    net.blobs["x"].data[1, 0, 0] = np.inf
    assert np.isfinite(values(net)["y"]).all()


NORMALIZED = "\n".join([
    'name: "net" layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 8 dim: 6 dim: 6 } } }',
    conv("c1", "x", 16, 3, 'bias_term: false weight_filler { type: "xavier" }'),
    'layer { name: "n" type: "BatchNorm" bottom: "c1" top: "c1" }',
    'layer { name: "sc" type: "Scale" bottom: "c1" top: "c1" scale_param { bias_term: true } }', relu("c1"),
    conv("c2", "c1", 16, 3, 'group: 16 weight_filler { type: "xavier" }'),
    'layer { name: "sum" type: "Eltwise" bottom: "c2" bottom: "c1" top: "sum" }', relu("sum"),
    conv("c3", "sum", 5, 1, 'weight_filler { type: "xavier" }'),
])  # fmt: skip


@pytest.mark.usefixtures("vnni")
def test_folded_normalisations() -> None:
    """The integers are those of the weights before folding; one value in a thousand may lie beside a tie."""
    ranges = {"c1": Range(3.0, signed=True), "c2": Range(6.0, signed=False), "c3": Range(9.0, signed=False)}
    nets = [make(engine, ranges, NORMALIZED) for engine in ("numpy", "onednn")]
    for net in nets:
        rng = np.random.default_rng(1)
        net.params["n"][0].data[...], net.params["n"][1].data[...] = rng.random(16), rng.random(16) + 0.5
        net.params["n"][2].data[...] = 1
        net.params["sc"][0].data[...], net.params["sc"][1].data[...] = rng.standard_normal((2, 16))
        net.blobs["x"].data[...] = rng.standard_normal(net.blobs["x"].shape)
    expected, found = (values(net) for net in nets)
    for name in ("c1", "c2", "c3"):
        error = np.abs(found[name] - expected[name]) / np.abs(expected[name]).max()
        assert error.max() < 0.02
        assert error.mean() < 1e-5
    assert "with n, sc, c1_relu" in nets[1].executor.describe()[1]


def test_a_sum_that_overwrites_what_it_adds_leaves_it_to_be_read() -> None:
    """The top of the sum is float32, since an average follows: it takes the place of the blob that it adds."""
    text = "\n".join([
        'name: "net" layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 6 dim: 6 } } }',
        conv("c1", "x", 16, 3), conv("c2", "x", 16),
        'layer { name: "s" type: "Eltwise" bottom: "c1" bottom: "c2" top: "s" }', relu("s"),
        'layer { name: "p" type: "Pooling" bottom: "s" top: "p" pooling_param { pool: AVE kernel_size: 2 stride: 2 } }',
    ])  # fmt: skip
    nets = [make(engine, {"c1": EXACT["c1"], "c2": EXACT["c1"]}, text) for engine in ("numpy", "onednn")]
    for net in nets:
        net.params["c1"][1].data[...] = 1
    for seed in (1, 2):
        for net in nets:
            for name in ("c1", "c2"):
                weight = net.params[name][0]
                weight.data[...] = np.random.default_rng(seed).integers(-5, 6, weight.shape)
                weight.data.reshape(16, -1)[:, 0] = 127
            net.blobs["x"].data[...] = np.random.default_rng(seed).integers(-127, 128, net.blobs["x"].shape)
        expected, found = (values(net) for net in nets)
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


BEFORE = "\n".join([
    'name: "net" layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 16 dim: 6 dim: 6 } } }',
    'layer { name: "n1" type: "BatchNorm" bottom: "x" top: "n1" }',
    'layer { name: "s1" type: "Scale" bottom: "n1" top: "n1" scale_param { bias_term: true } }',
    'layer { name: "r1" type: "ReLU" bottom: "n1" top: "r1" }',
    conv("c1", "r1", 16, 3, 'weight_filler { type: "xavier" }'),
    'layer { name: "n2" type: "BN" bottom: "c1" top: "n2" }', conv("a", "c1", 3), conv("c3", "n2", 3),
    'layer { name: "n3" type: "BatchNorm" bottom: "n2" top: "n3" }',
    'layer { name: "s3" type: "Scale" bottom: "n3" top: "s3" }',
    conv("c2", "s3", 5, 1, 'weight_filler { type: "xavier" }'),
])  # fmt: skip


@pytest.mark.usefixtures("vnni")
def test_normalisations_in_front_of_products() -> None:
    """One with a ReLU gives integers of 0..255, one without gives integers with a sign; lazy blobs in between."""
    ranges = {"c1": Range(3.0, signed=False), "c2": Range(4.0, signed=True), "a": None, "c3": None}
    nets = [make(engine, ranges, BEFORE) for engine in ("numpy", "onednn")]
    for net in nets:
        rng = np.random.default_rng(1)
        for name in ("n1", "n3"):
            net.params[name][0].data[...], net.params[name][1].data[...] = rng.random(16), rng.random(16) + 0.5
            net.params[name][2].data[...] = 1
        for name in ("s1", "s3"):
            net.params[name][0].data[...] = rng.standard_normal(16) + 1
        net.params["s1"][1].data[...] = rng.standard_normal(16)
        net.blobs["x"].data[...] = rng.standard_normal(net.blobs["x"].shape)
    for _ in range(2):
        expected, found = (values(net) for net in nets)
        for name in ("c1", "n2", "c2"):
            error = np.abs(found[name] - expected[name]) / np.abs(expected[name]).max()
            assert error.max() < 0.02
            assert error.mean() < 1e-5
        for name, of in (("r1", ranges["c1"]), ("s3", ranges["c2"])):
            assert of is not None
            assert np.abs(found[name] - rounded(expected[name], of)).max() <= of.scale * 1.001
        for name in ("n1", "n3"):
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-5)
        for net in nets:  # new parameters count
            net.params["s1"][0].data[...] *= 0.5
            net.params["n3"][0].data[...] += 0.25
    notes = dict(zip([node.name for node in nets[1].nodes], nets[1].executor.describe(), strict=True))
    assert notes["n1"] == "onednn, with s1, r1, to int8"
    assert notes["n3"] == "onednn, with s3, to int8"


def test_a_normalisation_that_overwrites_its_bottom_and_leaves_it_to_a_relu() -> None:
    """Its result, which the pass skips, is computed from the bottom that it would overwrite."""
    text = "\n".join([
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 16 dim: 6 dim: 6 } } }',
        conv("c1", "x", 16),
        'layer { name: "p" type: "Pooling" bottom: "c1" top: "p" '
        'pooling_param { pool: AVE kernel_size: 2 stride: 2 } }',
        'layer { name: "n" type: "BatchNorm" bottom: "p" top: "p" }',
        'layer { name: "r" type: "ReLU" bottom: "p" top: "r" }',
        conv("c2", "r", 8),
    ])  # fmt: skip
    ranges = {"c1": Range(3.0, signed=True), "c2": Range(4.0, signed=False)}
    nets = [make(engine, ranges, text) for engine in ("numpy", "onednn")]
    for net in nets:
        rng = np.random.default_rng(1)
        for blob in net.params["n"]:
            blob.data[...] = 1
        net.blobs["x"].data[...] = rng.standard_normal(net.blobs["x"].shape)
    expected, found = (values(net) for net in nets)
    for name, wanted in expected.items():
        np.testing.assert_allclose(found[name], wanted, atol=0.02 * np.abs(wanted).max(), err_msg=name)


WITHOUT_VNNI = """
import numpy as np
from tests.engines.onednn.test_int8 import EXACT, Range, fill, make, values
net, reference = make("onednn", EXACT), make("numpy", {**EXACT, "c1": None, "i1": None})
assert not net.executor.device.has_vnni
for each in (net, reference):
    fill(each)
notes = dict(zip([node.name for node in net.nodes], net.executor.describe()))
assert "int8" not in notes["c1"] and "int8" in notes["c2"] and "int8" not in notes["i1"], notes
found, expected = values(net)["y"], values(reference)["y"]
print(np.abs(found - expected).max() / np.abs(expected).max())
"""


def test_without_vnni_weights_have_7_bits_and_layers_with_signed_bottoms_stay_in_float32() -> None:
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_VNNI], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) < 0.1


@pytest.mark.usefixtures("vnni")
def test_a_calibration_of_the_same_net() -> None:
    plain = dragon.Net(parse_text(NET, pb.NetParameter()), phase=dragon.TEST, engine="onednn", seed=1)
    fill(plain)
    found = calibrate(plain, 1)
    net = make("onednn", found.layers)
    fill(net)
    expected, rounded = plain.blobs["y"].peek(), values(net)["y"]
    assert np.abs(rounded - expected).max() < 0.05 * np.abs(expected).max()
