"""Settings that are NaN or infinite, of every layer type."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from google.protobuf.descriptor import FieldDescriptor

import dragon
from dragon.bases.layer import Layer, create, find_class, layer_types
from dragon.errors import PrototxtError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text, read_net_definition
from tests.layers.helpers import One

LAYERS = [
    ("PriorBox", "prior_box_param { min_size: nan }", "prior_box_param.min_size must be a finite number, got nan"),
    ("PriorBox", "prior_box_param { min_size: 9 step: inf }", "prior_box_param.step must be a finite number, got inf"),
    (
        "PriorBox",
        "prior_box_param { min_size: 9 offset: nan }",
        "prior_box_param.offset must be a finite number, got nan",
    ),
    ("PriorBox", "prior_box_param { min_size: 9 variance: nan }", "prior_box_param.variance must be a finite number"),
    ("ReLU", "relu_param { negative_slope: nan }", "relu_param.negative_slope must be a finite number, got nan"),
    ("Power", "power_param { scale: -inf }", "power_param.scale must be a finite number, got -inf"),
    ("Dropout", "dropout_param { dropout_ratio: nan }", "dropout_param.dropout_ratio must be a finite number, got nan"),
    ("LRN", "lrn_param { k: 1e39 }", "lrn_param.k must be a finite number, got inf"),
    ("Clip", "clip_param { min: 0 max: nan }", "clip_param.max must be a number, got nan"),
    (
        "InnerProduct",
        'inner_product_param { num_output: 1 weight_filler { type: "gaussian" std: inf } }',
        "inner_product_param.weight_filler.std must be a finite number, got inf",
    ),
    (
        "AnnotatedData",
        "transform_param { emit_constraint { emit_overlap: nan } }",
        "transform_param.emit_constraint.emit_overlap must be a finite number, got nan",
    ),
    ("EuclideanLoss", "loss_weight: nan", "loss_weight must be a finite number, got nan"),
    ("Convolution", "param { lr_mult: 1 } param { lr_mult: inf }", "param.lr_mult must be a finite number, got inf"),
]


@pytest.mark.parametrize(("kind", "settings", "message"), LAYERS)
def test_message(kind: str, settings: str, message: str) -> None:
    with pytest.raises(PrototxtError, match=re.escape(f'layer "one" ({kind}): {message}')):
        One(f'type: "{kind}" {settings}')


def test_a_net_names_file_and_line(tmp_path: Any) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 } } }\n'
        'layer { name: "y" type: "ELU" bottom: "x" top: "y" elu_param { alpha: nan } }\n'
    )
    message = f'{path}:2: layer "y" (ELU): elu_param.alpha must be a finite number, got nan'
    with pytest.raises(PrototxtError, match=re.escape(message)):
        dragon.Net(read_net_definition(path), dragon.TEST, engine="numpy")


def _fields(message: Any) -> Iterator[tuple[Any, ...]]:
    """The paths to all float settings of a message, as descriptors."""
    for field in message.fields:
        if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
            yield (field,)
        elif field.message_type is not None:
            yield from ((field, *rest) for rest in _fields(field.message_type))


def _numbers(cls: type[Layer]) -> Iterator[tuple[Any, ...]]:
    settings = pb.LayerParameter.DESCRIPTOR.fields_by_name
    for name in cls.settings:
        yield from ((settings[name], *path) for path in _fields(settings[name].message_type))


def _layer(kind: str, path: tuple[Any, ...], value: float) -> pb.LayerParameter:
    param = pb.LayerParameter(name="one", type=kind)
    place: Any = param
    for field in path[:-1]:
        place = getattr(place, field.name)
        place = place.add() if field.is_repeated else place
    if path[-1].is_repeated:
        getattr(place, path[-1].name).append(value)
    else:
        setattr(place, path[-1].name, value)
    return param


@pytest.mark.parametrize("kind", layer_types())
def test_every_number_of_every_type(kind: str) -> None:
    cls = find_class(kind)
    assert cls is not None
    for path in _numbers(cls):
        name = ".".join(field.name for field in path)
        for value in (np.nan, np.inf, -np.inf):
            if np.isinf(value) and path[-1].name in {*cls.unlimited, "value"}:
                continue
            with pytest.raises(PrototxtError, match=re.escape(f'layer "one" ({kind}): {name} must be a')):
                create(_layer(kind, path, value))


@pytest.mark.parametrize("kind", layer_types())
def test_a_type_names_settings_that_it_has(kind: str) -> None:
    cls = find_class(kind)
    assert cls is not None
    assert cls.unlimited <= {path[-1].name for path in _numbers(cls)}


@pytest.mark.parametrize(
    "text",
    [
        'type: "Clip" clip_param { min: -inf max: inf }',
        'type: "Threshold" threshold_param { threshold: inf }',
        'type: "Bias" bias_param { filler { value: -inf } }',
    ],
)
def test_infinity_where_it_means_something(text: str) -> None:
    One(text, np.zeros((1, 2))).forward()


def test_settings_that_are_not_read_are_not_looked_at() -> None:
    One('type: "ReLU" power_param { power: nan }', np.zeros((1, 2))).forward()


def test_weights_in_a_definition_are_no_settings() -> None:
    param = parse_text('layer { name: "a" type: "ReLU" blobs { data: nan } }', pb.NetParameter()).layer[0]
    create(param)
