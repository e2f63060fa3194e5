"""Normalisations inserted into nets: where they go, what they change, and that trained nets compute the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.bases.registry import class_of, layer_types
from dragon.errors import UsageError
from dragon.graph.net import Net
from dragon.models import generate
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text, read_net
from dragon.surgery.biases import has_bias, is_plain
from dragon.surgery.forms import is_normalisation
from dragon.surgery.identity import measure
from dragon.surgery.insert import insert
from dragon.surgery.learning import freeze
from dragon.surgery.merge import merge
from dragon.surgery.model import Model
from dragon.surgery.prove import check_runs, prove
from dragon.surgery.remove import remove
from tests.surgery.helpers import HEAD, trained

ZOO = sorted(Path(generate.__file__).parent.glob("*/*.prototxt"))
NETS = [path for path in ZOO if path.name != "solver.prototxt"]
# convolutions without one: at the end of branches, for weights of channels, depthwise, or with it before them
PARTLY = {
    "densenet121", "densenet40_cifar10", "inception_resnet_v2", "rfcn_resnet101", "rfcn_resnet50",
    "se_resnet50", "xception",
}  # fmt: skip
# the convolutions without one: by the design of the net, or with it behind a concatenation or a second convolution
BARE = {
    "crnn": {"conv1", "conv2", "conv3", "conv4", "conv7"},
    "dcgan_discriminator": {"d_conv1"},
    "dcgan_generator": {"d_conv1"},
    "enet": {"conv0_1", *(f"conv{name}_1_a" for name in ("2_3", "2_7", "3_3", "3_7"))},
}
UPSAMPLED = {"fcn8s", "fcn16s", "fcn32s", "fsrcnn"}  # a deconvolution makes their output
RECURRENT = {"lrcn"}  # of convolutions and inner products, only the one that makes the output, with outputs on axis 2
DEFAULT_SPECS = {"vdsr"}  # ParamSpecs of biases that say what none means: insert does not carry them to beta
PLAIN = [path for path in NETS if not any(map(is_normalisation, read_net(path).layer))]

CONV = """layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" PARAM
  convolution_param { num_output: 6 kernel_size: 3 weight_filler { type: "xavier" } bias_filler { value: 0.5 } } }
