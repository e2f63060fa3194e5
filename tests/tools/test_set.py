"""--set of the commands that run nets and solvers."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragon.graph.net import Net
from tests.tools.conftest import Dragon


@pytest.fixture
def trained(work: Path, dragon: Dragon) -> str:
    assert dragon("train", "--solver", "solver.prototxt", "--engine", "numpy").code == 0
    return "out/x_iter_20.caffemodel"


def test_train(work: Path, dragon: Dragon) -> None:
    result = dragon(
        "train", "--solver", "solver.prototxt", "--engine", "numpy", "--set", "base_lr=.5", "-set", "max_iter=2",
        "--set=conv.num_output=2", "--set", "snapshot_prefix=out/y",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "lr = 0.5" in result.out + result.err
    net = Net("net.prototxt", phase=0, engine="numpy")
    assert net.params["conv"][0].shape[0] == 4
    net.close()
    assert Path("out/y_iter_2.caffemodel").is_file()


def test_a_changed_training_is_that_of_a_changed_file(work: Path, dragon: Dragon) -> None:
    line = ["train", "--solver", "solver.prototxt", "--engine", "numpy"]
    assert dragon(*line, "--set", "gamma=.25", "--set", "drop.dropout_ratio=.2", "--iterations", "10").code == 0
    changed = Path("out/x_iter_10.caffemodel").read_bytes()
    text = Path("solver.prototxt").read_text().replace("gamma: 0.5", "gamma: 0.25")
    Path("solver.prototxt").write_text(text)
    text = Path("net.prototxt").read_text()
    assert 'type: "Dropout"' in text
    text = text.replace('type: "Dropout"', 'type: "Dropout" dropout_param { dropout_ratio: 0.2 }')
    Path("net.prototxt").write_text(text)
    assert dragon(*line, "--iterations", "10").code == 0
    assert Path("out/x_iter_10.caffemodel").read_bytes() == changed


def test_commands_with_a_net(work: Path, dragon: Dragon, trained: str) -> None:
    net = ["--model", "net.prototxt", "--set", "data.batch_size=3"]
    assert "batches of 3" in dragon("test", *net, "--weights", trained, "--iterations", "1").out
    assert "batches of 3" in dragon("summarize", *net).out
    assert "batches of 3" in dragon("time", *net, "--iterations", "1").out
    assert "batches of 3" in dragon("time", "--solver", "solver.prototxt", *net[2:], "--iterations", "1").out
    assert dragon("probe", *net, "--probe", "weight_norm").code == 0
    assert dragon("probe", "--solver", "solver.prototxt", *net[2:], "--probe", "weight_norm").code == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train --solver solver.prototxt", 'no layer has the name or type "cnov" (did you mean "conv"?)'),
        ("time --solver solver.prototxt", 'no layer has the name or type "cnov" (did you mean "conv"?)'),
        ("probe --solver solver.prototxt --probe weight_norm", 'type "cnov" (did you mean "conv"?)'),
        ("time --model net.prototxt", 'no layer has the name or type "cnov" (did you mean "conv"?)'),
        ("summarize --model net.prototxt", 'no layer has the name or type "cnov" (did you mean "conv"?)'),
        ("test --model net.prototxt --weights w", 'no layer has the name or type "cnov" (did you mean "conv"?)'),
    ],
)
def test_an_unknown_layer(work: Path, dragon: Dragon, line: str, message: str) -> None:
    result = dragon(*line.split(), "--set", "cnov.num_output=3")
    assert result.code == 2
    assert result.error.startswith("--set cnov.num_output=3: ")
    assert message in result.error
