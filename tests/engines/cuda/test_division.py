"""Layers that run as one forward, and then only a part of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dragon.graph.net import Net
from tests.engines.cuda.running import close, compare, fill, inputs, layer, make

pytestmark = pytest.mark.usefixtures("cuda")

RANDOM = np.random.default_rng(41)
SHAPE = (4, 5, 3, 7)
IN_PLACE = layer("Power", "power_param { scale: 1 }", top="y", name="copy") + layer("BatchNorm", "", "y", name="bn")
APART = layer("BatchNorm", name="bn")
REST = layer("Scale", "scale_param { bias_term: true filler { value: 0.7 } }", "y", "y", "scale")
REST += layer("ReLU", "", "y", "y", "relu") + layer("Sigmoid", "", "y", "z", "last")
VALUES = {"x": RANDOM.standard_normal(SHAPE).astype(np.float32)}
TOP_DIFF = RANDOM.standard_normal(SHAPE).astype(np.float32)


def nets(head: str) -> list[Net]:
    made = [make("force_backward: true\n" + inputs({"x": SHAPE}) + head + REST, engine) for engine in ("numpy", "cuda")]
    for net in made:
        fill(net, VALUES)
        net.clear_param_diffs()
    return made


def both(made: list[Net], run: Callable[[Net], object]) -> None:
    for net in made:
        run(net)


def seed(net: Net) -> None:
    net.blobs["z"].diff[...] = TOP_DIFF


def backward_in_parts(net: Net, *cuts: str) -> None:
    """From the end down to each layer, and then from the layer below it on."""
    start: int | None = None
    for name in cuts:
        net.run_backward(start, net.layer_index(name))
        start = net.layer_index(name) - 1
    net.run_backward(start)


@pytest.mark.parametrize("head", [IN_PLACE, APART], ids=["in place", "apart"])
@pytest.mark.parametrize("cuts", [("scale",), ("relu",), ("relu", "scale"), ("last", "bn")])
def test_backward_in_parts(head: str, cuts: tuple[str, ...]) -> None:
    """Three times each, so that the parts are graphs; running statistics move once in each forward."""
    made = nets(head)
    for number in range(3):
        for net in made:
            net.run_forward()
            seed(net)
            seen = {name: blob.peek().copy() for name, blob in net.blobs.items()}
            kept = [blob.peek().copy() for blob in net.params["bn"]]
            backward_in_parts(net, *cuts)
            for name, value in seen.items():
                assert (net.blobs[name].peek() == value).all()
            assert all((blob.peek() == value).all() for blob, value in zip(net.params["bn"], kept, strict=True))
        assert made[1].executor.describe()[made[1].layer_index("bn")] == "kernels, with scale"
        compare(made[1], made[0], f"round {number}", 1e-4, diffs=False)


def test_the_whole_backward_after_a_part_of_it() -> None:
    made = nets(IN_PLACE)
    for _ in range(2):
        both(made, Net.run_forward)
        both(made, seed)
        both(made, lambda net: net.run_backward(None, net.layer_index("relu")))
        both(made, seed)
        both(made, Net.run_backward)
        compare(made[1], made[0], "after", 1e-4, diffs=False)
    both(made, Net.run_forward)  # as one again
    both(made, seed)
    both(made, Net.run_backward)
    compare(made[1], made[0], "at the end", 1e-4, diffs=False)


def test_a_forward_over_a_part_of_what_ran_as_one() -> None:
    """The scale alone once more, on what the ReLU left in its bottom."""
    made = nets(APART)
    both(made, Net.run_forward)
    both(made, lambda net: net.run_forward(net.layer_index("scale"), None))
    both(made, seed)
    both(made, Net.run_backward)
    compare(made[1], made[0], "after", 1e-4, diffs=False)


def test_hooks_see_each_layer_of_a_backward_whose_forward_ran_as_one() -> None:
    made = nets(IN_PLACE)
    seen: list[list[tuple[int, np.ndarray]]] = []
    for net in made:
        net.run_forward()
        seed(net)
        diffs: list[tuple[int, np.ndarray]] = []

        def note(i: int, net: Net = net, diffs: list[tuple[int, np.ndarray]] = diffs) -> None:
            diffs.append((i, net.blobs["y"].peek_diff().copy()))

        net.after_backward_hooks.append(note)
        net.run_backward()
        seen.append(diffs)
    assert [i for i, _ in seen[0]] == [i for i, _ in seen[1]]
    for (i, expected), (_, ours) in zip(*seen, strict=True):
        close(f"after layer {i}", ours, expected, 1e-4)
