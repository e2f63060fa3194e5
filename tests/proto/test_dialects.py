"""Dialects: where they are named, what they mark, the numbers of their files, doubtful nets."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.errors import PrototxtError, WeightsError
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.binary_net import read_binary_net
from dragon.proto.renumber import encode_layer
from dragon.proto.text import format_text, parse_text, read_net, read_solver_definition
from dragon.solver.solver import Solver
from tests.proto.test_profiles import field, fork_file

LAYER = 'layer{ name:"bn1" type:"BatchNorm" bottom:"conv1" top:"bn1" batch_norm_param { decay: 0.9 eps: 0.01 } }'
NET = f"""
name: "n"
layer {{ name: "data" type: "Input" top: "conv1" input_param {{ shape {{ dim: 4 dim: 3 }} }} }}
{LAYER}
layer {{ name: "ip" type: "InnerProduct" bottom: "bn1" top: "ip" inner_product_param {{ num_output: 2 }} }}
layer {{ name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "ip" top: "loss" }}
"""
FIRST = 'profile: "dragon-2016"\n'


def written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def blobs(net: Net) -> int:
    return len(net.params["bn1"])


def test_the_net_the_caller_and_the_layer_name_it(tmp_path: Path) -> None:
    plain, own = written(tmp_path / "a.prototxt", NET), written(tmp_path / "b.prototxt", FIRST + NET)
    assert blobs(Net(plain, TRAIN)) == 3
    assert blobs(Net(plain, phase=TRAIN, profile="dragon-2016")) == 4
    assert blobs(Net(own, TRAIN)) == blobs(Net(own, phase=TRAIN, profile="dragon-2016")) == 4
    assert blobs(Net(parse_text(NET, pb.NetParameter()), phase=TRAIN, profile="dragon-2016")) == 4
    marked = NET.replace('bottom:"conv1"', f'bottom:"conv1" {FIRST}')
    assert blobs(Net(parse_text(marked, pb.NetParameter()), TRAIN)) == 4


def test_a_solver_names_it_for_its_nets(tmp_path: Path) -> None:
    written(tmp_path / "net.prototxt", NET)
    settings = 'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 1 test_iter: 1 test_interval: 1'
    path = written(tmp_path / "solver.prototxt", FIRST + settings)
    solver = Solver(path)
    assert [blobs(net) for net in (solver.net, *solver.test_nets)] == [4, 4]
    assert blobs(Solver(written(tmp_path / "s2.prototxt", settings), profile="dragon-2016").net) == 4
    assert read_solver_definition(path, profile="dragon-2016").message.profile == "dragon-2016"


@pytest.mark.parametrize("text", [FIRST + NET, NET.replace("layer{", 'profile: "dragon-2016" layer{', 1)])
def test_two_dialects_for_one_net(tmp_path: Path, text: str) -> None:
    with pytest.raises(PrototxtError, match=r'net\.prototxt: it says profile: "dragon-2016", not "neopenx"'):
        Net(written(tmp_path / "net.prototxt", text), phase=TRAIN, profile="neopenx")


def test_an_unknown_one(tmp_path: Path) -> None:
    with pytest.raises(
        PrototxtError, match=r'net\.prototxt: unknown profile "dragon-2015" \(did you mean "dragon-2016"'
    ):
        Net(written(tmp_path / "net.prototxt", NET), phase=TRAIN, profile="dragon-2015")
    with pytest.raises(PrototxtError, match='unknown profile "x"'):
        read_net(written(tmp_path / "net.prototxt", 'profile: "x"\n' + NET))


def test_profiles_that_are_no_dialects_leave_text_as_it_is(tmp_path: Path) -> None:
    path = written(tmp_path / "net.prototxt", NET)
    assert read_net(path, profile="intel") == read_net(path)


def test_text_is_written_back(tmp_path: Path) -> None:
    net = read_net(written(tmp_path / "net.prototxt", NET), profile="dragon-2016")
    assert [layer.profile for layer in net.layer] == ["", "dragon-2016", "", ""]
    assert read_net(written(tmp_path / "again.prototxt", format_text(net))) == net


# -- files ---------------------------------------------------------------------------------------------------
def test_numbers_of_the_first_dragon(tmp_path: Path) -> None:
    """use_global_stats = 1, decay = 3, eps = 2: as its message has them, which BVLC gives other meanings."""
    message = field(1, 0) + field(3, 0.75) + field(2, 0.125)
    path = fork_file(tmp_path / "w.caffemodel", ("BatchNorm", field(139, message)))
    (layer,) = read_binary_net(path, "dragon-2016").layer
    assert layer.batch_norm_param == pb.BatchNormParameter(use_global_stats=False, decay=0.75, eps=0.125)
    assert layer.profile == "dragon-2016"
    layer.ClearField("profile")
    assert message not in encode_layer(layer)
    layer.profile = "dragon-2016"
    assert field(1, 0) + field(2, 0.125) + field(3, 0.75) in encode_layer(layer)


def test_weights_are_written_and_read_back(tmp_path: Path) -> None:
    model = written(tmp_path / "net.prototxt", NET)
    net = Net(model, phase=TRAIN, profile="dragon-2016", engine="numpy")
    net.forward(conv1=np.random.default_rng(0).standard_normal((4, 3)))
    for name in ("w.caffemodel", "w.h5"):
        net.save(tmp_path / name)
        again = Net(model, phase=TEST, profile="dragon-2016", weights=str(tmp_path / name))
        for mine, its in zip(again.params["bn1"], net.params["bn1"], strict=True):
            np.testing.assert_array_equal(mine.data, its.data)
    stored = read_binary_net(tmp_path / "w.caffemodel")
    assert stored == read_binary_net(tmp_path / "w.caffemodel", "dragon-2016")
    assert stored.profile == "dragon-2016"
    assert stored.layer[1] == net.param.layer[1]
    with pytest.raises(WeightsError, match='it says profile: "dragon-2016", not "neopenx"'):
        read_binary_net(tmp_path / "w.caffemodel", "neopenx")
    with pytest.raises(WeightsError, match="the first Dragon's has four: profile dragon-2016"):
        Net(model, str(tmp_path / "w.caffemodel"), TEST)
    today = parse_text(Path(model).read_text().replace('"BatchNorm"', '"BN"'), pb.NetParameter())
    with pytest.raises(WeightsError, match="turned into one of today by dragon upgrade --profile dragon-2016"):
        Net(today, str(tmp_path / "w.caffemodel"), TEST)


def test_layers_of_today_beside_those_of_a_dialect_keep_their_numbers(tmp_path: Path) -> None:
    text = FIRST + NET.replace(
        'type: "InnerProduct"', 'type: "BN" batch_norm_param { eps: 0.5 moving_average_fraction: 0.75 }'
    )
    text = text.replace("inner_product_param { num_output: 2 }", "")
    net = Net(read_net(written(tmp_path / "net.prototxt", text)), TRAIN, engine="numpy")
    net.save(tmp_path / "w.caffemodel")
    assert list(read_binary_net(tmp_path / "w.caffemodel").layer)[1:3] == list(net.param.layer)[1:3]


@pytest.mark.parametrize(
    ("head", "layer", "words"),
    [
        ("dragon-9", "dragon-2016", 'unknown profile "dragon-9"'),
        ("dragon-2016", "dragon-9", 'damaged: a layer of profile "dragon-9"'),
        ("dragon-2016", "neopenx", 'it says profile: "neopenx", its net "dragon-2016"'),
    ],
)
def test_files_with_other_profiles(tmp_path: Path, head: str, layer: str, words: str) -> None:
    path = tmp_path / "w.caffemodel"
    layer_bytes = field(1, "bn") + field(2, "BatchNorm") + field(2016, layer)
    path.write_bytes(field(1001, head) + field(100, layer_bytes))
    with pytest.raises(WeightsError) as caught:
        read_binary_net(path)
    assert str(caught.value).startswith(str(path))
    assert words in str(caught.value)


def test_a_field_that_the_dialect_has_no_number_for() -> None:
    layer = pb.LayerParameter(name="bn", type="BatchNorm", profile="dragon-2016")
    layer.batch_norm_param.moving_average_fraction = 0.5
    with pytest.raises(WeightsError, match=r'"bn".*dragon-2016 has no field "moving_average_fraction"'):
        encode_layer(layer)


# -- nets that do not name it --------------------------------------------------------------------------------
def test_decay_without_a_profile_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    second = LAYER.replace("bn1", "bn2").replace('bottom:"conv1"', 'bottom:"bn1"')
    path = written(tmp_path / "net.prototxt", NET.replace(LAYER, LAYER + "\n" + second))
    with caplog.at_level(logging.WARNING, "dragon"):
        Net(path, TRAIN)
        Net(path, TEST)
    (line,) = [m for m in caplog.messages if "dragon-2016" in m]
    assert line.startswith(f'{path}:4: layer "bn1" (BatchNorm) sets decay without average: ')
    assert line.endswith("profile dragon-2016, and 1 more such layer")


@pytest.mark.parametrize("old", ["decay: 0.9", "decay: 0.9 average: EMA"])
def test_nets_that_say_what_they_mean(tmp_path: Path, caplog: pytest.LogCaptureFixture, old: str) -> None:
    text = FIRST + NET if old == "decay: 0.9" else NET.replace("decay: 0.9", old)
    Net(written(tmp_path / "net.prototxt", text), TRAIN)
    assert not [m for m in caplog.messages if "profile dragon-2016" in m]
