"""The defaults that `dragon layers` states are those that a layer without settings uses."""

from __future__ import annotations

import re

import pytest

from dragon.bases.batch_statistics import BatchStatistics
from dragon.bases.layer import TEST, TRAIN, create, layer_types
from dragon.bases.settings import default, parameter_fields
from dragon.proto import dragon_pb2 as pb
from tests.tools.conftest import Dragon

FIELDS = pb.BatchNormParameter.DESCRIPTOR.fields_by_name


@pytest.mark.parametrize(("name", "weight"), [("BatchNorm", "moving_average_fraction"), ("BN", "decay")])
def test_batch_normalisation_states_what_it_does(name: str, weight: str) -> None:
    stated = {field: default(name, FIELDS[field]) for field in FIELDS}
    layer = create(pb.LayerParameter(name="bn", type=name))
    assert isinstance(layer, BatchStatistics)
    assert stated["average"] == pb.AverageRule.Name(layer.normalization.rule)
    assert float(stated["eps"]) == pytest.approx(layer.normalization.eps)
    assert float(stated[weight]) == pytest.approx(layer.normalization.fraction)
    other = "decay" if weight != "decay" else "moving_average_fraction"
    assert stated[other] == "unset"
    assert stated["use_global_stats"] == "by phase"
    for phase in (TRAIN, TEST):
        layer.phase = phase
        assert layer.use_global == (phase == TEST)


def test_an_unset_number_is_no_zero(dragon: Dragon) -> None:
    lines = {line.split()[0]: line for line in dragon("layers", "Convolution").out.splitlines() if line.strip()}
    assert lines["num_output"].split() == ["num_output", "uint32", "channels", "of", "the", "top"]
    assert lines["group"].split()[:3] == ["group", "uint32", "1"]
    text = dragon("layers", "BN").out
    data = dragon("layers", "Data").out
    assert data.index("data_param (") < data.index("transform_param ("), "its own first"
    assert text.index("batch_norm_param (") < text.index("bn_param (BNParameter)"), "the usual form first"


def test_no_purpose_begins_with_the_type(dragon: Dragon) -> None:
    listed = dragon("layers").out
    assert "DepthwiseConvolution, ConvolutionDepthwise:" not in listed
    assert "a convolution with a group for each channel" in listed


def test_the_docstring_of_a_layer_is_shown(dragon: Dragon) -> None:
    lines = dragon("layers", "Axpy").out.splitlines()
    assert lines[0].startswith("Axpy: top = a * x + y with one factor a for each channel")
    assert "Bottoms: a (N, C) or (N, C, 1, 1), x and y (N, C, ...)." in lines


def test_a_type_that_reading_a_net_replaces(dragon: Dragon) -> None:
    shown = dragon("layers", "Pooling3D").out
    assert shown.startswith("Reading a net makes Pooling of Pooling3D.\n\nPooling: ")
    assert "kernel_shape" in shown


def test_layers(dragon: Dragon) -> None:
    listed = dragon("layers").out
    for name in layer_types():
        assert re.search(rf"^{name} ", listed, re.MULTILINE), name
    convolution = dragon("layers", "Convolution").out
    assert re.search(r"^num_output +uint32 +channels of the top$", convolution, re.MULTILINE)
    assert re.search(r"^bias_term +bool +true +add a bias for each channel$", convolution, re.MULTILINE)
    assert re.search(r"^kernel_size +repeated uint32", convolution, re.MULTILINE)
    batch_norm = dragon("layers", "BatchNorm").out
    assert re.search(r"^moving_average_fraction +float +0\.999 ", batch_norm, re.MULTILINE)
    assert re.search(r"^average +CAFFE \| EMA \| CUMULATIVE \| LATEST +CAFFE ", batch_norm, re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("Convolution", {"convolution_param"}),
        ("Data", {"data_param", "transform_param"}),
        ("SoftmaxWithLoss", {"softmax_param", "loss_param"}),
        ("LSTM", {"recurrent_param"}),
        ("Sigmoid", set()),
    ],
)
def test_parameter_fields(name: str, fields: set[str]) -> None:
    from dragon.bases.layer import find_class

    cls = find_class(name)
    assert cls is not None
    assert set(parameter_fields(cls)) == fields
