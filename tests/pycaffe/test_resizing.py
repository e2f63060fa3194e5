"""`caffe.io.resize`, which scripts for pycaffe take from scikit-image through its module io."""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
import pytest

import dragon as caffe

IMAGE = np.random.default_rng(0).random((6, 8, 3), np.float32)


def test_two_axes_equal_resize_image() -> None:
    expected = caffe.io.resize_image(IMAGE, (3, 11))
    for shape in ((3, 11), (3, 11, 3), np.array([3, 11])):
        found = caffe.io.resize(IMAGE, shape)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_every_axis_that_the_shape_names_is_resized() -> None:
    """(3, H, W) for an (H, W, 3) image, as a widely copied script has it, mixes the channels in scikit-image too."""
    assert caffe.io.resize(IMAGE, (3, 6, 6)).shape == (3, 6, 6)
    grey = caffe.io.resize(IMAGE, (6, 8, 1))
    np.testing.assert_allclose(grey[..., 0], IMAGE[..., 1], rtol=1e-6)  # the centre of three
    assert caffe.io.resize(IMAGE[..., 0], (3, 4, 1)).shape == (3, 4, 1)


@pytest.mark.parametrize(("dtype", "largest"), [(np.uint8, 255), (np.uint16, 65535), (np.int16, 32767)])
def test_integers_become_floats_up_to_one(dtype: Any, largest: int) -> None:
    image = np.full((4, 4), largest, dtype)
    np.testing.assert_array_equal(caffe.io.resize(image, (2, 2)), 1.0)
    np.testing.assert_array_equal(caffe.io.resize(image, (2, 2), preserve_range=True), largest)


@pytest.mark.parametrize(
    ("mode", "left", "right"),
    [
        # of 0, 8, 16 in twelve pixels: the first and last are 3/8 of a pixel outside
        ("edge", 0, 16),
        ("symmetric", 0, 16),
        ("reflect", 3, 13),
        ("wrap", 6, 10),
        ("constant", 3 / 8 * 24, 5 / 8 * 16 + 3 / 8 * 24),
    ],
)
def test_what_stands_for_pixels_outside(mode: str, left: float, right: float) -> None:
    found = caffe.io.resize(np.array([0.0, 8, 16]), (12,), mode=mode, cval=24)
    np.testing.assert_allclose(found[[0, 11]], [left, right])


def test_cubic_is_cut_off_at_the_range_of_the_image() -> None:
    step = np.repeat([0.0, 1.0], 4)
    assert caffe.io.resize(step, (24,), order=3, clip=False).max() > 1
    assert caffe.io.resize(step, (24,), order=3).max() == 1


@pytest.mark.parametrize("order", range(6))
def test_curves_go_through_the_pixels(order: int) -> None:
    """With three times as many pixels every third one has the centre of an old one."""
    found = caffe.io.resize_image(IMAGE, (18, 24), order)
    np.testing.assert_allclose(found[1::3, 1::3], IMAGE, atol=1e-6)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_curves_are_exact_for_polynomials(order: int) -> None:
    """Of the degree of the spline, that of Keys one less; far from the border, which is repeated."""
    degree = order - (order == 3)
    x, at = np.arange(120.0), (np.arange(240) + 0.5) / 2 - 0.5
    found = caffe.io.resize((x / 60 - 1) ** degree, (240,), order=order, clip=False)
    np.testing.assert_allclose(found[90:150], ((at / 60 - 1) ** degree)[90:150], atol=1e-9)


@pytest.mark.parametrize("order", [-1, 6, 2.5, "3", None])
def test_other_orders_are_refused(order: Any) -> None:
    with pytest.raises(ValueError, match=rf"^order must be a whole number from 0 to 5, got {order!r}\Z"):
        caffe.io.resize(IMAGE, (3, 3), order=order)
    with pytest.raises(ValueError, match=r"^interp_order must be a whole number from 0 to 5, got "):
        caffe.io.resize_image(IMAGE, (3, 3), order)


def test_mistakes() -> None:
    with pytest.raises(ValueError, match=r"mode must be one of constant, edge, .* got 'nearest'"):
        caffe.io.resize(IMAGE, (3, 3), mode="nearest")
    with pytest.raises(caffe.ShapeError, match="resized image"):
        caffe.io.resize(IMAGE, (1 << 20, 1 << 20))


def test_scikit_image_is_had_through_io_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("skimage", "skimage.io", "skimage.transform"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(AttributeError, match=r"caffe\.io\.skimage is the package scikit-image, which is missing"):
        _ = caffe.io.skimage  # type: ignore[attr-defined]
    for name in ("skimage", "skimage.io", "skimage.transform"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    assert caffe.io.skimage is sys.modules["skimage"]  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="no attribute 'zoomed'"):
        _ = caffe.io.zoomed  # type: ignore[attr-defined]
