"""`dragon bn`: a group of commands, some of which have a short name; each runs what it made before it writes."""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
import pytest

from dragon.proto.text import read_net
from dragon.surgery.model import read_model, write_model
from dragon.surgery.prove import prove
from dragon.tools.bn import command as group
from dragon.tools.common.arguments import plain_booleans
from dragon.tools.main import COMMANDS, cli
from tests.tools.conftest import Dragon

NET = """# a small net
name: "n"
layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
  shape { dim: 4 dim: 3 dim: 6 dim: 6 } shape { dim: 4 } data_filler { type: "gaussian" } data_filler { value: 1 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "gaussian" std: 1e-1 } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }  # in place
layer { name: "ip" type: "InnerProduct" bottom: "conv1" top: "ip" inner_product_param { num_output: 3
  weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOLVER = (
    'net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 3 snapshot_prefix: "s" display: 1 random_seed: 1'
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dragon: Dragon) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET)
    Path("solver.prototxt").write_text(SOLVER)
    assert dragon("train", "--solver", "solver.prototxt", "--engine", "numpy").code == 0
    return tmp_path


MODEL = ("--model", "net.prototxt")
WEIGHTS = ("--weights", "s_iter_3.caffemodel")


def test_the_group(dragon: Dragon) -> None:
    help_text = dragon("bn").out
    names = group.list_commands(click.Context(group))
    assert names == ["insert", "remove", "merge", "split", "fold", "recalibrate", "lint", "show"]
    assert all(f"  {name} " in help_text for name in names)
    for name in names:
        one = group.get_command(click.Context(group), name)
        assert one is not None
        assert one.help
        if name in COMMANDS:
            assert one is cli.get_command(click.Context(cli), name)
        for param in one.params:
            if isinstance(param, click.Option) and param.is_flag:
                flag = param.opts[0]
                for form, holds in ((f"{flag}=true", 1), (f"{flag}=n", 0), (f"--no{flag[2:]}", 0)):
                    assert plain_booleans(one, click.Context(one), [form]) == [flag] * holds
    assert dragon("bn", "insert", "--help").out.startswith("Usage: dragon bn insert")
    assert dragon("bn", "lint", "--help").out.startswith("Usage: dragon bn lint")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("bn isert", 'unknown command "isert" (did you mean "insert"?)'),
        ("bn insert", "--model"),
        ("bn insert --model net.prototxt", "nothing to write"),
        ("bn insert --model net.prototxt --out-model o --after cnv1", 'did you mean "conv1"?'),
        ("bn insert --model net.prototxt --out-model o --type BNN", "is no type that can be inserted"),
        ("bn insert --model net.prototxt --out-model o --set eps", "--set takes FIELD=VALUE"),
        ("bn insert --model net.prototxt --out-model o --set batch_norm_param.esp=1", 'did you mean "eps"?'),
        ("bn insert --model net.prototxt --out-model o --place behind", "'behind' is not one of"),
        ("bn insert --model net.prototxt --out-model net.prototxt", "net.prototxt"),
        ("bn remove --model net.prototxt --out-model o", "has no batch normalisation"),
        ("bn show --model net.prototxt --weights s_iter_3.caffemodel", "has no batch normalisation"),
        ("bn show --model net.prototxt --weights s_iter_3.caffemodel --batches 0", "--batches"),
        ("bn insert --model net.prototxt --out-model o --set bogus.eps=1", 'LayerParameter has no field "bogus"'),
    ],
)
def test_wrong_lines(folder: Path, dragon: Dragon, line: str, words: str) -> None:
    result = dragon(*line.split())
    assert (result.code, result.out) == (2, result.out)
    assert words in result.error
    assert not Path("o").exists()


def test_insert_without_weights_runs_the_net(folder: Path, dragon: Dragon) -> None:
    result = dragon("bn", "insert", *MODEL, "--after", "convolution,inner_product", "--out-model", "o.prototxt")
    assert result.out.splitlines() == [
        "left ip: no layer with weights follows, so it makes the output of the net",
        "inserted bn_conv1 (BN) behind conv1",
        "conv1: weight_filler is msra, was gaussian",
        "runs in TRAIN and TEST, forward and backward; not proved equal: without weights there is nothing to compare",
        "written: o.prototxt",
    ]
    text = Path("o.prototxt").read_text()
    assert text.startswith("# a small net\n")
    assert 'layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }  # in place\n' in text
    assert 'layer { name: "bn_conv1" type: "BN" bottom: "conv1" top: "conv1" }\n' in text


def test_a_net_that_does_not_run_is_not_written(folder: Path, dragon: Dragon) -> None:
    result = dragon("bn", "insert", *MODEL, "--type", "GroupNorm", "--out-model", "o.prototxt")
    assert (result.code, Path("o.prototxt").exists()) == (2, False)
    assert "32 groups must divide the channels" in result.error
    result = dragon("bn", "insert", *MODEL, "--type", "group_norm", "--set", "group_norm_param.num_groups=2",
                    "--out-model", "o.prototxt", *WEIGHTS, "--out-weights", "o.caffemodel")  # fmt: skip
    assert "not proved equal: a layer of this type is no identity" in result.out
    assert read_net("o.prototxt").layer[2].group_norm_param.num_groups == 2


@pytest.mark.parametrize("form", ["merged", "split"])
@pytest.mark.parametrize("place", ["before", "after"])
def test_insert_and_remove_with_weights(folder: Path, dragon: Dragon, place: str, form: str) -> None:
    result = dragon("bn", "insert", *MODEL, *WEIGHTS, "--form", form, "--place", place, "--out-model", "o.prototxt",
                    "--out-weights", "o.caffemodel")  # fmt: skip
    assert result.code == 0, result.err
    assert "blobs agree in TEST" in result.out
    assert dragon("test", "--model", "o.prototxt", "--weights", "o.caffemodel", "--iterations", "1").code == 0
    back = dragon("bn", "remove", "--model", "o.prototxt", "--weights", "o.caffemodel", "--out-model", "b.prototxt",
                  "--out-weights", "b.caffemodel")  # fmt: skip
    if place == "after":
        assert 'left bn_conv1: it follows "relu1" (ReLU), which has no weights to fold into' in back.out
        assert back.code == 2
        return
    assert "folded bn_conv1 into conv1" in back.out
    old, new = (read_model(*pair) for pair in (("net.prototxt", WEIGHTS[1]), ("b.prototxt", "b.caffemodel")))
    assert max(d.relative for d in prove(old, new, batches=2)) < 1e-5


def test_a_net_that_was_not_finite_before_is_said_to_be(folder: Path, dragon: Dragon) -> None:
    model = read_model("net.prototxt", "s_iter_3.caffemodel")
    model.arrays["conv1"][0][0] = np.nan
    write_model(model, None, "nan.caffemodel")
    broken = dragon("bn", "insert", *MODEL, "--weights", "nan.caffemodel", "--type", "FRN", "--out-model", "o")
    words = 'in TRAIN is not finite; in the net as it was, blob "conv1" in TRAIN is not finite'
    assert (broken.code, words in broken.err) == (2, True), broken.err
    assert not Path("o").exists()


def test_short_names_are_the_same_commands(folder: Path, dragon: Dragon) -> None:
    dragon("bn", "insert", *MODEL, "--form", "split", "--out-model", "o.prototxt")
    for words in (("merge",), ("bn", "merge")):
        result = dragon(*words, "--model", "o.prototxt", "--out-model", f"{len(words)}.prototxt")
        assert "merged 1: bn_conv1" in result.out
    assert Path("1.prototxt").read_text() == Path("2.prototxt").read_text()


def test_an_older_form_is_said(folder: Path, dragon: Dragon) -> None:
    Path("v0.prototxt").write_text(
        'input: "d" input_dim: 2 input_dim: 3 input_dim: 4 input_dim: 4\n'
        'layers { layer { name: "c" type: "conv" num_output: 2 kernelsize: 1 } bottom: "d" top: "c" }\n'
        'layers { layer { name: "i" type: "innerproduct" num_output: 2 } bottom: "c" top: "i" }\n'
    )
    result = dragon("bn", "insert", "--model", "v0.prototxt", "--out-model", "o.prototxt")
    assert "v0.prototxt: its text is of an older form: o.prototxt is written anew, without comments" in result.out
    assert read_net("o.prototxt").layer[2].name == "bn_c"


def test_show(folder: Path, dragon: Dragon) -> None:
    insert = ("bn", "insert", *MODEL, *WEIGHTS, "--out-model", "o.prototxt", "--out-weights", "o.caffemodel")
    assert dragon(*insert).code == 0
    shown = ("bn", "show", "--model", "o.prototxt", "--weights", "o.caffemodel")
    head, _, row = dragon(*shown).out.splitlines()
    assert head.split()[:7] == ["layer", "type", "channels", "mean", "variance", "gamma", "beta"]
    assert row.split()[:3] == ["bn_conv1", "BN", "4"]
    values = json.loads(dragon(*shown, "--json", "--batches", "2").out)["layers"][0]
    assert len(values["mean"]) == len(values["exact_mean"]) == 4
    assert values["mean_drift"] < 1
    assert "mean off, in std" in dragon(*shown, "--batches", "2").out


@pytest.mark.parametrize("how", ["field", "flag"])
def test_an_upgraded_dialect_is_reported(folder: Path, dragon: Dragon, how: str) -> None:
    text = NET.replace(
        'layer { name: "relu1"',
        'layer { name: "bn1" type: "BatchNorm" bottom: "conv1" top: "conv1" }\nlayer { name: "relu1"',
    )
    Path("old.prototxt").write_text('profile: "dragon-2016"\n' + text if how == "field" else text)
    flags = () if how == "field" else ("--profile", "dragon-2016")
    result = dragon("bn", "insert", "--model", "old.prototxt", *flags, "--after", "ip", "--out-model", "new.prototxt")
    assert result.code == 0, result.error
    assert "old.prototxt: its layers of profile dragon-2016 become layers of today\n" in result.out
    new = read_net("new.prototxt")
    assert (new.profile, new.layer[2].type) == ("", "BN")
    assert "profile" not in dragon("bn", "insert", *MODEL, "--out-model", "other.prototxt").out


def test_a_warning_is_given_once(folder: Path, dragon: Dragon) -> None:
    """The net is built several times; what overwrites the top of the ReLU is said of each layer once."""
    after = 'layer { name: "NAME" type: "TYPE" bottom: "conv1" top: "conv1" }\n'
    more = "".join(after.replace("NAME", name).replace("TYPE", kind) for name, kind in (("bn", "BN"), ("bn2", "BN")))
    Path("net.prototxt").write_text(NET.replace('layer { name: "ip"', f'{more}layer {{ name: "ip"'))
    for command in (("lint", "net.prototxt"), ("bn", "split", *MODEL, "--out-model", "o.prototxt")):
        result = dragon(*command)
        lines = [line for line in result.err.splitlines() if "overwrites in place" in line]
        assert lines == list(dict.fromkeys(lines))
        assert lines or command[0] == "bn"


def test_weights_that_are_not_written_are_named(folder: Path, dragon: Dragon) -> None:
    made = dragon("bn", "insert", *MODEL, *WEIGHTS, "--out-model", "bn.prototxt", "--out-weights", "bn.caffemodel")
    assert "are not written" not in made.out
    for command in ("fold", "split", "remove"):
        given = ("--model", "bn.prototxt", "--weights", "bn.caffemodel", "--out-model", f"{command}.prototxt")
        result = dragon("bn", command, *given)
        assert (result.code, result.out.count("the new weights are not written")) == (0, 1), result.err
    assert "are not written" not in dragon("bn", "insert", *MODEL, "--out-model", "x.prototxt").out