"""
POOL = 'layer { name: "pool" type: "Pooling" bottom: "conv1" top: "pool" pooling_param { kernel_size: 2 } }\n'
RELU = 'layer { name: "relu" type: "ReLU" bottom: "X" top: "X" }\n'
DROP = 'layer { name: "drop" type: "Dropout" bottom: "X" top: "X" }\n'
TAIL = """layer { name: "ip" type: "InnerProduct" bottom: "X" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
"""


def net(*parts: str, last: str = "conv1", param: str = "") -> pb.NetParameter:
    return parse_text(HEAD + CONV.replace("PARAM", param) + "".join(parts).replace("X", last), pb.NetParameter())


def weighted(net: pb.NetParameter) -> list[str]:
    """The types of layers with weights that a net has."""
    return sorted({layer.type for layer in net.layer} & {"Convolution", "InnerProduct"})


def shape(net: pb.NetParameter) -> list[tuple[str, list[str], list[str]]]:
    return [(layer.name, list(layer.bottom), list(layer.top)) for layer in net.layer[2:]]


def same_but_fillers(a: pb.NetParameter, b: pb.NetParameter) -> bool:
    """Whether nets are equal, but for fillers of biases with zeros, which is what none means."""
    nets = [pb.NetParameter(), pb.NetParameter()]
    for copy, source in zip(nets, (a, b), strict=True):
        copy.CopyFrom(source)
        for layer in copy.layer:
            for p in (layer.convolution_param, layer.inner_product_param):
                if p.HasField("bias_filler") and p.bias_filler == pb.FillerParameter(type="constant"):
                    p.ClearField("bias_filler")
    return nets[0] == nets[1]


def without_default_specs(net: pb.NetParameter) -> pb.NetParameter:
    """The net without the ParamSpecs of biases; all of them must be plain."""
    copy = pb.NetParameter()
    copy.CopyFrom(net)
    for layer in copy.layer:
        assert all(map(is_plain, layer.param[1:]))
        del layer.param[1:]
    return copy


def check_no_place(net: pb.NetParameter) -> None:
    """No convolution or inner product of the net can be normalised, not even the one that makes its output."""
    with pytest.raises(UsageError, match="no layer is left"):
        insert(Model(net), weighted(net))
    with pytest.raises(UsageError, match="has its outputs on another axis than 1"):
        insert(Model(net), weighted(net), last=True)


@pytest.mark.parametrize("place", ["before_activation", "after_activation"])
@pytest.mark.parametrize("form", ["merged", "split"])
@pytest.mark.parametrize("path", PLAIN, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_insert_then_remove_gives_the_old_net(path: Path, form: str, place: str) -> None:
    old = read_net(path)
    if path.parent.name in RECURRENT:
        check_no_place(old)
        return
    lines: list[str] = []
    new = insert(Model(old), weighted(old), form=form, place=place, keep_init=True, note=lines.append)
    added = len(new.net.layer) - len(old.layer)
    left = sum("makes the output of the net" in line for line in lines)
    if path.parent.name in UPSAMPLED:
        assert left == 0
        notes: list[str] = []
        insert(Model(old), [*weighted(old), "Deconvolution"], form=form, place=place, note=notes.append)
        ends = [line.split()[1].rstrip(":") for line in notes if "makes the output of the net" in line]
        assert [layer.type for layer in old.layer if layer.name in ends] == ["Deconvolution"]
    else:
        assert left >= 1
    count = sum(layer.type in ("Convolution", "InnerProduct") for layer in old.layer) - left
    assert added == count * (1 if form == "merged" else 2)
    biases = any(map(has_bias, old.layer))  # where none was dropped, none has to come back
    back = remove(new, bias=biases).net
    if path.parent.name in DEFAULT_SPECS:
        back, old = without_default_specs(back), without_default_specs(old)
    assert same_but_fillers(back, old)


@pytest.mark.parametrize("path", PLAIN, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_insert_split_and_merge_is_insert_merged(path: Path) -> None:
    fields = {"batch_norm_param": {"average": "CAFFE", "moving_average_fraction": 0.999}}
    net = read_net(path)
    if path.parent.name in RECURRENT:
        check_no_place(net)
        return
    merged = insert(Model(net), weighted(net), form="merged", fields=fields)
    assert merge(insert(Model(net), weighted(net), form="split"))[0].net == merged.net


@pytest.mark.parametrize("path", [p for p in NETS if p not in PLAIN], ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_normalised_net_has_no_place_left_and_loses_all(path: Path) -> None:
    old = read_net(path)
    if path.parent.name in PARTLY:
        assert len(insert(Model(old)).net.layer) > len(old.layer)
    elif "Convolution" in weighted(old) and path.parent.name in BARE:
        added = {layer.name for layer in insert(Model(old)).net.layer} - {layer.name for layer in old.layer}
        assert added == {f"bn_{name}" for name in BARE[path.parent.name]}
    elif "Convolution" in weighted(old):
        with pytest.raises(UsageError, match="no layer is left"):
            insert(Model(old))
    left = {layer.type for layer in remove(Model(old)).net.layer if len(layer.bottom) < 2}  # Scale of two is a product
    assert not left & {"BatchNorm", "BN", "Scale"}


def test_the_zoo_without_bn_is_the_plain_zoo() -> None:
    """cifar10_quick with BN, once removed, is wired as cifar10_quick; so is VGG."""
    root = Path(generate.__file__).parent
    for plain, normalised in (
        ("cifar10_quick", "cifar10_quick_bn_merged"),
        ("cifar10_quick", "cifar10_quick_bn_split"),
    ):
        nets = [read_net(root / name / "train_val.prototxt") for name in (plain, normalised)]
        assert shape(remove(Model(nets[1])).net) == shape(nets[0])


def test_where_it_goes_over_pooling_before_the_activation() -> None:
    """As in cifar10_quick: pooling stands between the convolution and the ReLU."""
    old = net(POOL, RELU, DROP, TAIL, last="pool")
    before = insert(Model(old), form="split").net
    assert shape(before)[:2] == [("bn_conv1", ["conv1"], ["conv1"]), ("scale_conv1", ["conv1"], ["conv1"])]
    after = insert(Model(old), place="after_activation").net
    assert shape(after) == [
        ("pool", ["conv1"], ["pool"]),
        ("relu", ["pool"], ["pool"]),
        ("bn_conv1", ["pool"], ["bn_conv1"]),
        ("drop", ["bn_conv1"], ["bn_conv1"]),
        ("ip", ["bn_conv1"], ["ip"]),
    ]
    assert after.layer[1].convolution_param.bias_term, "the ReLU stands between: the bias matters"


def test_several_readers_and_no_activation() -> None:
    side = 'layer { name: "side" type: "Softmax" bottom: "conv1" top: "side" }'
    lines: list[str] = []
    new = insert(Model(net(RELU, TAIL, side)), place="after_activation", note=lines.append).net
    assert shape(new)[1:] == [
        ("bn_conv1", ["conv1"], ["bn_conv1"]),
        ("ip", ["bn_conv1"], ["ip"]),
        ("side", ["bn_conv1"], ["side"]),
    ]
    new = insert(Model(net(side, RELU, TAIL)), place="after_activation", note=lines.append).net
    assert shape(new)[0] == ("bn_conv1", ["conv1"], ["conv1"]), "two read the convolution: it is right behind"
    assert any("no activation follows it alone" in line for line in lines)


def test_the_last_layer_is_left_unless_it_is_named() -> None:
    lines: list[str] = []
    new = insert(Model(net(RELU, TAIL)), "convolution,inner_product", note=lines.append).net
    assert [layer.name for layer in new.layer] == ["data", "conv1", "bn_conv1", "relu", "ip"]
    assert "left ip: no layer with weights follows, so it makes the output of the net" in lines
    assert "bn_ip" in {layer.name for layer in insert(Model(net(RELU, TAIL)), "ip").net.layer}
    assert "bn_ip" in {layer.name for layer in insert(Model(net(RELU, TAIL)), "inner_product", last=True).net.layer}


def test_what_is_said_of_the_bias_goes_to_beta() -> None:
    param = "param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }"
    for form, at in (("merged", 2), ("split", 3)):
        new = insert(Model(net(RELU, TAIL, param=param)), form=form).net
        conv, last = new.layer[1], new.layer[at]
        assert not conv.convolution_param.bias_term
        assert conv.convolution_param.weight_filler.type == "msra"
        assert len(conv.param) == 1
        assert [(p.lr_mult, p.decay_mult) for p in last.param] == [(1, 1), (2, 0)]
        filler = last.batch_norm_param.bias_filler if form == "merged" else last.scale_param.bias_filler
        assert filler.value == 0.5
        back = remove(Model(new)).net
        assert back.layer[1].convolution_param.bias_filler.value == 0.5
        assert back.layer[1].param == net(RELU, TAIL, param=param).layer[1].param


def test_gamma_learns_as_the_weight_does_where_the_bias_says_nothing() -> None:
    for param in ("param { lr_mult: 10 decay_mult: 0 }", "param { lr_mult: 10 decay_mult: 0 } param { }"):
        for form, at in (("merged", 2), ("split", 3)):
            last = insert(Model(net(RELU, TAIL, param=param)), form=form).net.layer[at]
            assert [(p.lr_mult, p.decay_mult) for p in last.param] == [(10, 0), (1, 1)]


def test_a_layer_that_does_not_learn_has_a_normalisation_that_does_not() -> None:
    frozen = "param { lr_mult: 0 } param { lr_mult: 0 }"
    assert [p.lr_mult for p in insert(Model(net(RELU, TAIL, param=frozen))).net.layer[2].param] == [0, 0]


def test_phases_stages_and_pairs() -> None:
    pair = "".join(CONV.replace("PARAM", f'include {{ phase: {phase} stage: "a" }}') for phase in ("TRAIN", "TEST"))
    old = parse_text(HEAD + pair + (RELU + TAIL).replace("X", "conv1"), pb.NetParameter())
    new = insert(Model(old), form="split").net
    names = [layer.name for layer in new.layer]
    assert names == ["data", *["conv1", "bn_conv1", "scale_conv1"] * 2, "relu", "ip"]
    assert all(new.layer[i].include == old.layer[1].include for i in (1, 2, 3))
    assert all(new.layer[i].include == old.layer[2].include for i in (4, 5, 6))
    assert same_but_fillers(remove(Model(new)).net, with_msra(old))


def with_msra(net: pb.NetParameter) -> pb.NetParameter:
    """The net with the filler that insert gives to convolutions."""
    copy = pb.NetParameter()
    copy.CopyFrom(net)
    for layer in copy.layer:
        if layer.type == "Convolution":
            layer.convolution_param.weight_filler.CopyFrom(pb.FillerParameter(type="msra"))
    return copy


def test_a_pair_of_activations() -> None:
    pair = "".join(RELU.replace('top: "X"', f'top: "X" include {{ phase: {p} }}') for p in ("TRAIN", "TEST"))
    old = net(pair, TAIL)
    new = insert(Model(old), place="after_activation", keep_init=True).net
    assert [layer.name for layer in new.layer[2:]] == ["relu", "bn_conv1", "relu", "bn_conv1", "ip"]
    assert list(new.layer[4].bottom) == ["conv1"], "in TEST the ReLU reads the convolution still"
    for phase in (TRAIN, TEST):
        Net(new, phase, engine="numpy", seed=1).run_forward()
    assert remove(Model(new)).net == old


@pytest.mark.parametrize("form", ["merged", "split"])
@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize(
    "rule", ["include { phase: TRAIN }", "include { phase: TEST }", "exclude { phase: TEST }", 'include { stage: "a" }']
)
def test_an_activation_that_some_nets_lack(rule: str, pooled: bool, form: str) -> None:
    """One normalisation, behind the activation where it is, and where it is not behind the layer before it."""
    relu = RELU.replace('top: "X"', f'top: "X" {rule}')
    old = net(*[POOL] * pooled, relu, TAIL, last="pool" if pooled else "conv1")
    new = insert(Model(old), place="after_activation", form=form, keep_init=True).net
    value = "pool" if pooled else "conv1"
    norms = [layer for layer in new.layer if layer.name in ("bn_conv1", "scale_conv1")]
    assert list(norms[0].bottom) == [value]
    assert not any(layer.include or layer.exclude for layer in norms)
    for phase in (TRAIN, TEST):
        for stages in ([], ["a"]):
            made = Net(new, phase, stages=stages, engine="numpy", seed=1)
            names = [node.name for node in made.nodes if node.name in ("conv1", "relu", "bn_conv1", "ip")]
            active = (phase == TRAIN) if "TRAIN" in rule or "exclude" in rule else phase == TEST
            assert names == ["conv1", *["relu"] * (bool(stages) if "stage" in rule else active), "bn_conv1", "ip"]
            made.run_forward()
    assert remove(Model(new)).net == old
    weights = trained(old)
    with_weights = insert(weights, place="after_activation", form=form)
    assert max(d.relative for d in prove(weights, with_weights, (TEST,), 3)) < 1e-6


@pytest.mark.parametrize("form", ["merged", "split"])
@pytest.mark.parametrize("in_place", [False, True])
def test_two_activations_of_one_phase_each(in_place: bool, form: str) -> None:
    pair = "".join(
        f'layer {{ name: "{kind.lower()}" type: "{kind}" bottom: "conv1" top: "{"conv1" if in_place else "y"}" '
        f"include {{ phase: {phase} }} }}\n"
        for kind, phase in (("ReLU", "TRAIN"), ("TanH", "TEST"))
    )
    old = net(pair, TAIL, last="conv1" if in_place else "y")
    new = insert(Model(old), place="after_activation", form=form, keep_init=True).net
    for phase, activation in ((TRAIN, "relu"), (TEST, "tanh")):
        made = Net(new, phase, engine="numpy", seed=1)
        assert [node.name for node in made.nodes][2:4] == [activation, "bn_conv1"]
        made.run_forward()
    assert remove(Model(new)).net == old
    weights = trained(old)
    with_weights = insert(weights, place="after_activation", form=form)
    assert max(d.relative for d in prove(weights, with_weights, (TEST,), 3)) < 1e-6


def test_an_activation_of_one_phase_that_a_reader_comes_before() -> None:
    """A normalisation behind the activation would not reach what TEST reads of the convolution before it."""
    early = TAIL.replace("X", "conv1").replace('"ip"', '"early"').replace("\n", " include { phase: TEST }\n", 1)
    relu = RELU.replace('top: "X"', 'top: "X" include { phase: TRAIN }')
    notes: list[str] = []
    new = insert(Model(net(early, relu, TAIL)), place="after_activation", note=notes.append).net
    assert [layer.name for layer in new.layer[1:4]] == ["conv1", "bn_conv1", "early"]
    assert "conv1: no activation follows it alone; the normalisation is right behind it" in notes
    for phase in (TRAIN, TEST):
        Net(new, phase, engine="numpy", seed=1).run_forward()


@pytest.mark.parametrize("form", ["merged", "split"])
@pytest.mark.parametrize("place", ["before_activation", "after_activation"])
@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution", "InnerProduct"])
def test_a_trained_net_goes_on_computing_the_same(kind: str, place: str, form: str) -> None:
    layer = 'layer { name: "conv1" type: "InnerProduct" bottom: "data" top: "conv1" inner_product_param { num_output: 6'
    layer += ' weight_filler { type: "xavier" } } }'
    text = layer if kind == "InnerProduct" else CONV.replace("PARAM", "").replace('"Convolution"', f'"{kind}"')
    old = trained(parse_text(HEAD + text + (RELU + TAIL).replace("X", "conv1"), pb.NetParameter()))
    new = insert(old, kind, form=form, place=place)
    assert max(d.relative for d in prove(old, new, (TEST,), 3)) < 1e-6
    gamma = new.arrays["bn_conv1" if form == "merged" else "scale_conv1"][0]
    assert gamma.std() > 0, "statistics of the data"
    if place == "before_activation":
        assert len(new.arrays["conv1"]) == 1
        # of the values without the bias: in TRAIN nothing but the running statistics changes
        assert max(d.relative for d in prove(old, remove(new), (TEST,), 3)) < 1e-6


def test_the_statistics_are_those_of_the_values() -> None:
    old = trained(net(RELU, TAIL))
    new = insert(old)
    x = Net(old.net, TRAIN, engine="numpy", seed=1)
    for name, arrays in old.arrays.items():
        for blob, array in zip(x.params[name], arrays, strict=True):
            blob.data[...] = array
    x.run_forward(end=1)
    _, beta, mean, variance, weight = new.arrays["bn_conv1"]
    np.testing.assert_allclose(beta, mean + old.arrays["conv1"][1], rtol=1e-5)
    np.testing.assert_allclose(variance, x.blobs["conv1"].data.var(axis=(0, 2, 3)), rtol=0.5)
    assert weight == 1


def test_layers_that_share_their_weight_share_the_normalisation() -> None:
    param = 'param { name: "w" } param { name: "b" }'
    two = CONV.replace("PARAM", param) + CONV.replace("PARAM", param).replace('"conv1"', '"conv2"')
    text = HEAD + two + RELU.replace("X", "conv1") + TAIL.replace("X", "conv1")
    text += TAIL.replace("X", "conv2").replace('"ip"', '"ip2"')
    old = trained(parse_text(text, pb.NetParameter()))
    for form in ("merged", "split"):
        new = insert(old, form=form)
        specs = {p.name for layer in new.net.layer if "1" in layer.name for p in layer.param}
        assert specs == {p.name for layer in new.net.layer if "conv2" in layer.name for p in layer.param}
        assert {"w_gamma", "b", "w_mean", "w_variance"} <= specs
        assert max(d.relative for d in prove(old, new, (TEST,), 3)) < 1e-6


@pytest.mark.parametrize("own", [False, True], ids=["shared bias", "own biases"])
@pytest.mark.parametrize("form", ["merged", "split"])
def test_shared_statistics_are_those_of_all_that_share_them(form: str, own: bool) -> None:
    """By the law of total variance, from what each tower makes; where each has a bias of its own, without it."""
    param = 'param { name: "w" }' + ("" if own else ' param { name: "b" }')
    second = HEAD.replace('name: "n"', "").replace('"data"', '"data2"').replace("dim: 5", "dim: 15")
    second = second.replace("mean: 2 std: 3", "mean: -4 std: 0.5")
    towers = CONV.replace("PARAM", param), CONV.replace("PARAM", param).replace('"conv1"', '"conv2"')
    text = HEAD + second + towers[0] + towers[1].replace('"data"', '"data2"')
    text += TAIL.replace("X", "conv1") + TAIL.replace("X", "conv2").replace('"ip"', '"ip2"')
    old = trained(parse_text(text, pb.NetParameter()))
    if own:
        old.arrays["conv2"][1] = old.arrays["conv2"][1] + 7
    else:
        old.arrays["conv2"] = old.arrays["conv1"]
    parts = measure(old, ["conv1", "conv2"])
    means = [parts[name].mean - old.arrays[name][1] for name in ("conv1", "conv2")]
    mean = 0.25 * means[0] + 0.75 * means[1]
    count = sum(pool.count for pool in parts.values())
    squares = sum(p.squares + p.count * (m - mean) ** 2 for p, m in zip(parts.values(), means, strict=True))
    assert np.abs(means[0] - means[1]).min() > 1e-3, "the towers differ"
    new = insert(old, form=form)
    for name in ("bn_conv1", "bn_conv2"):
        found_mean, found_variance = new.arrays[name][2:4] if form == "merged" else new.arrays[name][:2]
        np.testing.assert_allclose(found_mean, mean, rtol=1e-5)
        np.testing.assert_allclose(found_variance, squares / (count - 1), rtol=1e-5)
    assert max(d.relative for d in prove(old, new, (TEST,), 3)) < 1e-5


def test_a_pattern_leaves_out_what_no_normalisation_can_follow() -> None:
    two = """layer { name: "cut" type: "Slice" bottom: "conv1" top: "cut" top: "rest" slice_param { slice_point: 2 } }
    layer { name: "sum" type: "Eltwise" bottom: "cut" bottom: "cut" top: "sum" }
    layer { name: "gone" type: "Silence" bottom: "rest" }
    """
    loss = 'layer { name: "loss" type: "Reduction" bottom: "ip" top: "loss" loss_weight: 1 }'
    old = net(RELU, two, TAIL.replace("X", "sum"), loss)
    lines: list[str] = []
    new = insert(Model(old), "*", note=lines.append).net
    added = {layer.name for layer in new.layer} - {layer.name for layer in old.layer}
    assert added == {"bn_data", "bn_conv1", "bn_relu", "bn_sum"}
    assert [line for line in lines if line.startswith("left out")] == [
        'left out "cut" (has 2 tops), "gone" (has 0 tops), "loss" (makes a loss): no normalisation can follow it'
    ]
    Net(new, TRAIN, engine="numpy", seed=1).run_forward()
    number = 'layer { name: "mean" type: "Reduction" bottom: "ip" top: "mean" }'
    lines.clear()
    new = insert(Model(net(RELU, TAIL, number)), "*", last=True, note=lines.append).net
    assert 'left out "mean" (BN needs a bottom with at least 1 axis, got a scalar)' in lines
    assert "bn_ip" in {layer.name for layer in new.layer}
    Net(new, TRAIN, engine="numpy", seed=1).run_forward()
    with pytest.raises(UsageError, match=r'no layer is left .*; left out "mean" \(BN needs a bottom'):
        insert(Model(net(RELU, TAIL, number)), "mea*", last=True)
    with pytest.raises(UsageError, match=r'layer "cut" \(Slice\): has 2 tops: no normalisation can follow it'):
        insert(Model(old), ["conv*", "cut"])
    with pytest.raises(UsageError, match=r'no layer is left .*; left out "loss" \(makes a loss\): no normalisation'):
        insert(Model(old), "lo*")


@pytest.mark.parametrize(
    ("after", "place", "kept"),
    [
        ("conv1", "before_activation", ["conv1", "conv2"]),
        ("conv*", "after_activation", ["conv1", "conv2"]),  # behind the ReLU of one, right behind the other
        ("conv*", "before_activation", []),
    ],
)
def test_a_shared_bias_goes_only_where_nobody_needs_it(after: str, place: str, kept: list[str]) -> None:
    """Without the bias in one layer, its beta would take the name and the values of the bias that the other keeps."""
    param = 'param { name: "w" } param { name: "b" }'
    two = CONV.replace("PARAM", param) + CONV.replace("PARAM", param).replace('"conv1"', '"conv2"')
    text = HEAD + two + RELU.replace("X", "conv1") + TAIL.replace("X", "conv1")
    text += TAIL.replace("X", "conv2").replace('"ip"', '"ip2"')
    old = trained(parse_text(text, pb.NetParameter()))
    notes: list[str] = []
    new = insert(old, after, place=place, note=notes.append)
    assert [n.name for n in new.net.layer if "conv" in n.name and has_bias(n)] == kept
    assert any("the bias stays" in note for note in notes) == bool(kept)
    assert max(d.relative for d in prove(old, new, (TEST,), 3)) < 1e-6


def test_a_pattern_passes_over_indices_and_regions() -> None:
    """A normalisation of them is one of no values: a net that looks up a word by it is another one."""
    text = """layer { name: "words" type: "Input" top: "words" input_param { shape { dim: 5 } } }
    layer { name: "table" type: "Embed" bottom: "words" top: "table" embed_param { input_dim: 9 num_output: 6
      weight_filler { type: "gaussian" } } }
    layer { name: "rois" type: "Input" top: "rois" input_param { shape { dim: 2 dim: 5 } } }
    layer { name: "pool" type: "ROIPooling" bottom: "conv1" bottom: "rois" top: "pool"
      roi_pooling_param { pooled_h: 2 pooled_w: 2 } }
    layer { name: "ip3" type: "InnerProduct" bottom: "table" top: "ip3" inner_product_param { num_output: 2 } }
    """
    old, notes = net(text, TAIL.replace("X", "pool")), list[str]()
    new = insert(Model(old), "*", note=notes.append).net
    added = {layer.name for layer in new.layer} - {layer.name for layer in old.layer}
    assert added == {"bn_data", "bn_conv1", "bn_table", "bn_pool"}
    assert 'left words: "table" takes no gradient of it, as of labels, indices and regions' in notes
    assert "bn_words" in {layer.name for layer in insert(Model(old), "words").net.layer}, "by its name"


@pytest.mark.parametrize("form", ["merged", "split"])
@pytest.mark.parametrize("kind", ["InnerProduct", "Deconvolution", "square"])
def test_a_decoder_with_the_weight_of_its_encoder_has_a_normalisation_of_its_own(kind: str, form: str) -> None:
    shape, size = ("dim: 4", 4) if kind == "square" else ("dim: 5 dim: 6 dim: 6", 5)
    layers = []
    for name, bottom, outputs, way in (
        ("up", "data", size if kind == "square" else 3, ""),
        ("down", "up", size, "transpose: true"),
    ):
        own = f'layer {{ name: "{name}" bottom: "{bottom}" top: "{name}" param {{ name: "w" }} '
        if kind == "Deconvolution":
            own += f'type: "{kind if way else "Convolution"}" convolution_param {{ kernel_size: 3 '
        else:
            own += f'type: "InnerProduct" inner_product_param {{ {way} '
            outputs = 180 if way and kind != "square" else outputs
        layers.append(f'{own} num_output: {outputs} weight_filler {{ type: "xavier" }} }} }}')
    text = f'layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 5 {shape} }} }} }}' + "".join(
        layers
    )
    old = trained(parse_text(text + TAIL.replace("X", "down"), pb.NetParameter()))
    old.arrays["down"][0] = old.arrays["up"][0]
    new = insert(old, "up,down", form=form)
    names = [
        {p.name for layer in new.net.layer if "_" + name in layer.name for p in layer.param} for name in ("up", "down")
    ]
    assert names[0] & names[1] == {""}
    assert max(d.relative for d in prove(old, new, (TEST,), 3)) < 1e-5


def test_a_bias_stays_that_layers_of_different_weights_share() -> None:
    """Their means differ, so that one shift in its place could not cancel both."""
    param = 'param {{ name: "{}" }} param {{ name: "b" }}'
    two = CONV.replace("PARAM", param.format("w")) + CONV.replace("PARAM", param.format("")).replace(
        '"conv1"', '"conv2"'
    )
    text = HEAD + two + TAIL.replace("X", "conv1") + TAIL.replace("X", "conv2").replace('"ip"', '"ip2"')
    old = trained(parse_text(text, pb.NetParameter()))
    old.arrays["conv2"][1] = old.arrays["conv1"][1]
    notes: list[str] = []
    new = insert(old, "conv*", note=notes.append)
    assert 'conv1: the bias stays: "conv2" shares it and has another weight' in notes
    assert [n.name for n in new.net.layer if "conv" in n.name and has_bias(n)] == ["conv1", "conv2"]
    assert max(d.relative for d in prove(old, new, (TEST,), 3)) < 1e-6


@pytest.mark.parametrize("kind", ["GroupNorm", "LayerNorm", "InstanceNorm", "BatchRenorm", "SyncBN", "layer_norm"])
def test_other_types(kind: str) -> None:
    fields = {"group_norm_param": {"num_groups": 3}} if kind == "GroupNorm" else {}
    new = insert(Model(net(RELU, TAIL)), type=kind, fields=fields).net
    run = Net(new, TRAIN, engine="numpy", seed=1)
    run.run_forward()
    names = [layer.name for layer in new.layer]
    assert names[2] in ("bn_conv1", "norm_conv1")
    learned = [b for n in names if n.startswith(("bn", "norm", "scale")) for b in run.params[n]]
    assert any(b.shape[:1] == (6,) for b in learned)
    assert new.layer[1].convolution_param.bias_term == (kind in ("GroupNorm", "LayerNorm", "layer_norm"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"after": "convolutoin"}, 'no layer of the name or type "convolutoin" (did you mean "Convolution"?)'),
        ({"type": "GroupNom"}, 'did you mean "GroupNorm"?'),
        ({"type": "Pooling"}, '"Pooling" is no type that can be inserted'),
        ({"type": "BN", "form": "split"}, "a type or a form, not both"),
        ({"form": "mergd"}, 'form is one of merged, split, got "mergd" (did you mean "merged"?)'),
        ({"place": "before"}, "place is one of before_activation, after_activation"),
        ({"fields": {"batch_norm_param": {"epsilon": 1}}}, 'BatchNormParameter has no field "epsilon"'),
        ({"fields": {"batch_norm_param": {"eps": "x"}}}, "BN.batch_norm_param: "),
        ({"after": "inner_product"}, "no layer is left"),
        ({"after": "data"}, None),
    ],
)
def test_wrong_arguments(arguments: dict[str, object], message: str | None) -> None:
    if message is None:
        assert "bn_data" in {layer.name for layer in insert(Model(net(RELU, TAIL)), **arguments).net.layer}  # type: ignore[arg-type]
        return
    with pytest.raises(UsageError) as caught:
        insert(Model(net(RELU, TAIL)), **arguments)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_names_are_free() -> None:
    old = net(RELU, TAIL)
    old.layer[2].name = "bn_conv1"
    new = insert(Model(old), form="split").net
    assert [layer.name for layer in new.layer[2:4]] == ["bn_conv1_2", "scale_conv1_2"]


def test_a_type_with_an_activation_of_its_own_takes_the_place_of_the_activation() -> None:
    fields = {"evo_norm_s0_param": {"num_groups": 2}}
    new = insert(Model(net(RELU, TAIL)), type="EvoNormS0", fields=fields).net
    assert [layer.name for layer in new.layer] == ["data", "conv1", "norm_conv1", "ip"]
    out = RELU.replace('top: "X"', 'top: "r"')
    new = insert(Model(net(out, TAIL.replace('bottom: "X"', 'bottom: "r"'))), type="frn").net
    assert shape(new) == [("norm_conv1", ["conv1"], ["conv1"]), ("ip", ["conv1"], ["ip"])]
    Net(new, TRAIN, engine="numpy", seed=1).run_forward()
    kept = insert(Model(net(RELU, TAIL)), type="FRN", keep_activation=True).net
    assert "relu" in {layer.name for layer in kept.layer}


@pytest.mark.parametrize("form", ["merged", "split"])
def test_noise_goes_behind_the_whole_normalisation(form: str) -> None:
    normalised = insert(Model(net(RELU, TAIL)), form=form)
    new = insert(normalised, "bn_conv1", type="NoisyBN").net
    end = "bn_conv1" if form == "merged" else "scale_conv1"
    names = [layer.name for layer in new.layer]
    assert names[names.index(end) + 1] == "noisybn_bn_conv1"
    assert list(new.layer[names.index("relu")].bottom) == ["noisybn_bn_conv1"]
    Net(new, TRAIN, engine="numpy", seed=1).run_forward()
    assert new.layer[1] == normalised.net.layer[1], "fillers stay: nothing is normalised that was not before"


def normalising_types() -> list[str]:
    return [name for name in layer_types() if is_normalisation(pb.LayerParameter(type=name))]


@pytest.mark.parametrize("kind", normalising_types())
def test_every_type_can_be_inserted_frozen_and_removed(kind: str) -> None:
    """Also types that come later: the net runs, gamma and the like can be frozen, and nothing of it is left."""
    params = {f.name for f in pb.LayerParameter.DESCRIPTOR.fields}
    own = next(s for s in class_of(pb.LayerParameter(type=kind)).settings if s in params)
    groups = "num_groups" in getattr(pb.LayerParameter(), own).DESCRIPTOR.fields_by_name
    fields = {own: {"num_groups": 3}} if groups else {}
    new = insert(Model(net(RELU, TAIL)), type=kind, fields=fields)
    frozen = freeze(new, all_but="inner_product").net
    run = Net(frozen, TRAIN, engine="numpy", seed=1)
    run.run_forward()
    learning = {node.name for node in run.nodes if any(node.layer.param_propagate_down)}
    assert learning == {"ip"}
    name = next(layer.name for layer in new.net.layer if layer.name in ("bn_conv1", "norm_conv1"))
    assert not {name, "scale_conv1"} & {layer.name for layer in remove(new, name).net.layer}


def test_a_deep_net_without_statistics_runs() -> None:
    """In TEST each normalisation with statistics of 0 multiplies by 316: an overflow there is no fault of the net."""
    layers = ['layer { name: "x0" type: "DummyData" top: "x0" dummy_data_param { shape { dim: 3 dim: 2 }']
    layers[0] += ' data_filler { type: "gaussian" } } }'
    layers += [
        f'layer {{ name: "x{i}" type: "InnerProduct" bottom: "x{i - 1}" top: "x{i}" '
        'inner_product_param { num_output: 2 weight_filler { type: "msra" } } }'
        for i in range(1, 200)
    ]
    new = insert(Model(parse_text("\n".join(layers), pb.NetParameter())), "inner_product")
    with np.errstate(over="ignore", invalid="ignore"):  # as the command line does
        assert check_runs(new) == ["TRAIN", "TEST"]


def test_a_layer_that_makes_a_single_number_cannot_be_normalised() -> None:
    score = 'layer { name: "sum" type: "Reduction" bottom: "ip" top: "sum" }'
    with pytest.raises(
        UsageError, match=r'layer "sum" .Reduction.: makes a single number: no normalisation can follow'
    ):
        insert(trained(net(TAIL, score)), "sum")
