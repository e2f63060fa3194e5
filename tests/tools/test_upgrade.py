"""`dragon upgrade`: nets, solvers and weights of older forms and of dialects, and commands that read a dialect."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.graph.net import Net
from dragon.proto.text import read_net, read_solver
from tests.tools.conftest import Dragon, edit

pytestmark = pytest.mark.usefixtures("reference_engine")


V1 = """
name: "old" input: "data" input_dim: 1 input_dim: 1 input_dim: 4 input_dim: 4
layers { name: "ip" type: INNER_PRODUCT bottom: "data" top: "ip" blobs_lr: 1 blobs_lr: 2
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
"""


def test_upgrade(work: Path, dragon: Dragon) -> None:
    (work / "old.prototxt").write_text(V1)
    result = dragon("upgrade", "old.prototxt", "new.prototxt")
    assert result.out == "new.prototxt: net of 2 layers\n"
    assert [layer.type for layer in read_net("new.prototxt").layer] == ["Input", "InnerProduct"]
    (work / "s.prototxt").write_text('net: "x" base_lr: 1 lr_policy: "fixed" solver_type: ADAM')
    assert dragon("upgrade", "s.prototxt", "s2.prototxt").out == "s2.prototxt: solver\n"
    assert read_solver("s2.prototxt").type == "Adam"
    assert 'type: "InnerProduct"' in dragon("upgrade", "old.prototxt", "-").out
    Net("old.prototxt", TEST, seed=1).save("old.caffemodel")
    assert dragon("upgrade", "old.caffemodel", "new.caffemodel").out == "new.caffemodel: weights of 1 layer\n"
    assert Net("new.prototxt", "new.caffemodel", TEST).params["ip"][0].shape == (2, 16)


def test_upgrade_keeps_comments(work: Path, dragon: Dragon) -> None:
    (work / "old.prototxt").write_text("# mine\n" + V1)
    assert dragon("upgrade", "old.prototxt", "-").out.startswith('# mine\n\nname: "old"\nlayer { name: "input" ')
    (work / "s.prototxt").write_text('# mine\nnet: "x"  # of x\nbase_lr: 1e-3\nsolver_type: ADAM\nnesterov: 1\n# end\n')
    result = dragon("upgrade", "--allow-unknown", "s.prototxt", "-")
    assert result.out == '# mine\nnet: "x"  # of x\nbase_lr: 1e-3\ntype: "Adam"\n# end\n'
    (work / "v0.prototxt").write_text('layers { layer { name: "r" type: "relu" } bottom: "a" top: "b" }  # lost\n')
    result = dragon("upgrade", "v0.prototxt", "-")
    assert result.err.splitlines()[-1] == "v0.prototxt: it is written anew, without its comments"
    assert "#" not in result.out


def test_upgrade_gives_each_warning_once(work: Path, dragon: Dragon) -> None:
    (work / "old.prototxt").write_text(V1 + "input_shape { dim: 1 }")
    (work / "new.prototxt").write_text('layer { name: "x" type: "Input" top: "x" } input_shape { dim: 1 }')
    result = dragon("upgrade", "new.prototxt", "-")
    assert result.err.splitlines() == ["dragon: warning: net input_shape without an input: dropped"]
    edit(work / "net.prototxt", 'type: "BN"', 'type: "BatchNorm" batch_norm_param { decay: 0.9 }')
    edit(work / "net.prototxt", "num_output: 4", "num_output: 4 engine: MKL2017")
    assert [line.split(" ")[1] for line in dragon("upgrade", "net.prototxt", "-").err.splitlines()] == ["warning:"] * 2


def test_upgrade_of_a_dialect(work: Path, dragon: Dragon) -> None:
    """Text and weights of the first Dragon become BN with the same outputs; the solver loses its profile."""
    bn = 'layer { name: "bn" type: "BN" bottom: "conv" top: "conv" }'
    edit(work / "net.prototxt", bn, 'layer{ name:"bn" type:"BatchNorm" bottom:"conv" top:"bn1"}')
    edit(work / "net.prototxt", '"ReLU" bottom: "conv" top: "conv"', '"ReLU" bottom: "bn1" top: "relu"')
    edit(work / "net.prototxt", '"Dropout" bottom: "conv" top: "conv"', '"Dropout" bottom: "relu" top: "drop"')
    edit(work / "net.prototxt", '"InnerProduct" bottom: "conv"', '"InnerProduct" bottom: "drop"')
    result = dragon("train", "--solver", "solver.prototxt", "--profile", "dragon-2016", "--iterations", "5")
    assert result.code == 0, result.err
    weights = "out/x_iter_5.caffemodel"
    assert dragon("upgrade", weights, "new.caffemodel").out == "new.caffemodel: weights of 3 layers\n"
    assert dragon("upgrade", "--profile", "dragon-2016", weights, "new.h5").code == 0
    assert dragon("upgrade", "--profile", "dragon-2016", "net.prototxt", "new.prototxt").code == 0
    assert 'type:"BN"' in (work / "new.prototxt").read_text()
    scores = [
        dragon("test", "--model", model, "--weights", of, "--iterations", "2", *flags).out.splitlines()[3:]
        for model, of, *flags in (
            ("net.prototxt", weights, "--profile", "dragon-2016"),
            ("new.prototxt", "new.caffemodel"),
            ("new.prototxt", "new.h5"),
        )
    ]
    assert scores[0] == scores[1] == scores[2]
    assert any("by global" in line for line in scores[0])
    (work / "solver.prototxt").write_text('profile: "dragon-2016"\n' + (work / "solver.prototxt").read_text())
    result = dragon("upgrade", "solver.prototxt", "new_solver.prototxt")
    assert result.err == "net.prototxt is to be upgraded too: dragon upgrade --profile dragon-2016\n"
    assert "profile" not in (work / "new_solver.prototxt").read_text()


def test_commands_read_a_dialect(work: Path, dragon: Dragon) -> None:
    edit(work / "net.prototxt", 'type: "BN"', 'type: "BatchNorm"')
    flags = ("--profile", "dragon-2016")
    for command in (
        "summarize --model net.prototxt",
        "time --model net.prototxt --iterations 1",
        "time --solver solver.prototxt --iterations 1",
        "lint net.prototxt",
        "draw net.prototxt net.dot",
        "split --model net.prototxt --out-model split.prototxt",
    ):
        result = dragon(*command.split(), *flags)
        assert result.code == 0, (command, result.err)
    assert [layer.type for layer in read_net("split.prototxt").layer][3:5] == ["BatchNorm", "Scale"]
    net = Net("net.prototxt", phase=TRAIN, profile="dragon-2016", seed=1)
    net.run_forward()
    net.save("w.caffemodel")
    net.close()
    common = ("--model", "net.prototxt", "--weights", "w.caffemodel", *flags)
    assert dragon("recalibrate", *common, "--out-weights", "r.caffemodel").code == 0
    assert len(Net("net.prototxt", phase=TEST, weights="r.caffemodel", profile="dragon-2016").params["bn"]) == 4
    result = dragon("fold", *common, "--out-model", "f.prototxt", "--out-weights", "f.h5")
    assert result.out.splitlines()[0] == "folded bn into conv"
    assert "bn" not in Net("f.prototxt", "f.h5", TEST).params
    assert dragon("summarize", "--model", "net.prototxt", "--profile", "dragon2016").error.startswith(
        'unknown profile "dragon2016" (did you mean "dragon-2016"?)'
    )


def test_upgrade_of_what_is_neither(work: Path, dragon: Dragon) -> None:
    (work / "x.prototxt").write_text("nonsense { }")
    assert dragon("upgrade", "x.prototxt", "y.prototxt").error.startswith("x.prototxt:1:1: ")
    (work / "x.prototxt").write_text('base_lr: 1\nlr_polic: "fixed"')
    assert "x.prototxt:2:1" in dragon("upgrade", "x.prototxt", "y.prototxt").error
    assert "cannot be read" in dragon("upgrade", "missing", "y").error
    (work / "x.prototxt").write_text("# nothing yet\n")
    assert dragon("upgrade", "x.prototxt", "y.prototxt").error == "x.prototxt: it has no layers and no settings"
    assert not (work / "y.prototxt").exists()


@pytest.mark.parametrize(
    ("program", "source", "out"),
    [
        ("upgrade_net_proto_text", "old.prototxt", "n.prototxt"),
        ("upgrade_net_proto_binary", "net.caffemodel", "n.caffemodel"),
        ("upgrade_solver_proto_text", "solver.prototxt", "s.prototxt"),
    ],
)
def test_upgrade_under_the_names_of_caffe(trained: Path, dragon: Dragon, program: str, source: str, out: str) -> None:
    (trained / "old.prototxt").write_text(V1)
    result = dragon(program, source, out)
    assert result.code == 0, result.err
    assert (trained / out).exists()


def test_upgrade_without_unknown_fields(work: Path, dragon: Dragon) -> None:
    """What comes out is read by the commands that have no such flag."""
    edit(work / "net.prototxt", "num_output: 10", "num_output: 10 of_a_fork { x: 1 }")
    refused = dragon("upgrade", "net.prototxt", "new.prototxt")
    assert 'no field "of_a_fork"' in refused.error
    result = dragon("upgrade", "net.prototxt", "new.prototxt", "--allow-unknown")
    assert (result.code, result.out) == (0, "new.prototxt: net of 9 layers\n")
    assert result.err.count('has no field "of_a_fork"') == 1
    assert dragon("lint", "new.prototxt").code == 0
