"""What scripts seldom do between two passes: the engine must leave what the reference leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dragon
from dragon.data import encode_datum, write_lmdb
from tests.engines.onednn.comparing import Array, clear, compare, fill, make_net
from tests.engines.onednn.test_interleaving import BN, CONV, FULL, MAX, NETS, NORM, RELU, SCALE, SIGMOID, chain

pytestmark = pytest.mark.usefixtures("device")

TOLERANCE = 2e-4
LABELS = {"x1": np.array([0, 1, 2], np.float32)}
ELU, TANH = 'type: "ELU"', 'type: "TanH"'
SHIFT = 'type: "Power" power_param { scale: -0.5 shift: 0.3 }'
ROWS = 'type: "GroupNorm" group_norm_param { num_groups: 4 }'
FUSED = {
    "weights": chain(f"c: {CONV}", f"r!: {RELU}", f"f: {FULL}", f"s!: {SIGMOID}"),
    "elu": chain(f"c: {CONV}", f"e!: {ELU}", f"f: {FULL}", f"t!: {TANH}"),
    "pool": chain(f"c: {CONV}", f"r!: {RELU}", f"p: {MAX}", f"c2: {CONV}", f"r2!: {RELU}", f"p2: {MAX}"),
    "split": chain(f"c: {CONV}", f"n!: {NORM}", f"s!: {SCALE}", f"r!: {RELU}", f"c2: {CONV}"),
    "split apart": chain(f"c: {CONV}", f"n: {NORM}", f"s: {SCALE}", f"r: {RELU}", f"c2: {CONV}"),
    "split half": chain(f"c: {CONV}", f"n: {NORM}", f"s!: {SCALE}", f"r!: {RELU}", f"c2: {CONV}"),
    "pool overwritten": chain(f"c: {CONV}", f"r!: {RELU}", f"p: {MAX}", f"s!: {SIGMOID}", f"f: {FULL}"),
    "pool shifted": chain(f"c: {CONV}", f"r!: {RELU}", f"p: {MAX}", f"d!: {SHIFT}", f"f: {FULL}"),
    "pool normalised": chain(f"c: {CONV}", f"r!: {RELU}", f"p: {MAX}", f"n!: {BN}", f"f: {FULL}"),
    "residual": NETS["residual"],
    "rows": chain(f"c: {CONV}", f"n: {ROWS}", f"r: {RELU}", f"c2: {CONV}", f"n2!: {ROWS}", f"r2!: {RELU}"),
    "merged": chain(f"c: {CONV}", f"n!: {BN}", f"r!: {RELU}", f"p: {MAX}"),
    "merged apart": chain(f"c: {CONV}", f"n: {BN}", f"r: {RELU}", f"p: {MAX}"),
}


def pair(text: str, phase: int = dragon.TRAIN, seed: int = 1, **options: Any) -> tuple[dragon.Net, dragon.Net]:
    """The reference, in float64, and the engine, with the same values."""
    nets = make_net(text, "numpy", phase, np.float64), make_net(text, "onednn", phase, **options)
    fill(nets, seed, LABELS)
    for name in nets[0].params:
        change(nets, name, 0.7)
    return nets


def change(nets: tuple[dragon.Net, ...], name: str, factor: float) -> None:
    for net in nets:
        for blob in net.params[name]:
            blob.data[...] *= factor


def write(nets: tuple[dragon.Net, ...], name: str, part: str = "data", seed: int = 5) -> None:
    value = np.random.default_rng(seed).standard_normal(nets[0].blobs[name].shape).astype(np.float32)
    for net in nets:
        getattr(net.blobs[name], part)[...] = value


def forward(nets: tuple[dragon.Net, ...]) -> None:
    for net in nets:
        net.run_forward()


def backward(nets: tuple[dragon.Net, ...], start: int | None = None, end: int = 0) -> None:
    for net in nets:
        net.run_backward(start, end)


@pytest.mark.parametrize("name", FUSED)
def test_backward_from_a_blob_that_a_script_wrote(name: str) -> None:
    """Layers that look at their top or bottom see the new values; what they noted in forward stays."""
    first = make_net(FUSED[name], "numpy")
    pooled = {first.bottom_names_of(i)[0] for i, layer in enumerate(first.layers) if layer.type == "Pooling"}
    for blob in first.blobs:
        if blob in ("x0", "x1", "loss"):
            continue
        nets = pair(FUSED[name])
        if blob in pooled:  # the reference looks there for the maxima, an engine has noted where they were
            nets = pair(FUSED[name], fuse=False)[1], nets[1]
        for _ in range(2):  # the second pass must not remember the first
            forward(nets)
            write(nets, blob)
            clear(nets)
            backward(nets)
            try:
                compare(*nets, TOLERANCE)
            except AssertionError as error:
                error.add_note(f"after {blob} was written")
                raise
            forward(nets)
            clear(nets)
            backward(nets)
            compare(*nets, TOLERANCE)


@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST])
@pytest.mark.parametrize("name", FUSED)
def test_backward_with_shared_weights(name: str, phase: int) -> None:
    """Another net's weights, taken over between forward and backward, are those that backward multiplies by."""
    nets = pair(FUSED[name], phase)
    others = make_net(FUSED[name], "numpy", phase, np.float64), make_net(FUSED[name], "onednn", phase)
    fill(others, 7, LABELS)
    if phase == dragon.TEST:  # runs again for its first backward, with the weights it has by then
        forward(nets)
        backward(nets)
    forward(nets)
    for net, other in zip(nets, others, strict=True):
        net.share_with(other)
    clear(nets)
    backward(nets)
    compare(*nets, TOLERANCE)
    forward(nets)
    clear(nets)
    backward(nets)
    compare(*nets, TOLERANCE)


