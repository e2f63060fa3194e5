"""The file of a calibration: it comes back as it was written, and each mistake in it is one line with its place."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import dragon
from dragon.engines.int8.arithmetic import Range
from dragon.engines.int8.table import Calibration, digest_of
from dragon.errors import UsageError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text

TABLE = Calibration(
    "n", "sha256:0", "percentile", 99.9, 3,
    {"conv1": Range(0.10000000149011612, signed=True), "yes": Range(2.5e-7, signed=False), "ip: 1": None},
)  # fmt: skip


def test_a_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    TABLE.save(path)
    back = Calibration.read(path)
    assert back.layers == TABLE.layers
    assert (back.net, back.weights, back.method, back.percentile, back.batches) == (
        "n",
        "sha256:0",
        "percentile",
        99.9,
        3,
    )
    assert back.file == str(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format: 1", "format: 2", r't.yaml:2: "format" must be 1'),
        ("batches: 3\n", "", r't.yaml:2: "batches" is missing'),
        ("method: percentile", "method: percentil", r'unknown "percentil" .did you mean "percentile"\?'),
        ("limit: 0.1", "limits: 0.1", r't.yaml:9: unknown key "layers.conv1.limits" .did you mean "limit"\?'),
        ("limit: 0.1", "limit: -0.1", r't.yaml:9: "layers.conv1.limit" must be a float32 number of at least 0'),
        ("limit: 0.1", "limit: .inf", r't.yaml:9: "layers.conv1.limit" must be a number'),
        ("limit: 0.1", "limit: 1e99", r't.yaml:9: "layers.conv1.limit" must be'),
        ("float32", "float16", r't.yaml:11: "layers.ip: 1" must be float32, or a mapping with limit and signed'),
        ("signed: true", "signed: 3", r't.yaml:9: "layers.conv1.signed" must be true or false'),
        ("limit: 0.10000000149011612", "limit: 1e39", r't.yaml:9: "layers.conv1.limit" must be a float32 number'),
        ("limit: 0.10000000149011612", "limit:", r't.yaml:9: "layers.conv1.limit" has no value'),
        ("percentile: 99.9", "percentile: 400", r't.yaml:6: "percentile" must be above 0 and at most 100, got 400'),
        ("percentile: 99.9", "percentile: 0", r't.yaml:6: "percentile" must be above 0'),
        ("percentile: 99.9", "percentile:", r't.yaml:6: method percentile needs a "percentile"'),
        ("percentile: 99.9\n", "", r't.yaml:5: method percentile needs a "percentile"'),
    ],
)
def test_mistakes(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    TABLE.save(path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(UsageError, match=message):
        Calibration.read(path)


KEYS = ("format", "net", "weights", "method", "percentile", "batches", "layers")


@pytest.mark.parametrize("key", [*KEYS, "conv1", "limit", "signed"])
@pytest.mark.parametrize("value", ["", "~", "null", "[]", "[1, 2]", "{}", "{a: 1}", "-1", "2.5", ".nan", "no", "word"])
def test_a_value_of_another_type_is_one_line_with_its_place(key: str, value: str, tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    TABLE.save(path)
    text = re.sub(r"\{limit: (.*), signed: (.*)\}", r"\n    limit: \1\n    signed: \2", path.read_text())
    # with what is indented below the key
    changed, count = re.subn(rf"^( *){key}:.*\n(\1 .*\n)*", rf"\1{key}: {value}\n", text, count=1, flags=re.MULTILINE)
    assert count == 1
    path.write_text(changed)
    line = changed[: changed.index(f"{key}: {value}")].count("\n") + 1
    right = {"net": {"word"}, "weights": {"word"}, "percentile": {"2.5"}, "limit": {"2.5"}, "signed": {"no"}}
    if value in right.get(key, ()):
        Calibration.read(path)
    elif (key, value) == ("layers", "{}"):
        assert not Calibration.read(path).layers  # the net says which it misses
    else:
        with pytest.raises(UsageError, match=rf"^\S*t.yaml:{line}: [^\n]+$"):
            Calibration.read(path)


def test_a_net_of_very_many_layers_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    layers = {f"c{i}": Range(1.0, signed=True) for i in range(3500)}  # 10,500 values
    replace(TABLE, layers=layers).save(path)
    assert Calibration.read(path).layers == layers


NET = """
name: "two"
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "c"
  convolution_param { num_output: 2 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "up" type: "Deconvolution" bottom: "c" top: "u"
  convolution_param { num_output: 2 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "ip" type: "InnerProduct" bottom: "u" top: "y"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
"""


def net() -> dragon.Net:
    return dragon.Net(parse_text(NET, pb.NetParameter()), phase=dragon.TEST, engine="numpy", seed=1)


def table(**layers: Range | None) -> Calibration:
    return Calibration("other", "", "max", None, 1, layers, "t.yaml", dict.fromkeys(layers, 7))


def test_a_table_names_each_convolution_and_inner_product() -> None:
    of = Range(1.0, signed=True)
    assert table(conv=of, ip=None).ranges(net()) == {"conv": of}
    missing = r'layer "conv" \(Convolution\): the calibration t.yaml of net "other" does not name it .* "conv1"'
    with pytest.raises(UsageError, match=missing):
        table(conv1=of, ip=of).ranges(net())
    more = r't.yaml:7: net "two" has no .* inner product "ip2" .did you mean "ip".*; the file is of net "other"'
    with pytest.raises(UsageError, match=more):
        table(conv=of, ip=of, ip2=of).ranges(net())
    with pytest.raises(UsageError, match=r'has no convolution or inner product "up"'):
        table(conv=of, ip=of, up=of).ranges(net())


def test_the_digest_is_of_the_values() -> None:
    first, second = net(), net()
    assert digest_of(first) == digest_of(second)
    second.params["ip"][1].data[...] = np.arange(5)
    assert digest_of(first) != digest_of(second)
