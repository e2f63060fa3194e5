"""Surgery on nets whose phases and stages differ: what is written is right in each of them."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.errors import NumericError, PrototxtError, UsageError
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.proto.text import parse_text
from dragon.surgery.add import add
from dragon.surgery.builds import check_builds, prove_others
from dragon.surgery.insert import insert
from dragon.surgery.lint import lint
from dragon.surgery.model import Model
from dragon.surgery.remove import remove
from tests.surgery.helpers import CONV, HEAD, trained

CLIP = 'layer { name: "clip" type: "KIND" bottom: "conv1" top: "conv1" include { phase: PHASE } }\n'
IP = """layer { name: "ip" type: "InnerProduct" bottom: "conv1" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
"""
BRANCH = 'layer { name: "NAME" type: "Convolution" bottom: "data" top: "c" include { RULE: "x" } convolution_param { '
BRANCH += 'num_output: 4 kernel_size: 1 bias_term: BIAS weight_filler { type: "msra" } } }\n'
LAST = (
    'layer { name: "last" type: "Convolution" bottom: "c" top: "last" convolution_param { num_output: 2 kernel_size: 1 '
)
LAST += 'weight_filler { type: "msra" } } }\n'
NORM = 'layer { name: "bn" type: "BN" bottom: "c" top: "c" }\n'
RELU = 'layer { name: "relu" type: "ReLU" bottom: "c" top: "c" }\n'


def branches(*middle: str, bias: str = "true") -> pb.NetParameter:
    """Two convolutions of which stage x has one and all other nets the other."""
    pair = (("a", "stage"), ("b", "not_stage"))
    each = [BRANCH.replace("NAME", name).replace("RULE", rule).replace("BIAS", bias) for name, rule in pair]
    return parse_text("".join([HEAD, *each, *middle, LAST]), pb.NetParameter())


def build_all(net: pb.NetParameter) -> None:
    for phase in (TRAIN, TEST):
        for stages in ([], ["x"]):
            made = Net(net, phase, stages=stages, engine="numpy", seed=1)
            made.run_forward()
            made.close()


def shown(net: pb.NetParameter) -> list[tuple[str, str, str]]:
    return [(layer.name, layer.bottom[0], layer.top[0]) for layer in net.layer[1:]]


@pytest.mark.parametrize(("kind", "phase"), [("ReLU", "TEST"), ("Dropout", "TRAIN"), ("Dropout", "TEST")])
def test_behind_a_layer_in_place_of_one_phase(kind: str, phase: str) -> None:
    old = parse_text(HEAD + CONV + CLIP.replace("KIND", kind).replace("PHASE", phase) + IP, pb.NetParameter())
    for model in (Model(old), trained(old)):
        new = insert(model, "clip").net
        assert ("bn_clip", "conv1", "conv1") in shown(new)
        build_all(new)


def test_a_relu_of_training_alone_needs_its_top() -> None:
    old = Model(
        parse_text(HEAD + CONV + CLIP.replace("KIND", "ReLU").replace("PHASE", "TRAIN") + IP, pb.NetParameter())
    )
    with pytest.raises(
        UsageError, match='BN needs a top of its own there, which "ip" cannot read in every phase'
    ) as caught:
        insert(old, "clip")
    assert caught.value.layer is not None
    assert caught.value.layer.name == "clip"
    notes: list[str] = []
    insert(old, "conv*,relu", note=notes.append)
    assert any('left out "clip"' in line for line in notes)
    with pytest.raises(UsageError, match='"ip" read another "conv1" where another phase'):
        add(old, {"type": "Power"}, after="clip")


@pytest.mark.parametrize("stages", [[], ["x"]])
@pytest.mark.parametrize("place", ["before_activation", "after_activation"])
def test_insert_into_branches_of_stages(place: str, stages: list[str]) -> None:
    notes: list[str] = []
    new = insert(Model(branches(RELU), stages=stages), place=place, note=notes.append).net
    build_all(new)
    chosen = ["a"] if stages else ["a", "b"]
    norms = [layer.name for layer in new.layer if layer.type == "BN"]
    if place == "before_activation":
        assert norms == [f"bn_{name}" for name in chosen]
    else:
        assert norms == ["bn_a"], "one behind the activation that both have"
        assert stages or "b: bn_a normalises it too" in notes
    assert not any("no layer with weights follows" in line for line in notes if "last" not in line)
    assert ("left b: it does not run in this level and these stages" in notes) == bool(stages)


def test_with_weights_the_branch_that_runs_is_normalised() -> None:
    net = branches(RELU)
    run = Net(net, TEST, stages=["x"], engine="numpy", seed=3)
    arrays = {name: [np.array(blob.peek()) for blob in blobs] for name, blobs in run.params.items()}
    new = insert(Model(net, arrays, stages=["x"]))
    assert "bn_a" in new.arrays
    assert [layer.name for layer in new.net.layer if layer.type == "BN"] == ["bn_a"]
    with pytest.raises(UsageError, match="does not run in this level and these stages"):
        insert(Model(net, arrays, stages=["x"]), "b")


def test_remove_gives_each_branch_its_bias() -> None:
    new = remove(Model(branches(NORM, RELU, bias="false"))).net
    assert all(layer.convolution_param.bias_term for layer in new.layer[1:3])
    build_all(new)


BLOCK = """layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param { num_output: 4
  kernel_size: 1 weight_filler { type: "msra" } } }
