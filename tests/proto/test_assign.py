from __future__ import annotations

import pytest

from dragon.errors import UsageError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.assign import Assignment
from dragon.proto.text import parse_text

LAYER = 'name: "c" type: "Convolution" convolution_param { num_output: 4 kernel_size: 5 } param { lr_mult: 1 } param {}'


def changed(path: str, value: str) -> pb.LayerParameter:
    layer = parse_text(LAYER, pb.LayerParameter())
    Assignment.parse(f"{path}={value}").set(layer, path)
    return layer


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        ("convolution_param.num_output", "64", "num_output: 64 kernel_size: 5"),
        ("convolution_param.kernel_size", "3,1", "num_output: 4 kernel_size: 3 kernel_size: 1"),
        ("convolution_param.kernel_size", "[3, 1]", "num_output: 4 kernel_size: [3, 1]"),
        ("convolution_param.kernel_size", "", "num_output: 4"),
        ("convolution_param.kernel_size[0]", "7", "num_output: 4 kernel_size: 7"),
        ("convolution_param.kernel_size[1]", "7", "num_output: 4 kernel_size: 5 kernel_size: 7"),
        ("convolution_param.bias_term", "false", "num_output: 4 kernel_size: 5 bias_term: false"),
        ("convolution_param.engine", "CAFFE", "num_output: 4 kernel_size: 5 engine: CAFFE"),
        ("convolution_param.weight_filler.std", "1e-2", "num_output: 4 kernel_size: 5 weight_filler { std: 0.01 }"),
        ("convolution_param.weight_filler", "{ std: .1 }", "num_output: 4 kernel_size: 5 weight_filler { std: 0.1 }"),
    ],
)
def test_values(path: str, value: str, text: str) -> None:
    assert changed(path, value).convolution_param == parse_text(text, pb.ConvolutionParameter())


def test_entries_of_a_list_of_messages() -> None:
    assert [p.lr_mult for p in changed("param.lr_mult", "0").param] == [0, 0]
    assert [p.lr_mult for p in changed("param[1].lr_mult", "3").param] == [1, 3]
    assert len(changed("param[2].lr_mult", "3").param) == 3
    assert len(changed("param[0]", "{ decay_mult: 0 }").param) == 2
    assert len(changed("param", "[{}, {}, {}]").param) == 3
    assert len(changed("param", "").param) == 0


@pytest.mark.parametrize("value", ["plain", '"quoted"', "with = and . and #", 'one " two', "back\\slash", ""])
def test_strings_need_no_quotes(value: str) -> None:
    assert changed("name", value).name == (value.strip('"') if value.startswith('"') else value)


def test_lists_of_strings() -> None:
    assert list(changed("bottom", 'a,"b,c", d').bottom) == ["a", "b,c", "d"]
    assert list(changed("bottom", "").bottom) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("convolution_param.num_outptu=3",
         'ConvolutionParameter has no field "num_outptu" (did you mean "num_output"?)'),
        ("convolution_parm.x=3",
         'LayerParameter has no field "convolution_parm" (did you mean "convolution_param"?)'),
        ("convolution_param.num_output=x", '"num_output" is a whole number from 0 to 4294967295, got "x"'),
        ("convolution_param.num_output=-1", '"num_output" is a whole number from 0 to 4294967295, got "-1"'),
        ("convolution_param.num_output=1.5", '"num_output" is a whole number from 0 to 4294967295, got "1.5"'),
        ("convolution_param.num_output=", '"num_output" is a whole number from 0 to 4294967295, got end of file'),
        ("convolution_param.num_output=1 kernel_size: 2", "'1 kernel_size: 2' is more than a value"),
        ("convolution_param.num_output[0]=1", '"num_output" of ConvolutionParameter is no list: leave out [0]'),
        ("convolution_param[0].num_output=1", '"convolution_param" of LayerParameter is no list: leave out [0]'),
        ("convolution_param.num_output.x=1",
         '"num_output" of ConvolutionParameter is a value, which has no fields'),
        ("convolution_param=1",
         '"convolution_param" is a message: set its fields, as in convolution_param.FIELD=VALUE'),
        ("convolution_param.kernel_size[9]=1", '"kernel_size" has no entry 9'),
        ("convolution_param.kernel_size[0]=1,2", 'expected a field, got "2"'),
        ("convolution_param.engine=CUDN",
         '"engine" is one of DEFAULT, CAFFE, CUDNN, got "CUDN" (did you mean "CUDNN"?)'),
        ("convolution_param.bias_term=maybe", '"bias_term" is true or false, got "maybe"'),
        ("param[999999].lr_mult=1", '"param" has no entry 999999'),
        ("loss_param.ignore_label.=1", "is no dotted name of a field"),
        ("include.phase=TEST", '"include" of LayerParameter is an empty list: say which entry, as in include[0]'),
    ],
)  # fmt: skip
def test_mistakes(text: str, message: str) -> None:
    path, _, value = text.partition("=")
    with pytest.raises(UsageError) as raised:
        changed(path, value)
    assert str(raised.value).startswith(f"--set {text}: ")
    assert message in str(raised.value)


@pytest.mark.parametrize("text", ["base_lr", "=3", "", '"quoted"'])
def test_without_a_value(text: str) -> None:
    with pytest.raises(UsageError, match="--set takes FIELD=VALUE"):
        Assignment.parse(text)


def test_a_quoted_name_may_hold_anything() -> None:
    found = Assignment.parse('"res=2.a".num_output=3=4')
    assert found.split_quoted() == ("res=2.a", ".num_output")
    assert found.value == "3=4"
