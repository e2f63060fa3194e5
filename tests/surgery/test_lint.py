"""Every rule of lint fires on the mistake it is made for, and is silent on a good net."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.proto.text import parse_text, read_net_definition
from dragon.proto.upgrade import upgrade_net
from dragon.surgery.lint import lint

GOOD = """
layer { name: "data" type: "Data" top: "data" top: "label" data_param { batch_size: 32 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 2 kernel_size: 1
  bias_term: false } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" batch_norm_param { eps: 1e-4 } }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "conv" bottom: "label" top: "loss" }
"""
SCALE = next(line for line in GOOD.splitlines() if "scale_param" in line)


def rules(text: str) -> list[tuple[str, str]]:
    net = parse_text(text, pb.NetParameter())
    found = lint(Definition(net, "n.prototxt", tuple(range(10, 10 + len(net.layer)))))
    return [(f.layer, f.rule) for f in found]


def test_a_good_net() -> None:
    assert rules(GOOD) == []


@pytest.mark.parametrize(("phase", "told"), [("TRAIN", "only TRAIN has it"), ("TEST", "only TEST has it")])
def test_a_normalisation_of_one_phase(phase: str, told: str) -> None:
    one = GOOD.replace('"BatchNorm"', f'"BatchNorm" include {{ phase: {phase} }}')
    one = one.replace('"Scale"', f'"Scale" include {{ phase: {phase} }}')
    assert rules(one) == [("bn", "one-phase")]
    net = parse_text(one, pb.NetParameter())
    assert told in str(lint(Definition(net, "n.prototxt", tuple(range(9))))[0])
    beside = "".join(
        f'layer {{ name: "{name}" type: "BN" bottom: "conv" top: "conv" include {{ phase: {phase} }} }}\n'
        for name, phase in (("bn1", "TRAIN"), ("bn2", "TEST"))
    )
    two_names = GOOD.replace(next(line for line in GOOD.splitlines() if "BatchNorm" in line), beside).replace(SCALE, "")
    assert rules(two_names) == [("bn1", "one-phase"), ("bn2", "one-phase")]
    assert rules(two_names.replace("bn2", "bn1")) == []
    branch = (
        GOOD
        + f"""layer {{ name: "aux" type: "BN" bottom: "data" top: "aux" include {{ phase: {phase} }} }}
      layer {{ name: "auxloss" type: "SoftmaxWithLoss" bottom: "aux" bottom: "label" include {{ phase: {phase} }} }}"""
    )
    assert rules(branch) == [], "all of the branch is of one phase"


def test_a_bias_on_another_axis_than_the_normalised_one() -> None:
    """BatchNorm takes the mean of each index of axis 1, in which a bias of axis 2 does not vanish."""
    sequences = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 3 dim: 2 dim: 4 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 4 axis: 2 } }
layer { name: "bn" type: "BN" bottom: "ip" top: "ip" }
"""
    assert ("ip", "bias-before-bn") not in rules(sequences)
    assert ("ip", "bias-before-bn") in rules(sequences.replace("axis: 2", ""))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (SCALE, "", ("bn", "scale-missing")),
        ("bias_term: true", "", ("scale", "shift-missing")),
        ("bias_term: true", "bias_term: true axis: 0", ("bn", "scale-elsewhere")),
        ("bias_term: false", "", ("conv", "bias-before-bn")),
        ("eps: 1e-4", "use_global_stats: true", ("bn", "global-stats")),
        ("eps: 1e-4", "use_global_stats: false", ("bn", "global-stats")),
        ("eps: 1e-4", "gradient_through_statistics: false", ("bn", "constant-statistics")),
        ("eps: 1e-4", "ghost_batch: 2", ("bn", "ghost-batch")),
        ("eps: 1e-4", "ghost_batch: 12", ("bn", "ghost-batch")),
        ("eps: 1e-4", "ghost_batch: 32", ("bn", "ghost-batch")),
        ("eps: 1e-4", "eps: 1e-12", ("bn", "eps")),
        ("eps: 1e-4", "eps: 0.5", ("bn", "eps")),
        ("eps: 1e-4", "moving_average_fraction: 0.05", ("bn", "fraction")),
        ("batch_size: 32", "batch_size: 1", ("data", "small-batch")),
        ('"ReLU"', '"Relu"', ("relu", "unknown-type")),
        ('bottom: "label"', 'bottom: "lable"', ("loss", "unknown-bottom")),
        ('"BatchNorm" bottom', '"BatchNorm" param { lr_mult: 1 } bottom', ("bn", "lr-of-statistics")),
    ],
)
def test_each_rule(old: str, new: str, expected: tuple[str, str]) -> None:
    assert old in GOOD
    assert rules(GOOD.replace(old, new, 1)) == [expected]


