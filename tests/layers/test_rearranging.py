"""Permute, ShuffleChannel, Reverse, Pad and Upsample: where each value goes, in loops, and back."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import DataError, PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

X = np.random.default_rng(1).standard_normal((2, 6, 3, 4))


@pytest.mark.parametrize(
    ("order", "axes"), [([], [0, 1, 2, 3]), ([0, 2, 3, 1], [0, 2, 3, 1]), ([3], [3, 0, 1, 2]), ([1, 3], [1, 3, 0, 2])]
)
def test_permute(order: list[int], axes: list[int]) -> None:
    text = f'type: "Permute" permute_param {{ {" ".join(f"order: {i}" for i in order)} }}'
    y = One(text, X, dtype=np.float64).forward()
    for at in np.ndindex(*X.shape):
        assert y[tuple(at[a] for a in axes)] == X[at]
    check_gradient(text, [X], most=40)


@pytest.mark.parametrize("group", [1, 2, 3])
def test_shuffle_channel(group: int) -> None:
    text = f'type: "ShuffleChannel" shuffle_channel_param {{ group: {group} }}'
    y = One(text, X, dtype=np.float64).forward()
    each = 6 // group
    for g in range(group):
        for k in range(each):
            np.testing.assert_array_equal(y[:, k * group + g], X[:, g * each + k])
    check_gradient(text, [X], most=40)


@pytest.mark.parametrize("axes", [[], [1], [-1, 2]])
def test_reverse(axes: list[int]) -> None:
    text = f'type: "Reverse" reverse_param {{ {" ".join(f"axis: {i}" for i in axes)} }}'
    y = One(text, X, dtype=np.float64).forward()
    flipped = {a % 4 for a in axes or [0]}
    for at in np.ndindex(*X.shape):
        assert y[tuple(X.shape[a] - 1 - i if a in flipped else i for a, i in enumerate(at))] == X[at]
    check_gradient(text, [X], most=40)


@pytest.mark.parametrize(("mode", "numpys"), [("CONSTANT", "constant"), ("EDGE", "edge"), ("REFLECT", "reflect")])
def test_pad(mode: str, numpys: str) -> None:
    text = f'type: "Pad" pad_param {{ pad_l: 1 pad_r: 3 pad_t: 2 pad_b: 1 mode: {mode} value: 7 }}'
    more = {"constant_values": 7} if mode == "CONSTANT" else {}
    expected = np.pad(X, [(0, 0), (0, 0), (2, 1), (1, 3)], numpys, **more)  # type: ignore[call-overload]
    np.testing.assert_array_equal(One(text, X, dtype=np.float64).forward(), expected)
    check_gradient(text, [X], most=40)


@pytest.mark.parametrize(("setting", "scale"), [("", (1, 1)), ("scale: 2", (2, 2)), ("scale_h: 3 scale: 2", (3, 2))])
def test_upsample_by_repetition(setting: str, scale: tuple[int, int]) -> None:
    text = f'type: "Upsample" upsample_param {{ {setting} }}'
    y = One(text, X, dtype=np.float64).forward()
    assert y.shape == (2, 6, 3 * scale[0], 4 * scale[1])
    for n, c, i, j in np.ndindex(*y.shape):
        assert y[n, c, i, j] == X[n, c, i // scale[0], j // scale[1]]
    check_gradient(text, [X], most=40)


@pytest.mark.parametrize(
    ("setting", "size"),
    [
        ("", (6, 8)),
        ("scale: 2 pad_out_h: true", (5, 8)),
        ("scale_w: 3 pad_out_w: true", (6, 11)),
        ("upsample_h: 7 upsample_w: 9", (7, 9)),
    ],
)
def test_upsample_by_the_mask(setting: str, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(2)
    mask = np.stack([rng.permutation(size[0] * size[1])[:12] for _ in range(12)]).reshape(2, 6, 3, 4)
    text = f'type: "Upsample" upsample_param {{ {setting} }}'
    y = One(text, X, mask, dtype=np.float64).forward()
    expected = np.zeros((2, 6, *size))
    for at in np.ndindex(*X.shape):
        expected[at[0], at[1]].flat[mask[at]] = X[at]
    np.testing.assert_array_equal(y, expected)
    check_gradient(text, [X, mask], most=40)


def test_upsample_undoes_the_places_of_a_pooling() -> None:
    pooling = One('type: "Pooling" pooling_param { pool: MAX kernel_size: 2 stride: 2 }', X[:, :, :2], n_top=2)
    y = pooling.forward()
    up = One('type: "Upsample"', y, pooling.top[1].data).forward()
    best = X[:, :, :2].astype(np.float32)
    kept = up != 0
    np.testing.assert_array_equal(up[kept], best[kept])
    assert kept.sum() == y.size


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ('type: "Permute" permute_param { order: 1 order: 1 }', PrototxtError, "order names an axis twice"),
        ('type: "Permute" permute_param { order: 4 }', ShapeError, "names an axis that a bottom"),
        ('type: "ShuffleChannel" shuffle_channel_param { group: 4 }', ShapeError, "group 4 must divide the channels"),
        ('type: "ShuffleChannel" shuffle_channel_param { group: 0 }', PrototxtError, "group must be at least 1"),
        ('type: "Pad" pad_param { pad_l: 4 mode: REFLECT }', ShapeError, "does not fit in a bottom"),
        ('type: "Reverse" reverse_param { axis: 4 }', ShapeError, "axis 4 is out of range"),
        ('type: "Upsample" upsample_param { scale: 0 }', PrototxtError, "scale must be at least 1"),
        ('type: "Upsample" upsample_param { upsample_h: 3 }', PrototxtError, "must be set together"),
        ('type: "Upsample" upsample_param { pad_out_h: true }', PrototxtError, "need a second bottom"),
    ],
)
def test_messages(text: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        One(text, X)


def test_masks_that_do_not_fit() -> None:
    with pytest.raises(ShapeError, match="the mask must have the shape of bottom 0"):
        One('type: "Upsample"', X, X[:1])
    with pytest.raises(DataError, match="mask 48 at position 0: expected 0 to 47"):
        One('type: "Upsample"', X, np.full(X.shape, 48)).forward()
