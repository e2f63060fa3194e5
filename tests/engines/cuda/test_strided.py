"""Layers that only move values, with sizes that are whole vectors and sizes that are not."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.engines.cuda.lowerings.rearranging import Strided, strides_of
from tests.engines.cuda.running import by_kernels, inputs, layer, same

pytestmark = pytest.mark.usefixtures("cuda")

RANDOM = np.random.default_rng(31)
SHAPES = [(3, 4, 5, 7), (2, 8, 4, 4), (1, 4, 3, 301)]


def values(shape: tuple[int, ...]) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


ONE_BOTTOM = {
    "Permute to NHWC": layer("Permute", "permute_param { order: 0 order: 2 order: 3 order: 1 }"),
    "Permute all": layer("Permute", "permute_param { order: 3 order: 2 order: 1 order: 0 }"),
    "Permute two": layer("Permute", "permute_param { order: 1 order: 0 }"),
    "Permute nothing": layer("Permute", ""),
    "ShuffleChannel": layer("ShuffleChannel", "shuffle_channel_param { group: 2 }"),
    "Reverse one axis": layer("Reverse", "reverse_param { axis: 3 }"),
    "Reverse three axes": layer("Reverse", "reverse_param { axis: 0 axis: 1 axis: 3 }"),
    "Tile": layer("Tile", "tile_param { tiles: 3 }"),
    "Tile the last axis": layer("Tile", "tile_param { axis: -1 tiles: 2 }"),
    "Flatten": layer("Flatten"),
    "Reshape": layer("Reshape", "reshape_param { shape { dim: 0 dim: -1 } }"),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("text", ONE_BOTTOM.values(), ids=ONE_BOTTOM.keys())
def test_one_bottom(text: str, shape: tuple[int, ...]) -> None:
    by_kernels(same(inputs({"x": shape}) + text, {"x": values(shape)}, tolerance=1e-6), "one")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_concat_and_slice(shape: tuple[int, ...], axis: int) -> None:
    def longer(n: int) -> tuple[int, ...]:
        dims = list(shape)
        dims[axis] = n
        return tuple(dims)

    shapes = {"x": longer(3), "w": longer(4), "z": longer(1)}
    text = inputs(shapes) + layer("Concat", f'bottom: "w" bottom: "z" concat_param {{ axis: {axis} }}')
    text += layer("TanH", "", "y", "y", "tanh")
    points = "slice_point: 2 slice_point: 4"
    text += layer("Slice", f'top: "b" top: "c" slice_param {{ axis: {axis} {points} }}', "y", "a", "two")
    by_kernels(same(text, {name: values(s) for name, s in shapes.items()}), "one", "two")


def test_concat_of_one_and_slice_into_one_share_memory() -> None:
    text = inputs({"x": (3, 5)}) + layer("Concat") + layer("Slice", "", "y", "z", "two")
    by_kernels(same(text, {"x": values((3, 5))}), "one", "two")


def test_squeeze() -> None:
    x = values((3, 1, 5))
    by_kernels(same(inputs({"x": x.shape}) + layer("Squeeze"), {"x": x}), "one")


@pytest.mark.parametrize("offset", ["", "offset: 1", "offset: 1 offset: 2"])
def test_crop(offset: str) -> None:
    x, size = values((3, 4, 6, 8)), values((3, 4, 4, 4))
    text = inputs({"x": x.shape, "size": size.shape})
    text += layer("Crop", f'bottom: "size" crop_param {{ axis: 2 {offset} }}')
    by_kernels(same(text, {"x": x, "size": size}), "one")


def test_silence_has_no_gradient() -> None:
    text = inputs({"x": (5, 3)}) + layer("TanH", name="a", top="a")
    text += layer("ReLU", name="b", top="b") + 'layer { name: "one" type: "Silence" bottom: "b" }'
    by_kernels(same(text, {"x": values((5, 3))}), "one")


def test_axes_are_merged_where_both_sides_allow() -> None:
    shape = (2, 3, 4, 5)
    assert Strided(shape, strides_of(shape), strides_of(shape)).merged == Strided((120,), (1,), (1,))
    assert Strided((2, 1, 4), (8, 7, 2), (4, 4, 1)).merged == Strided((8,), (2,), (1,))
    assert Strided((1, 1), (5, 5), (1, 1), 3).merged == Strided((), (), (), 3)
