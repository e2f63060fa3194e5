"""Maps of coordinates, against hand calculation and against what nets really do."""

from __future__ import annotations

import numpy as np
import pytest

from dragon import layers as L
from dragon.pycaffe.coord_map import AxisMismatchException, compose, coord_map_from_to, crop, inverse
from dragon.pycaffe.net_spec import Top


def data() -> Top:
    top: Top = L.Input(shape={"dim": [1, 3, 100, 100]})
    return top


def test_a_convolution_that_keeps_its_size_maps_to_itself() -> None:
    x = data()
    axis, a, b = coord_map_from_to(L.Convolution(x, kernel_size=5, pad=2), x)
    assert (axis, *a, *b) == (1, 1, 0)


def test_upsampled_features_of_fully_convolutional_nets() -> None:
    """Padding 100, five poolings, a 7x7 layer and 32-fold upsampling: the famous offset of 19."""
    x = data()
    top = L.Convolution(x, kernel_size=3, pad=100)
    for _ in range(5):
        top = L.ReLU(L.Pooling(top, kernel_size=2, stride=2), in_place=True)
    up = L.Deconvolution(L.Convolution(top, kernel_size=7), convolution_param={"kernel_size": 64, "stride": 32})
    layer = crop(up, x).to_proto().layer[-1]
    assert (layer.type, layer.crop_param.axis, list(layer.crop_param.offset)) == ("Crop", 2, [19])


def test_rectangular_windows_map_each_axis() -> None:
    x = data()
    top = L.Convolution(x, kernel_h=3, kernel_w=5, stride_h=2, stride_w=1, dilation=2)
    _, a, b = coord_map_from_to(x, top)
    np.testing.assert_allclose(a, [0.5, 1])
    np.testing.assert_allclose(b, [-1, -4])


def test_crops_count_into_the_map() -> None:
    x = data()
    cut = L.Crop(x, x, crop_param={"axis": 2, "offset": [3]})
    _, a, b = coord_map_from_to(cut, x)
    assert (a, float(b[0])) == (1, 3)


def test_maps_that_do_not_fit_are_refused() -> None:
    x = data()
    with pytest.raises(AssertionError, match="scale mismatch"):
        crop(L.Pooling(x, kernel_size=2, stride=2), x)
    with pytest.raises(AssertionError, match="noninteger"):
        crop(L.Convolution(x, kernel_size=4, pad=2), x)
    with pytest.raises(AssertionError, match="negative offset"):
        crop(L.Convolution(x, kernel_size=3), x)
    with pytest.raises(RuntimeError, match="Could not compute map between tops"):
        crop(x, data())
    with pytest.raises(AxisMismatchException):
        compose((1, 1, 0), (2, 1, 0))


def test_inverse_undoes() -> None:
    assert compose(inverse((1, 4.0, 3.0)), (1, 4.0, 3.0)) == (1, 1.0, 0.0)
