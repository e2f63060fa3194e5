"""What a layer type says of itself holds for every registered type, under its main name and under its aliases."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from typing import Any

import pytest

from dragon.bases.batch_statistics import BatchStatistics
from dragon.bases.layer import Layer
from dragon.bases.registry import canonical, class_of, create, find_class, layer_types
from dragon.errors import PrototxtError
from dragon.proto import dragon_pb2 as pb
from dragon.pycaffe.net_spec import layers, to_proto
from tests.imports import ROOT

ALIASES = {"ConvolutionDepthwise": "DepthwiseConvolution", "SoftmaxLoss": "SoftmaxWithLoss", "SyncBN": "BN"}
FIELDS = pb.LayerParameter.DESCRIPTOR.fields_by_name


def cls_of(name: str) -> type[Layer]:
    cls = find_class(name)
    assert cls is not None
    return cls


def options_of(message: str) -> dict[str, Any]:
    """The fields of a settings message by name."""
    inner = FIELDS[message].message_type
    assert inner is not None
    return dict(inner.fields_by_name)


def made(name: str, **settings: Any) -> pb.LayerParameter:
    """The definition that NetSpec makes of a type and settings."""
    return to_proto(getattr(layers, name)(ntop=0, **settings)).layer[0]


def fields() -> list[tuple[str, str, str]]:
    """(type or alias, message, field) of every setting of every layer type."""
    return [
        (name, message, field)
        for name in layer_types()
        for message in cls_of(name).settings
        for field in options_of(message)
    ]


def value_of(field: Any) -> Any:
    """Something that fits the field, and is not its default."""
    if field.message_type is not None:
        # an empty message sets nothing: one with its first field that is none itself
        inner = next((f for f in field.message_type.fields if f.message_type is None), field.message_type.fields[0])
        filler = field.message_type.name == "FillerParameter"
        value: Any = {"value": 2} if filler else {inner.name: value_of(inner)}
    elif field.enum_type is not None:
        value = field.enum_type.values[-1].number
    else:
        value = {bool: True, str: "x", float: 0.5}.get(type(field.default_value), 3)
    return [value] if field.is_repeated else value


def test_an_alias_means_its_type() -> None:
    found = {name: canonical(name) for name in layer_types() if canonical(name) != name}
    assert found.items() >= ALIASES.items()
    for alias, name in found.items():
        assert find_class(alias) is find_class(name)
        assert alias in cls_of(name).aliases
        assert canonical(name) == name
    assert canonical("NoSuchLayer") == "NoSuchLayer"


def test_a_definition_of_unknown_type_says_nothing() -> None:
    assert class_of(pb.LayerParameter(type="NoSuchLayer")) is Layer
    assert class_of(pb.LayerParameter(type="SyncBN")) is cls_of("BN")
    segnet = pb.LayerParameter(type="SyncBN", bn_param={"bn_mode": "INFERENCE"})
    assert class_of(segnet) is type(create(segnet))
    assert not class_of(segnet).keeps_statistics


@pytest.mark.parametrize("name", layer_types())
def test_settings_are_what_the_layer_reads(name: str) -> None:
    cls = cls_of(name)
    for message in cls.settings:
        options = set(options_of(message))
        bases = [base for base in cls.__mro__ if base not in (Layer, object)]
        read = any(re.search(rf"\b{message}\b(?!\",)", inspect.getsource(base)) for base in bases)
        assert read or options == {"engine"}, message
    own = set(re.findall(r"\bself\.param\.(\w+_param)\b", inspect.getsource(cls)))
    assert own <= set(cls.settings)
    assert set(cls.defaults) <= {field for message in cls.settings for field in options_of(message)}


@pytest.mark.parametrize(("name", "message", "field"), fields())
def test_net_spec_accepts_every_setting(name: str, message: str, field: str) -> None:
    value = value_of(options_of(message)[field])
    layer = made(name, **{field: value})
    assert layer.type == name
    assert any(field in [f.name for f, _ in getattr(layer, m).ListFields()] for m in cls_of(name).settings)


def test_settings_of_a_layer_and_of_its_family_are_given_together() -> None:
    layer = made("SoftmaxLoss", axis=2, ignore_label=255)
    assert (layer.softmax_param.axis, layer.loss_param.ignore_label) == (2, 255)


@pytest.mark.parametrize("name", ["BN", "SyncBN"])
def test_settings_of_which_a_layer_reads_one_are_not_mixed(name: str) -> None:
    fork = made(name, eps=0.5, momentum=0.25)
    assert (fork.bn_param.eps, fork.bn_param.momentum, fork.HasField("batch_norm_param")) == (0.5, 0.25, False)
    with pytest.raises(PrototxtError, match='unknown setting "momentum"'):
        made(name, decay=0.5, momentum=0.25)


@pytest.mark.parametrize("name", layer_types())
def test_properties_fit_together(name: str) -> None:
    cls = cls_of(name)
    assert not cls.keeps_statistics or (issubclass(cls, BatchStatistics) and cls.buffers)
    assert not (cls.reads_data or cls.is_input or cls.gives_bytes) or cls.is_source
    assert not cls.is_source or cls.bottoms == (0, 0)
    assert not cls.host_only or not cls.capturable
    assert not cls.runs_user_code or cls.host_only


@pytest.mark.parametrize("name", [name for name in layer_types() if name != "Python"])
def test_what_backward_reads_is_known_before_setup(name: str) -> None:
    """Surgery asks layers that are in no net."""
    layer = create(pb.LayerParameter(name="x", type=name))
    found = [layer.reads_top, layer.reads_top_in_place, layer.can_propagate(0)]
    assert {type(one) for one in found} == {bool}


def test_a_type_whose_file_has_its_name_is_loaded_alone() -> None:
    """Others, such as aliases, are found in all files."""
    code = (
        "import sys\n"
        "from dragon.bases.registry import find_class\n"
        "def loaded(): return sum(name.startswith('dragon.layers.') for name in sys.modules)\n"
        "print(find_class('ReLU').type, loaded(), find_class('SyncBN').type)\n"
        "print(find_class('Lstm').__module__, loaded() > 100)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["ReLU", "1", "BN", "dragon.layers.row_lstm", "True"]


def test_an_unknown_type_is_looked_for_in_all_files() -> None:
    code = (
        "from dragon.bases.registry import find_class, unknown_type\nprint(find_class('Reluu'), unknown_type('Reluu'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == 'None unknown layer type "Reluu" (did you mean "ReLU"?)\n'


def test_a_layer_of_ones_own_keeps_the_name_of_a_built_in_type() -> None:
    """Whenever the file of the built-in one is loaded."""
    code = """
from dragon.bases.layer import Layer, register
from dragon.bases.registry import find_class, layer_types
find_class("ReLU")
@register()
class Own(Layer):
    type = "Swish"
assert find_class("Swish") is Own
layer_types()
assert find_class("Swish") is Own
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=ROOT)


def test_a_word_for_a_type_loads_its_file_alone() -> None:
    code = (
        "import sys\n"
        "from dragon.bases.registry import spelled\n"
        "print(spelled('inner_product'), spelled('Convolution'), 'dragon.layers.lstm' in sys.modules)\n"
        "print(spelled('syncbn'), spelled('nothing'), 'dragon.layers.lstm' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["InnerProduct", "Convolution", "False", "SyncBN", "None", "True"]
