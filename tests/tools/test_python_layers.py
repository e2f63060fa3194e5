"""No command runs the code of a Python layer without leave; an exception in one is the user's."""

from __future__ import annotations

import sys
from pathlib import Path

import PIL.Image
import pytest

from dragon.bases.layer import TEST
from dragon.graph.net import Net
from dragon.tools.main import COMMANDS
from tests.tools.conftest import Dragon

CODE = """
from pathlib import Path
Path("it_ran").write_text("")
import dragon
class Own(dragon.Layer):
    def setup(self, bottom, top):
        pass
    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)
    def forward(self, bottom, top):
        {forward}
        top[0].data[...] = bottom[0].data
    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = top[0].diff
"""
NET = """
name: "own"
layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
  shape { dim: 4 dim: 3 dim: 5 dim: 5 } shape { dim: 4 } data_filler { type: "uniform" } data_filler { value: 1 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 2 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "own" type: "Python" bottom: "conv" top: "own" python_param { module: "own_code" layer: "Own" } }
layer { name: "ip" type: "InnerProduct" bottom: "own" top: "ip" inner_product_param { num_output: 3 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
DEPLOY = """
name: "own"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 5 dim: 5 } } }
layer { name: "own" type: "Python" bottom: "data" top: "own" python_param { module: "own_code" layer: "Own" } }
layer { name: "ip" type: "InnerProduct" bottom: "own" top: "ip" inner_product_param { num_output: 3 } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""
SOLVER = 'net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 2 snapshot_prefix: "s" display: 1'
COMPARE = """
name: c
solver: solver.prototxt
seeds: [1]
iterations: 2
variants:
  - {name: a, net: net.prototxt}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_code.py").write_text(CODE.format(forward="pass"))
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_code", raising=False)
    return tmp_path


MODEL = ("--model", "net.prototxt")
RUNS = {
    "train": ("train", "--solver", "solver.prototxt"),
    "time": ("time", *MODEL, "--iterations", "1"),
    "time --solver": ("time", "--solver", "solver.prototxt", "--iterations", "1"),
    "summarize": ("summarize", *MODEL),
    "probe": ("probe", *MODEL, "--probe", "weight_norm"),
    "probe --solver": ("probe", "--solver", "solver.prototxt", "--probe", "gradient_norm", "--iterations", "1"),
}
ON_WEIGHTS = {
    "test": ("test", *MODEL, "--weights", "w.caffemodel", "--iterations", "1"),
    "merge": ("merge", *MODEL, "--weights", "w.caffemodel", "--out-model", "m.prototxt"),
    "bn insert": ("bn", "insert", *MODEL, "--weights", "w.caffemodel", "--after", "ip", "--out-model", "m.prototxt"),
    "bn remove": ("bn", "remove", *MODEL, "--out-model", "m.prototxt"),
    "bn show": ("bn", "show", *MODEL, "--weights", "w.caffemodel", "--batches", "1"),
    "fold": ("fold", *MODEL, "--weights", "w.caffemodel", "--out-model", "m.prototxt"),
    "calibrate": ("calibrate", *MODEL, "--weights", "w.caffemodel", "--iterations", "1"),
    "recalibrate": (
        "recalibrate", *MODEL, "--weights", "w.caffemodel", "--out-weights", "r.caffemodel", "--batches", "1"
    ),
    "extract-features": (
        "extract-features", *MODEL, "--weights", "w.caffemodel", "--blob", "ip", "--out", "f.npz", "--batches", "1"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", [*RUNS, *ON_WEIGHTS])
def test_python_layers_need_leave(folder: Path, dragon: Dragon, name: str) -> None:
    command = {**RUNS, **ON_WEIGHTS}[name]
    if name in ON_WEIGHTS:
        assert dragon(*RUNS["train"], "--allow-python").code == 0
        (folder / "s_iter_2.caffemodel").rename(folder / "w.caffemodel")
        (folder / "it_ran").unlink()
        sys.modules.pop("own_code")
    refused = dragon(*command)
    assert refused.code == 2
    assert "pass --allow-python if you trust it" in refused.error
    assert not (folder / "it_ran").exists()
    allowed = dragon(*command, "--allow-python")
    assert allowed.code == 0, allowed.err
    assert (folder / "it_ran").exists()


@pytest.mark.parametrize("command", ["classify", "detect"])
def test_python_layers_of_nets_for_images_need_leave(folder: Path, dragon: Dragon, command: str) -> None:
    (folder / "net.prototxt").write_text(DEPLOY)
    Net("net.prototxt", phase=TEST, engine="numpy").save("w.caffemodel")
    (folder / "it_ran").unlink()
    sys.modules.pop("own_code")
    PIL.Image.new("RGB", (5, 5)).save("a.png")
    (folder / "w.csv").write_text("filename,ymin,xmin,ymax,xmax\na.png,0,0,4,4\n")
    images = {"classify": "a.png", "detect": "w.csv"}[command]
    words = (command, *MODEL, "--weights", "w.caffemodel", "--engine", "numpy", images)
    assert "pass --allow-python if you trust it" in dragon(*words).error
    assert not (folder / "it_ran").exists()
    allowed = dragon(*words, "--allow-python")
    assert (allowed.code, "a.png" in allowed.out) == (0, True), allowed.err
    assert (folder / "it_ran").exists()


def test_draw_shows_shapes_of_python_layers_with_leave(folder: Path, dragon: Dragon) -> None:
    without = dragon("draw", "net.prototxt", "a.svg")
    assert without.code == 0
    assert without.err.strip().endswith("pass --allow-python if you trust it")
    assert not (folder / "it_ran").exists()
    assert dragon("draw", "net.prototxt", "b.svg", "--allow-python").err == ""
    assert (folder / "it_ran").exists()


def test_every_command_that_makes_nets_is_known_here() -> None:
    """A new command has to be looked at: either it runs no net, or it stands above."""
    no_python = {
        "compare", "data", "layers", "device", "demo", "run", "convert-imageset", "convert-annoset",
        "compute-image-mean", "export", "import", "upgrade", "parse-log", "plot", "lint",
        "split", "completion", "caffe-names", "help", "zoo", "show-data",
    }  # fmt: skip
    others = {"classify", "detect", "draw"}
    assert {name.split()[0] for name in (*RUNS, *ON_WEIGHTS)} | others | no_python == set(COMMANDS)


def test_an_exception_in_a_users_layer_is_shown_as_the_users(folder: Path, dragon: Dragon) -> None:
    (folder / "own_code.py").write_text(CODE.format(forward="raise KeyError('mine')"))
    result = dragon(*RUNS["train"], "--allow-python")
    assert result.code == 2
    assert "fault in Dragon" not in result.err
    lines = result.err.splitlines()
    assert "Traceback (most recent call last), in the layer's own code:" in lines
    assert "    raise KeyError('mine')" in lines
    assert "wiring.py" not in result.err
    assert lines[-1] == f"dragon: error: layer \"own\" (Python): KeyError: 'mine' ({folder}/own_code.py, line 11)"


@pytest.mark.parametrize("command", ["train", "time"])
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("next(iter([]))", "StopIteration"),
        ("raise BrokenPipeError(32, 'Broken pipe')", "BrokenPipeError: [Errno 32] Broken pipe"),
        ("raise EOFError('Ran out of input')", "EOFError: Ran out of input"),
        ("raise type('Own', (Exception,), {'__str__': lambda self: 1 / 0})()", "Own"),
        ("raise type('Own', (Exception,), {'__setattr__': lambda *_: 1 / 0})('frozen')", "Own: frozen"),
    ],
)
def test_odd_exceptions_are_shown_as_the_users_too(
    folder: Path, dragon: Dragon, command: str, code: str, message: str
) -> None:
    """What iterators and pipes raise means something to Python, and some exceptions cannot be written to."""
    (folder / "own_code.py").write_text(CODE.format(forward=code))
    result = dragon(*RUNS[command], "--allow-python")
    assert result.code == 2
    assert result.err.splitlines()[-1] == (
        f'dragon: error: layer "own" (Python): {message} ({folder}/own_code.py, line 11)'
    )


def test_workers_of_compare_need_leave_too(folder: Path, dragon: Dragon) -> None:
    (folder / "c.yaml").write_text(COMPARE)
    command = ("compare", "c.yaml", "--output", "out", "--engine", "numpy", "--jobs", "1")
    refused = dragon(*command)
    assert refused.code == 2
    assert "pass --allow-python if you trust it" in refused.error
    assert not (folder / "it_ran").exists()
    assert dragon(*command, "--allow-python").code == 0
    assert (folder / "it_ran").exists()


def test_workers_of_compare_take_no_module_from_the_working_directory(folder: Path, dragon: Dragon) -> None:
    (folder / "yaml.py").write_text("from pathlib import Path; Path('yaml_ran').write_text('')")
    (folder / "plain.prototxt").write_text(NET.replace('type: "Python"', 'type: "ReLU"'))
    (folder / "solver.prototxt").write_text(SOLVER.replace("net.prototxt", "plain.prototxt"))
    (folder / "c.yaml").write_text(COMPARE.replace("net.prototxt", "plain.prototxt"))
    result = dragon("compare", "c.yaml", "--output", "out", "--engine", "numpy", "--jobs", "1")
    assert result.code == 0, result.err
    assert not (folder / "yaml_ran").exists()