def test_settings_of_another_type() -> None:
    """Which have no effect, in the forks neither."""
    text = """layer { name: "a" type: "SmoothL1LossOHEM" bottom: "x" top: "a" smooth_l1_loss_param { sigma: 3 } }
      layer { name: "b" type: "Convolution" bottom: "x" top: "b" convolution_param { num_output: 1 kernel_size: 1 } }
      layer { name: "c" type: "Python" top: "c" python_param { module: "m" layer: "L" } dropout_param { } }
      layer { name: "x" type: "Data" top: "x" data_param { source: "s" batch_size: 9 } transform_param { scale: 2 } }"""
    assert [found for found in rules(text) if found[1] == "unread-settings"] == [
        ("a", "unread-settings"),
        ("c", "unread-settings"),
    ]


@pytest.mark.parametrize("kind", ["Dropout", "SpatialDropout"])
def test_what_is_dropped_before_a_normalisation(kind: str) -> None:
    dropout = f'layer {{ name: "drop" type: "{kind}" bottom: "conv" top: "conv" }}\n'
    assert rules(GOOD.replace('layer { name: "bn"', dropout + 'layer { name: "bn"')) == [("drop", "dropout-before-bn")]


def test_ghost_batches_that_divide_the_batch_are_good() -> None:
    assert rules(GOOD.replace("eps: 1e-4", "ghost_batch: 16")) == []


@pytest.mark.parametrize("setting", ["ghost_batch: 8", "gradient_through_statistics: false"])
def test_what_is_for_statistics_of_the_batch_is_unused_with_running_ones(setting: str) -> None:
    text = GOOD.replace("eps: 1e-4", f"use_global_stats: true {setting}")
    assert rules(text) == [("bn", "global-stats"), ("bn", "unused-setting")]


def test_a_phase_of_its_own_makes_global_statistics_right() -> None:
    text = GOOD.replace('"BatchNorm" bottom', '"BatchNorm" include { phase: TEST } bottom')
    text = text.replace("eps: 1e-4", "use_global_stats: true")
    assert ("bn", "global-stats") not in rules(text)


@pytest.mark.parametrize(
    ("rates", "shift", "found"),
    [
        ((0, 0), "bias_term: true", []),
        ((0, 0, 0), "bias_term: true", []),
        ((0,), "bias_term: true", [("bn", "global-stats")]),  # the shift learns
        ((0, 1), "bias_term: true", [("bn", "global-stats")]),
        ((1, 0), "bias_term: true", [("bn", "global-stats")]),
        ((0,), "", [("scale", "shift-missing")]),
    ],
)
def test_a_frozen_scale_makes_global_statistics_right(
    rates: tuple[int, ...], shift: str, found: list[tuple[str, str]]
) -> None:
    """As in fine-tuning of detectors: all of the normalisation stays as the weights have it."""
    frozen = " ".join(f"param {{ lr_mult: {rate} }}" for rate in rates)
    text = GOOD.replace("eps: 1e-4", "use_global_stats: true").replace('"Scale" bottom', f'"Scale" {frozen} bottom')
    assert rules(text.replace("bias_term: true", shift)) == found


MERGED = GOOD.replace(SCALE + "\n", "").replace('"BatchNorm"', '"BN"')


