"""The benchmark of training nets of the zoo: the net that both sides get, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import zoo_training, zoo_training_ours
from dragon.bases.layer import TRAIN
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text, read_net

MODELS = Path(__file__).parents[2] / "models"


def test_layers_are_taken_out() -> None:
    net = parse_text(
        """
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
    layer { name: "d" type: "Dropout" bottom: "x" top: "d" }
    layer { name: "i" type: "Dropout" bottom: "d" top: "d" }
    layer { name: "r" type: "ReLU" bottom: "d" top: "d" }
    layer { name: "ip" type: "InnerProduct" bottom: "d" top: "ip" inner_product_param { num_output: 4 } }
    layer { name: "p" type: "Softmax" bottom: "ip" top: "p" }
    """,
        pb.NetParameter(),
    )
    zoo_training_ours._without(net)
    assert [(layer.name, *layer.bottom) for layer in net.layer] == [("x",), ("r", "x"), ("ip", "d")]
    assert Net(net).outputs == ["ip"]


def test_all_nets_are_of_the_zoo() -> None:
    for name in zoo_training.NETS:
        assert read_net(MODELS / name / "deploy.prototxt").layer[0].type == "Input"


def test_both_sides_get_the_same(tmp_path: Path) -> None:
    """Of Dragon's side the loss and the norm, from the files that PyTorch reads as well."""
    zoo_training_ours.write("mnist_sigmoid_3x100", 5, str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} >= {"net.py", "net.safetensors", "inputs.npz"}
    step = zoo_training_ours.make(str(tmp_path), 1)
    loss, norm = zoo_training_ours.answer()
    assert step() == pytest.approx(loss)
    param = read_net(tmp_path / "net.prototxt")
    param.force_backward = True
    net = Net(param, weights=str(tmp_path / "net.caffemodel"), phase=TRAIN, engine="numpy")
    (name,) = net.inputs
    net.blobs[name].data[...] = np.load(tmp_path / "inputs.npz")[name]
    net.run_forward()
    (output,) = net.outputs
    assert net.blobs[output].data.sum() == pytest.approx(loss, rel=1e-4)
    net.blobs[output].diff[...] = 1
    net.run_backward()
    squares = sum(float(np.square(p.blob.diff, dtype=np.float64).sum()) for p in net.learnable)
    assert squares**0.5 == pytest.approx(norm, rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--net", "lenett"], "unknown net lenett; known are lenet, "),
        (["--threads", "2"], "--clock cpu adds up the times of all threads"),
        (["--net", "lenet", "--peer-python", "/nowhere/python"], "/nowhere/python"),
    ],
)
def test_what_is_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert zoo_training.main(arguments) == 2
    assert message in capsys.readouterr().err