MIDDLE
layer { name: "conv2" type: "Convolution" bottom: "a" top: "conv2" convolution_param { num_output: 4 kernel_size: 1
  weight_filler { type: "msra" } } }
layer { name: "sum" type: "Eltwise" bottom: "conv1" bottom: "conv2" top: "sum" }
"""
TWO = """layer { name: "bn1" type: "BN" bottom: "conv1" top: "a" } layer { name: "bn2" type: "BN" bottom: "a" top: "a" }
layer { name: "relu" type: "ReLU" bottom: "a" top: "a" }"""


@pytest.mark.parametrize("early", [False, True])
def test_two_in_a_row_leave_the_shortcut_as_it_is(early: bool) -> None:
    text = HEAD + BLOCK.replace("MIDDLE", TWO)
    if early:  # the other reader of conv1 comes first
        text = text.replace('layer { name: "bn1"', 'layer { name: "p" type: "Power" bottom: "conv1" top: "p" }\n'
                            'layer { name: "bn1"').replace('bottom: "conv1" bottom: "conv2"',
                                                           'bottom: "p" bottom: "conv2"')  # fmt: skip
    new = remove(Model(parse_text(text, pb.NetParameter()))).net
    assert ("relu", "conv1", "a") in shown(new)
    build_all(new)


def test_a_copy_stays_where_one_phase_works_in_place() -> None:
    """Dropout in TRAIN alone overwrites its bottom, which the shortcut reads: conv2 needs a name in both phases."""
    middle = 'layer { name: "bn" type: "BN" bottom: "conv1" top: "a" }\n'
    middle += 'layer { name: "drop" type: "Dropout" bottom: "a" top: "a" include { phase: TRAIN } }'
    notes: list[str] = []
    new = remove(Model(parse_text(HEAD + BLOCK.replace("MIDDLE", middle), pb.NetParameter())), note=notes.append).net
    assert [layer.type for layer in new.layer if layer.name == "bn"] == ["Power"]
    assert "bn is a Power now, which copies its bottom" in notes
    for phase in (TRAIN, TEST):
        made = Net(new, phase, engine="numpy", seed=2)
        made.run_forward()
        values = {name: made.blobs[name].peek() for name in ("conv1", "conv2", "sum")}
        np.testing.assert_allclose(values["sum"], values["conv1"] + values["conv2"], rtol=1e-6)
        assert (np.array(made.blobs["a"].peek()) == 0).any() == (phase == TRAIN)
        assert not (values["conv1"] == 0).any(), "it is not what the Dropout overwrites"


def test_lint_finds_a_bottom_that_one_phase_lacks() -> None:
    text = HEAD + CONV + CLIP.replace("KIND", "ReLU").replace("PHASE", "TEST").replace('top: "conv1"', 'top: "r"')
    found = lint(Definition(parse_text(text + IP.replace('bottom: "conv1"', 'bottom: "r"'), pb.NetParameter())))
    assert [(one.layer, one.rule, one.message) for one in found] == [
        ("ip", "unknown-bottom",
         'bottom "r" is not made in TRAIN: layer "clip", which makes it, is left out by include { phase: TEST }')
    ]  # fmt: skip
    for_one_phase = HEAD.replace('top: "data" ', 'top: "data" include { phase: TEST } ')
    assert not lint(Definition(parse_text(for_one_phase + CONV + IP, pb.NetParameter())))
    assert not lint(Definition(branches(RELU)))


def test_a_net_that_one_stage_cannot_build_is_refused() -> None:
    old = branches(RELU)
    new = pb.NetParameter()
    new.CopyFrom(old)
    new.layer[1].top[0] = "d"
    with pytest.raises(PrototxtError, match='unknown bottom "c"') as caught:
        check_builds(Model(old), Model(new))
    assert caught.value.task == 'the new net cannot be built in TRAIN, stage "x"'
    check_builds(Model(new), Model(new))
    check_builds(Model(new), Model(old))


def test_other_stages_are_proved_too() -> None:
    """Of two branches the weights of one change: in the state of the model nothing does, in the other it is found."""
    old = trained(branches(NORM, RELU))
    shape = old.arrays["b"][0].shape
    old.arrays["a"] = [np.ones(shape), np.zeros(shape[0])]
    new = old.copy()
    assert prove_others(old, new, (TEST,)) == ['TEST, stage "x"']
    new.arrays["a"][1] = np.ones(shape[0])
    with pytest.raises(NumericError, match=r'in TEST, stage "x".*the nets differ: blob "'):
        prove_others(old, new, (TEST,))
    old.arrays["a"] = [np.ones(3)]
    notes: list[str] = []
    assert prove_others(old, new, (TEST,), note=notes.append) == []
    assert notes[0].startswith('not proved in TEST, stage "x": layer "a"')


def test_a_net_of_one_state_has_no_others() -> None:
    model = trained(parse_text(HEAD + CONV, pb.NetParameter()))
    assert prove_others(model, model, (TRAIN, TEST)) == []