def test_a_good_merged_net() -> None:
    assert rules(MERGED) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("bias_term: false", "", ("conv", "bias-before-bn")),
        ("eps: 1e-4", "use_global_stats: false", ("bn", "global-stats")),
        ("eps: 1e-4", "decay: 0.05", ("bn", "fraction")),
        ("eps: 1e-4", "eps: 1", ("bn", "eps")),
        (" bottom", " param { } param { } param { lr_mult: 1 } bottom", ("bn", "lr-of-statistics")),
    ],
)
@pytest.mark.parametrize("kind", ["BN", "SyncBN"])
def test_each_rule_under_each_name_of_a_type(kind: str, old: str, new: str, expected: tuple[str, str]) -> None:
    bn = next(line for line in MERGED.splitlines() if '"BN"' in line)
    line = bn if old in bn else next(line for line in MERGED.splitlines() if old in line)
    assert rules(MERGED.replace(line, line.replace(old, new, 1)).replace('"BN"', f'"{kind}"')) == [expected]


def test_the_weight_of_the_history_under_each_name() -> None:
    """LATEST gives the number to the newest batch: a small one is as meant."""
    assert rules(MERGED.replace("eps: 1e-4", "decay: 0.05 average: LATEST")) == []
    fork = MERGED.replace("batch_norm_param { eps: 1e-4 }", "bn_param { momentum: 0.1 }")
    assert rules(fork) == [("bn", "fraction")]
    renorm = GOOD.replace("batch_norm_param { eps: 1e-4", "batch_renorm_param { eps: 1").replace(
        "BatchNorm", "BatchRenorm"
    )
    assert rules(renorm) == [("bn", "eps")]


def test_what_is_said_of_a_small_eps() -> None:
    """Beside a variance of 0 the output is multiplied by 1 / sqrt(eps)."""
    for eps, factor in (("1e-10", "multiplied by up to 100,000;"), ("0", "NaN;")):
        net = parse_text(GOOD.replace("eps: 1e-4", f"eps: {eps}"), pb.NetParameter())
        (found,) = lint(Definition(net, "n", (1,) * 9))
        assert found.message.startswith(
            f"eps {eps} is lost beside a large variance and protects nothing beside a small"
        )
        assert factor in found.message


def test_decay_alone_may_be_of_the_first_dragon() -> None:
    text = GOOD.replace("eps: 1e-4", "decay: 0.95")
    net = parse_text(text, pb.NetParameter())
    found = lint(Definition(net, "n", (1,) * 9))
    assert [(f.layer, f.rule) for f in found] == [("bn", "dialect")]
    assert "profile dragon-2016" in found[0].message
    net.profile = "dragon-2016"
    net.layer.remove(next(layer for layer in net.layer if layer.type == "Scale"))
    assert lint(Definition(upgrade_net(net), "n", (1,) * 9)) == []


def test_a_scale_after_the_relu_is_mentioned() -> None:
    relu = next(line for line in GOOD.splitlines() if '"ReLU"' in line)
    text = GOOD.replace(SCALE + "\n" + relu, relu + "\n" + SCALE)
    found = lint(Definition(parse_text(text, pb.NetParameter()), "n.prototxt", tuple(range(1, 9))))
    assert 'a Scale comes only after "relu" (ReLU)' in str(found[0])
    assert str(found[0]).startswith('n.prototxt:3: layer "bn" (BatchNorm): ')


def test_the_nearest_name_is_told() -> None:
    net = parse_text(GOOD.replace('bottom: "label"', 'bottom: "lable"'), pb.NetParameter())
    assert 'did you mean "label"?' in str(lint(Definition(net, "n", (1,) * 9))[0])


def test_files_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "mean.binaryproto").touch()
    text = """
layer { name: "a" type: "Data" top: "a" data_param { source: "data/mnist/mnist_train_lmdb" }
  transform_param { mean_file: "mean.binaryproto" } }
layer { name: "b" type: "ImageData" top: "b" image_data_param { source: "no_such_list.txt" mean_file: "m" } }
layer { name: "c" type: "Data" top: "c" }
"""
    definition = Definition(parse_text(text, pb.NetParameter()), "n", (2, 4, 5))
    where = f"{tmp_path}, from {tmp_path / 'nets'} and from the folders above that"
    assert lint(definition) == [], "without a folder it is the text alone that counts"
    assert [f"{f.layer}: {f.message}" for f in lint(replace(definition, folder=tmp_path / "nets"))] == [
        f'a: source "data/mnist/mnist_train_lmdb" does not exist (looked for from {where}; '
        "`dragon data mnist` fetches it)",
        f'b: source "no_such_list.txt" does not exist (looked for from {where})',
        f'b: mean_file "m" does not exist (looked for from {where})',
        "c: data_param names no source",
    ]


