"""Maps of coordinates, against hand calculation and against what nets really do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dragon import layers as L
from dragon.bases.layer import TEST
from dragon.bases.registry import find_class
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.pycaffe.coord_map import (
    AxisMismatchException,
    UndefinedMapException,
    compose,
    conv_params,
    coord_map,
    coord_map_from_to,
    crop,
    crop_params,
    inverse,
)
from dragon.pycaffe.net_spec import Top
from tests.layers.catalogue import CASES


def data() -> Top:
    top: Top = L.Input(shape={"dim": [1, 3, 100, 100]})
    return top


def test_a_convolution_that_keeps_its_size_maps_to_itself() -> None:
    x = data()
    axis, a, b = coord_map_from_to(L.Convolution(x, kernel_size=5, pad=2), x)
    assert (axis, *a, *b) == (1, 1, 0)


@pytest.mark.parametrize("kind", [L.Convolution, L.Pooling])
def test_padding_of_each_side_counts_where_it_stands_before_the_image(kind: Any) -> None:
    x = data()
    axis, a, b = coord_map_from_to(kind(x, kernel_size=3, pad_t=1, pad_l=2, pad_b=2, pad_r=1), x)
    assert (axis, *a, *b) == (1, 1, 0, -1)  # the first window's centre lies at (0, -1) of the image


def test_upsampled_features_of_fully_convolutional_nets() -> None:
    """Padding 100, five poolings, a 7x7 layer and 32-fold upsampling: the famous offset of 19."""
    x = data()
    top = L.Convolution(x, kernel_size=3, pad=100)
    for _ in range(5):
        top = L.ReLU(L.Pooling(top, kernel_size=2, stride=2), in_place=True)
    up = L.Deconvolution(L.Convolution(top, kernel_size=7), convolution_param={"kernel_size": 64, "stride": 32})
    layer = crop(up, x).to_proto().layer[-1]
    assert (layer.type, layer.crop_param.axis, list(layer.crop_param.offset)) == ("Crop", 2, [19])


def test_settings_of_windows_and_crops() -> None:
    """The helpers that pycaffe's module has: axis, stride, extent with dilation, padding; axis and offsets."""
    x = data()
    axis, stride, extent, pad = conv_params(L.Convolution(x, kernel_size=3, stride=2, dilation=4, pad=1).fn)
    assert (axis, *stride, *extent, *pad) == (1, 2, 9, 1)
    axis, stride, extent, pad = conv_params(L.Pooling(x, kernel_h=3, kernel_w=2).fn)
    assert (axis, list(stride), list(extent), list(pad)) == (1, [1], [3, 2], [0])
    with pytest.raises(UndefinedMapException, match="ReLU: the layer has no windows"):
        conv_params(L.ReLU(x).fn)
    axis, offset = crop_params(L.Crop(x, x).fn)
    assert (axis, *offset) == (2, 0)
    axis, offset = crop_params(L.Crop(x, x, axis=3, offset=5).fn)
    assert (axis, *offset) == (3, 5)


def test_layers_that_pass_coordinates_through() -> None:
    from dragon.pycaffe import coord_map as module

    assert module.L.ReLU(data()).fn.type_name == "ReLU"
    assert {"ReLU", "Eltwise", "Scale", "Split"} <= set(module.PASS_THROUGH_LAYERS)
    assert not {"Convolution", "Pooling", "Crop", "InnerProduct"} & set(module.PASS_THROUGH_LAYERS)


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


def test_layers_of_one_kind_have_one_map() -> None:
    """Under every alias, and for every layer that keeps places."""
    x = data()
    top = L.ConvolutionDepthwise(x, kernel_size=3, stride=2)
    for kind in ("SyncBN", "BatchRenorm", "GroupNorm", "HardSwish", "ReLU6", "Dropout", "ShuffleChannel", "Normalize"):
        top = getattr(L, kind)(top)
    axis, a, b = coord_map_from_to(x, L.Add(top, top))
    assert (axis, *a, *b) == coord_map_from_to(x, L.DepthwiseConvolution(x, kernel_size=3, stride=2))
    assert (axis, a, b) == (1, 0.5, -0.5)


def test_settings_without_a_map() -> None:
    x = data()
    for fn in (L.Pooling(x, global_pooling=True).fn, L.InnerProduct(x, num_output=2).fn, L.Permute(x).fn):
        with pytest.raises(UndefinedMapException, match=f"{fn.type_name}: no map of coordinates"):
            coord_map(fn)


def test_the_second_bottom_of_a_crop_gives_only_its_size() -> None:
    x, y = data(), data()
    with pytest.raises(RuntimeError, match="Could not compute map"):
        coord_map_from_to(L.Crop(x, y), y)


POINTWISE = [name for name, case in CASES.items() if (cls := find_class(case.kind)) is not None and cls.pointwise]


@pytest.mark.parametrize("name", POINTWISE)
def test_a_pointwise_layer_keeps_the_size(name: str) -> None:
    if name == "Concat 3":  # along an axis of places
        return
    net = Net(parse_text(CASES[name].text(), pb.NetParameter()), TEST, engine="numpy")
    bottom, top = net.blobs["x0"].shape, net.blobs["y0"].shape
    assert not top or bottom[2:] == top[2:], "a scalar is a loss"