@pytest.mark.parametrize("name", FUSED)
def test_part_of_backward_after_weights_changed(name: str) -> None:
    """Gradients are those of the values that forward left, with the weights of now."""
    count = len(make_net(FUSED[name], "numpy").layers)
    nets = pair(FUSED[name])
    for start in range(count):
        for end in range(start + 1):
            forward(nets)
            clear(nets)
            backward(nets)
            for layer in nets[0].params:
                change(nets, layer, 1.25 if (start + end) % 2 else 0.8)
            clear(nets)
            backward(nets, start, end)
            try:
                compare(*nets, TOLERANCE)
            except AssertionError as error:
                error.add_note(f"backward from {start} to {end}")
                raise


@pytest.mark.parametrize("name", FUSED)
def test_diffs_read_after_the_next_forward(name: str) -> None:
    nets = pair(FUSED[name])
    for seed in range(3):
        fill(nets, seed, LABELS)
        for layer in nets[0].params:
            change(nets, layer, 0.7)
        forward(nets)
        clear(nets)
        backward(nets)
        write(nets, "x0", seed=seed + 100)
        forward(nets)
        compare(*nets, TOLERANCE)


IN_PLACE_FIRST = {
    "power": 'type: "Power" power_param { scale: 0.5 shift: 0.3 }',
    "abs": 'type: "AbsVal"',
    "norm": NORM,
    "sigmoid": SIGMOID,
    "square": 'type: "Power" power_param { power: 2 }',
}


@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST])
@pytest.mark.parametrize("kind", IN_PLACE_FIRST)
def test_backward_where_an_input_is_overwritten(kind: str, phase: int) -> None:
    text = chain(f"first!: {IN_PLACE_FIRST[kind]}", f"c: {CONV}", f"r!: {RELU}")
    nets = pair(text, phase)
    for attempt in range(3):
        forward(nets)
        clear(nets)
        backward(nets)
        compare(*nets, TOLERANCE)
        if attempt:
            write(nets, "x0")


@pytest.mark.parametrize("after", ["ReLU", "Sigmoid", "Power", "Dropout"])
@pytest.mark.parametrize("kind", ["BNLL", "ELU", "Sigmoid", "TanH", "Swish", "Softmax", "Exp"])
def test_in_place_on_what_a_neuron_made(kind: str, after: str) -> None:
    settings = "power_param { scale: 0.5 shift: 0.3 }" if after == "Power" else ""
    lines = f'n: type: "{kind}"', f'a!: type: "{after}" {settings}'
    for in_place in (False, True):
        first = lines[0].replace("n:", "n!:") if in_place else lines[0]
        nets = pair(chain(f"c: {CONV}", first, lines[1], f"f: {FULL}"))
        for _ in range(2):
            forward(nets)
            clear(nets)
            backward(nets)
            compare(*nets, TOLERANCE)


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
def test_a_source_takes_its_shape_back(engine: str, tmp_path: Path) -> None:
    images = np.random.default_rng(1).integers(0, 256, (6, 3, 5, 5), dtype=np.uint8)
    write_lmdb(tmp_path / "db", ((f"{i}".encode(), encode_datum(image, i)) for i, image in enumerate(images)))
    text = (
        f'layer {{ name: "d" type: "Data" top: "x" top: "l" data_param {{ source: "{tmp_path / "db"}" batch_size: 2 '
        'backend: LMDB } } layer { name: "f" type: "InnerProduct" bottom: "x" top: "y" '
        "inner_product_param { num_output: 2 } }"
    )
    net = make_net(text, engine)

    def batch() -> Array:
        net.run_forward()
        return net.blobs["x"].peek().copy()

    np.testing.assert_array_equal(batch(), images[:2])
    for i, shape in enumerate([(1, 3, 5, 5), (4, 3, 5, 5), (2, 7)], 1):
        net.blobs["x"].reshape(*shape)
        net.blobs["l"].reshape(shape[0])
        expected = images[[2 * i % 6, (2 * i + 1) % 6]]
        np.testing.assert_array_equal(batch(), expected)
        assert net.blobs["y"].shape == (2, 2)
        assert net.blobs["l"].peek().tolist() == [2 * i % 6, 2 * i % 6 + 1]
    net.layers[0].close()