TRAIN_BN = GOOD.replace('"BatchNorm" bottom', '"BatchNorm" include { phase: TRAIN } bottom')
TRAIN_SCALE, TEST_SCALE = (
    SCALE.replace('"scale"', f'"scale {phase}"').replace(" bottom", f" include {{ phase: {phase} }} bottom")
    for phase in ("TRAIN", "TEST")
)


@pytest.mark.parametrize("text", [TRAIN_BN, GOOD.replace(SCALE, TRAIN_SCALE + TEST_SCALE)])
def test_a_scale_in_other_phases_or_under_two_names(text: str) -> None:
    """It covers the channels, and the remark does not say otherwise."""
    (found,) = lint(Definition(parse_text(text, pb.NetParameter()), "n", tuple(range(9))))
    assert (found.layer, found.rule) == ("bn", "scale-elsewhere")
    assert "does not follow it in every phase" in found.message


def test_unnamed_layers_go_by_type_and_number() -> None:
    net = parse_text(GOOD.replace('name: "bn"', "").replace("bias_term: false", ""), pb.NetParameter())
    (found,) = lint(Definition(net, "n", tuple(range(9))))
    assert found.message.startswith('"(BatchNorm 1)" subtracts the mean')


def of_file(text: str, folder: Path) -> list[str]:
    path = folder / "net.prototxt"
    path.write_text(text, encoding="utf-8")
    return [str(found).removeprefix(f"{path}:") for found in lint(read_net_definition(path))]


INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [4, 3, 8, 8] } } }\n'


def test_settings_that_a_layer_refuses_are_errors(tmp_path: Path) -> None:
    """All of them, those of layers that do not depend on each other, also where only one phase has the layer."""
    text = (
        INPUT
        + """
        layer { name: "conv" type: "Convolution" bottom: "x" top: "conv" convolution_param { kernel_size: 3 } }
        layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
        layer { name: "drop" type: "Dropout" bottom: "x" top: "d" dropout_param { dropout_ratio: 1.5 }
          include { phase: TEST } }
        layer { name: "f" type: "InnerProduct" bottom: "x" top: "f"
          inner_product_param { num_output: 3 weight_filler { type: "xaver" } } }"""
    )
    assert of_file(text, tmp_path) == [
        '3: layer "conv" (Convolution): error: num_output must be at least 1 [refused]',
        '5: layer "drop" (Dropout): error: dropout_ratio must be at least 0 and less than 1, got 1.5 [refused]',
        '7: layer "f" (InnerProduct): error: weight of shape (3, 192): unknown filler type "xaver" '
        '(did you mean "xavier"?) [refused]',
    ]


def test_a_refusal_needs_no_data_and_no_code_of_the_user(tmp_path: Path) -> None:
    """Nothing is said of layers behind a Python layer, and of those that another phase has."""
    text = """layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
          data_param { source: "none" batch_size: 4 } transform_param { crop_size: 8 } }
        layer { name: "p" type: "Python" bottom: "data" top: "p" python_param { module: "m" layer: "L" } }
        layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" pooling_param { kernel_size: 9 } }
        layer { name: "q" type: "Pooling" bottom: "p" top: "q" pooling_param { kernel_size: 9 } }"""
    found = of_file(text, tmp_path)
    assert found[0].startswith('1: layer "data" (Data): error: source "none" does not exist')
    assert [line.partition(" a ")[0] for line in found[1:]] == ['4: layer "pool" (Pooling): error:']


def test_an_eps_below_zero_is_an_error_alone(tmp_path: Path) -> None:
    text = INPUT + 'layer { name: "bn" type: "BN" bottom: "x" top: "b" batch_norm_param { eps: -1 } }'
    assert of_file(text, tmp_path) == ['2: layer "bn" (BN): error: eps must not be negative, got -1 [refused]']
