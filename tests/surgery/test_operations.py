"""The registry of operations: arguments are checked, and each does what its name says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.errors import UsageError
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.surgery.model import Model
from dragon.surgery.operations import apply, apply_all, operations
from dragon.surgery.prove import prove
from tests.surgery.helpers import CONV, FORMS, HEAD, definition, trained
from tests.surgery.helpers import TAIL as REST
from tests.surgery.test_insert import RELU, TAIL, net


def changed(name: str, arguments: Any, old: pb.NetParameter | None = None) -> pb.NetParameter:
    lines: list[str] = []
    before = old if old is not None else definition("split")
    new = apply(Model(before), name, arguments, lines.append).net
    assert lines, "each operation says what it did"
    assert new != before
    return new


def test_the_names() -> None:
    assert set(operations()) == {
        "insert", "add", "ensemble", "remove", "merge", "split", "initialise", "freeze", "bias",
        "remove_bias_before_bn", "replace_type", "move", "set",
    }  # fmt: skip
    for operation in operations().values():
        assert operation.summary
        assert operation.summary.isprintable()


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("insrt", {}, 'there is no operation "insrt" (did you mean "insert"?)'),
        ("insert", {"affter": "conv1"}, 'insert has no argument "affter" (did you mean "after"?); it takes after,'),
        ("insert", {"keep_init": "yes"}, "insert: keep_init is true or false, got 'yes'"),
        ("insert", {"place": 3}, "insert: place is a text, got 3"),
        ("insert", [1], "insert takes arguments by name, got [1]"),
        ("merge", {"caffe": True}, 'merge has no argument "caffe"; it takes none'),
        ("insert", {"after": [1]}, "expected names or types of layers, got [1]"),
        ("initialise", {}, "initialise takes names or types of layers"),
        ("initialise", {"relu": {"type": "msra"}}, 'layer "relu" (ReLU): has no filler'),
        ("initialise", {"conv1": {"bais": {"value": 1}}}, 'has no filler "bais" (did you mean "bias"?)'),
        ("initialise", {"conv1": {"tpe": "msra"}}, 'FillerParameter has no field "tpe" (did you mean "type"?)'),
        ("initialise", {"conv1": 3}, 'initialise "conv1": expected fields with their values, got 3'),
        ("freeze", {}, "freeze takes either layers or all_but"),
        ("bias", {}, "bias takes drop or add"),
        ("bias", {"add": "relu"}, 'layer "relu" (ReLU): has no bias of its own'),
        ("replace_type", {"bn1": "GropuNorm"}, 'did you mean "GroupNorm"?'),
        ("replace_type", {"bn1": {"group_norm_param": {}}}, 'replace_type "bn1": the new type is missing'),
        ("initialise", {"conv1": {"type": "msar"}}, 'unknown filler type "msar" (did you mean "msra"?)'),
        ("set", {"bn1": {"batch_norm_param": {"eps": [1]}}}, 'bn1.batch_norm_param: "eps" is a number, got [1]'),
        ("set", {"bn1": {"batch_norm_param": {"eps": True}}}, '"eps" is a number, got True'),
        ("set", {"conv1": {"convolution_param": {"num_output": -1}}}, "is a whole number from 0 to 4294967295, got -1"),
        ("set", {"conv1": {"convolution_param": {"bias_term": "no"}}}, "\"bias_term\" is true or false, got 'no'"),
        ("set", {"conv1": {"param": [{}, {"lr_mlt": 2}]}}, 'param[1]: ParamSpec has no field "lr_mlt" (did you mean'),
        ("set", {"conv1": {"include": [{"phase": "TRIAN"}]}}, "\"phase\" is one of TRAIN, TEST, got 'TRIAN'"),
        ("set", {"conv1": {"batch_norm_param": {"eps": 1}}}, "conv1: Convolution does not read batch_norm_param"),
        ("insert", {"after": "ip", "fields": {"bn_params": {}}}, 'BN: LayerParameter has no field "bn_params"'),
        ("insert", {"after": "ip", "fields": {"scale_param": {"axis": 1}}}, "BN: BN does not read scale_param"),
        ("replace_type", {"bn1": {"type": "BN", "lrn_param": {}}}, "BN: BN does not read lrn_param"),
        ("move", {"place": "behind"}, "place is one of"),
    ],
)  # fmt: skip
def test_wrong_arguments(name: str, arguments: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        apply(Model(definition("split")), name, arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "arguments", "line"),
    [
        ("initialise", {"*": {"weight": {"type": "msra"}}},
         'left out "data", "relu", "drop", "gone" (has no filler), "bn1" (has no filler "weight")'),
        ("bias", {"drop": "*"}, 'left out "data", "bn1", "scale1", "relu", "drop", "gone" (has no bias of its own)'),
        ("add", {"before": "*", "layer": {"type": "Dropout"}},
         'left out "data" (has no bottom): nothing can stand before it'),
        ("add", {"after": "*", "layer": {"type": "Dropout"}},
         'left out "gone" (has no top): nothing can follow it'),
    ],
)  # fmt: skip
def test_a_pattern_leaves_out_what_an_operation_cannot_take(name: str, arguments: Any, line: str) -> None:
    old = definition("split")
    old.layer.append(pb.LayerParameter(name="gone", type="Silence", bottom=["ip"]))
    lines: list[str] = []
    new = apply(Model(old), name, arguments, lines.append).net
    assert new != old
    assert line in lines


def test_lists() -> None:
    model = apply_all(Model(net(RELU, TAIL)), ["insert", {"freeze": {"all_but": ["bn"]}}])
    assert [p.lr_mult for p in model.net.layer[1].param] == [0]
    assert not any(p.lr_mult == 0 for p in model.net.layer[2].param)
    for steps, message in (
        ([{"insert": {}}, {"mrege": {}}], 'step 2 of the surgery, mrege: there is no operation "mrege"'),
        ([{"insert": {}, "merge": {}}], "step 1 of the surgery: expected one operation"),
        ({"insert": {}}, "surgery is a list"),
    ):
        with pytest.raises(UsageError) as caught:
            apply_all(Model(net(RELU, TAIL)), steps)  # type: ignore[arg-type]
        assert message in str(caught.value)


def test_initialise() -> None:
    new = changed("initialise", {"convolution": {"type": "msra"}, "ip": {"bias": {"value": 0.25}}})
    assert new.layer[1].convolution_param.weight_filler == pb.FillerParameter(type="msra")
    assert new.layer[-2].inner_product_param.bias_filler.value == 0.25
    scale = changed("initialise", {"scale": {"value": 0.5}}).layer[3].scale_param
    assert scale.filler == pb.FillerParameter(value=0.5)
    assert changed("initialise", {"bn": {"scale": {"value": 2}}}, definition("merged")).layer[
        2
    ].batch_norm_param.scale_filler == pb.FillerParameter(value=2)


@pytest.mark.parametrize("form", FORMS)
def test_only_bn_learns(form: str) -> None:
    """All but gamma and beta is frozen, in every form, whatever the form."""
    old = definition(form)
    new = apply(
        Model(old), "freeze", {"all_but": [w for w in ("bn1", "scale1") if any(x.name == w for x in old.layer)]}
    )
    net = Net(new.net, TRAIN, engine="numpy", seed=1)
    learning = {node.name for node in net.nodes if any(node.layer.param_propagate_down)}
    assert learning == {node.name for node in net.nodes if node.name in ("bn1", "scale1")} - {
        node.name for node in net.nodes if node.name == "bn1" and not form.startswith(("merged", "scale_bias"))
    }


def test_freeze_by_name() -> None:
    new = changed("freeze", {"layers": "conv*"})
    assert [p.lr_mult for p in new.layer[1].param] == [0, 0]
    assert not new.layer[-2].param


@pytest.mark.parametrize("form", FORMS)
def test_a_bias_before_a_normalisation_is_taken_off_its_running_mean(form: str) -> None:
    old = trained(definition(form))
    old.arrays["conv1"][1] = old.arrays["conv1"][1] + np.float32(2)
    new = apply(old, "remove_bias_before_bn")
    assert len(new.arrays["conv1"]) == 1
    differences = {d.blob: d.relative for d in prove(old, new, (TEST,), 2, tolerance=np.inf)}
    assert differences.pop("conv1") > 0.1 or "in place" in form, "without the bias"
    assert max(differences.values()) < 1e-5


@pytest.mark.parametrize(("mode", "needed"), [(pb.BNParameter.INFERENCE, True), (pb.BNParameter.LEARN, False)])
def test_a_bias_before_the_scale_and_shift_of_segnet_is_needed(mode: pb.BNParameter.BNMode, needed: bool) -> None:
    net = definition("merged")
    net.layer[2].ClearField("batch_norm_param")
    net.layer[2].bn_param.bn_mode = mode
    new = apply(Model(net), "remove_bias_before_bn").net
    assert new.layer[1].convolution_param.bias_term == needed


def test_biases() -> None:
    dropped = changed("remove_bias_before_bn", {})
    assert not dropped.layer[1].convolution_param.bias_term
    assert dropped.layer[-2].inner_product_param.bias_term, "nothing normalises it"
    back = changed("bias", {"add": "conv1"}, dropped)
    assert back.layer[1].convolution_param.bias_term
    model = trained(definition("split"))
    less = apply(model, "bias", {"drop": "before_bn"})
    assert len(less.arrays["conv1"]) == 1
    assert len(model.arrays["conv1"]) == 2
    more = apply(less, "bias", {"add": "conv1"})
    assert max(d.relative for d in prove(less, more, (TEST,))) == 0


@pytest.mark.parametrize("steps", [3, 6], ids=["other sizes", "as many steps as outputs"])
def test_a_bias_on_the_last_axis_is_not_that_of_the_channels(steps: int) -> None:
    """The mean of a channel takes the mean of such a bias away, not the bias; one that is named goes all the same."""
    text = f"""
    layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: 5 dim: {steps} dim: 4 }} }} }}
    layer {{ name: "conv1" type: "InnerProduct" bottom: "x" top: "conv1"
      inner_product_param {{ num_output: 6 axis: 2 }} }}
    layer {{ name: "bn1" type: "BN" bottom: "conv1" top: "bn1" }}
    """
    old = trained(parse_text(text, pb.NetParameter()))
    assert apply(old, "remove_bias_before_bn").net == old.net
    named = apply(old, "bias", {"drop": "conv1"})
    assert not named.net.layer[1].inner_product_param.bias_term
    assert all(np.array_equal(a, b) for a, b in zip(named.arrays["bn1"], old.arrays["bn1"], strict=True))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["InstanceNorm", "BN", "BatchNorm", "LayerNorm"])
def test_other_normalisations(form: str, kind: str) -> None:
    old = definition(form)
    new = apply(Model(old), "replace_type", {"bn1": kind}).net
    assert new.layer[2].type == kind
    assert ("Scale" in {layer.type for layer in new.layer}) == (kind == "BatchNorm")
    net = Net(new, TRAIN, engine="numpy", seed=1)
    net.run_forward()
    assert net.blobs["ip"].data.shape == (5, 3)


def test_other_types() -> None:
    new = changed("replace_type", {"relu": {"type": "ELU", "elu_param": {"alpha": 0.5}}})
    assert (new.layer[4].type, new.layer[4].elu_param.alpha) == ("ELU", 0.5)
    kept = changed("replace_type", {"bn1": "LayerNorm"}).layer[2]
    assert [p.lr_mult for p in kept.param] == [2, 3], "gamma and beta learn as before"


@pytest.mark.parametrize("form", ["split", "split in place", "merged"])
def test_move_and_back(form: str) -> None:
    old = definition(form)
    after = changed("move", {"place": "after_activation"}, old)
    types = [layer.type for layer in after.layer]
    assert types.index("ReLU") < types.index("BN" if form == "merged" else "BatchNorm")
    run = Net(after, TRAIN, engine="numpy", seed=1)
    run.run_forward()
    assert abs(float(np.mean(run.blobs["ip"].data))) < 100
    back = changed("move", {"place": "before_activation"}, after)
    assert [layer.type for layer in back.layer] == [layer.type for layer in old.layer]
    with pytest.raises(UsageError, match="without weights"):
        apply(trained(old), "move", {})


def test_a_normalisation_of_one_phase_does_not_move_behind_an_activation_of_both() -> None:
    """Readers in the other phase would find no blob of its name."""
    norm = 'layer { name: "bn1" type: "BN" bottom: "conv1" top: "conv1" include { phase: TRAIN } }\n'
    pair = [CONV.replace('top: "conv1"', f'top: "conv1" include {{ phase: {phase} }}') for phase in ("TRAIN", "TEST")]
    text = HEAD + pair[0] + norm + pair[1] + REST.replace("NAME", "conv1")
    notes: list[str] = []
    with pytest.raises(UsageError, match="no normalisation can move"):
        apply(Model(parse_text(text, pb.NetParameter())), "move", {}, notes.append)
    assert notes == ['left bn1: "relu" is in other phases or stages too']
    mixed = text.replace('type: "ReLU"', 'type: "ReLU" include { phase: TRAIN }')
    with pytest.raises(UsageError, match="no normalisation can move"):
        apply(Model(parse_text(mixed, pb.NetParameter())), "move", {}, notes.append)
    assert notes[1].startswith('left bn1: "ip" read another "conv1" where another phase or stage lacks it')
    inside = mixed.replace('type: "InnerProduct"', 'type: "InnerProduct" include { phase: TRAIN }')
    new = apply(Model(parse_text(inside, pb.NetParameter())), "move", {}, notes.append)
    assert notes[2:] == ["moved bn1"]
    Net(new.net, TRAIN, engine="numpy").run_forward()


def test_set() -> None:
    new = changed(
        "set", {"BatchNorm": {"batch_norm_param": {"eps": 1e-10}}, "relu": {"relu_param": {"negative_slope": 1}}}
    )
    assert new.layer[2].batch_norm_param.eps == np.float32(1e-10)
    assert new.layer[4].relu_param.negative_slope == 1
