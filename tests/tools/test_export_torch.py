"""`dragon export --torch` and `--safetensors`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dragon.bases.layer import TEST
from dragon.files.safetensors import read_safetensors
from dragon.graph.net import Net
from tests.tools.conftest import Dragon

MODEL = Path(__file__).parents[2] / "models/cifar10_quick_bn_split"


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    net = Net(MODEL / "deploy.prototxt", phase=TEST, engine="numpy", seed=4)
    for i, blob in enumerate(net.params["bn1"]):
        blob.data[...] = np.linspace(0.5, 2, blob.count) if i < 2 else 4
    net.save("w.caffemodel")
    return "w.caffemodel"


def test_module_and_values_are_written(dragon: Dragon, weights: str, tmp_path: Path) -> None:
    arguments = ("export", "--model", str(MODEL / "deploy.prototxt"), "--weights", weights, "--torch", "net.py")
    done = dragon(*arguments)
    assert done.code == 0
    assert "written: net.py, a module with the inputs data and outputs prob" in done.out
    source = Path("net.py").read_bytes()
    arrays, metadata = read_safetensors("net.safetensors")
    np.testing.assert_allclose(arrays["bn1.running_mean"], np.linspace(0.5, 2, 32) / 4, rtol=1e-6)
    assert metadata["format"] == "pt"
    values = Path("net.safetensors").read_bytes()
    assert dragon(*arguments).code == 0
    assert (Path("net.py").read_bytes(), Path("net.safetensors").read_bytes()) == (source, values)


def test_the_module_gives_the_outputs_of_the_net(dragon: Dragon, weights: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    model = str(MODEL / "deploy.prototxt")
    assert dragon("export", "--model", model, "--weights", weights, "--torch", "net.py").code == 0
    x = np.random.default_rng(1).normal(size=(5, 3, 32, 32)).astype(np.float32) * 40
    np.save("x.npy", x)
    code = "import net, numpy as np, torch\n"
    code += "y = net.load().eval()(torch.from_numpy(np.load('x.npy')))\nnp.save('y', y.detach())"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, cwd=tmp_path)
    with Net(model, phase=TEST, weights=weights, engine="numpy") as one:
        one.blobs["data"].reshape(*x.shape)
        one.blobs["data"].data[...] = x
        np.testing.assert_allclose(np.load("y.npy"), one.forward()["prob"], rtol=1e-4, atol=1e-6)


def test_losses_stay_on_request(dragon: Dragon, weights: str) -> None:
    model = str(MODEL / "train_val.prototxt")
    done = dragon("export", "--model", model, "--shape", "2,3,32,32", "--torch", "net.py", "--with-losses")
    assert done.code == 0, done.err
    assert "no --weights: the values are those that the net starts from" in done.out
    assert "inputs data, label and outputs loss" in done.out
    assert "def loss(self" in Path("net.py").read_text()
    done = dragon("export", "--model", model, "--shape", "2,3,32,32", "--torch", "plain.py")
    assert "inputs data and outputs ip2" in done.out
    assert "def loss(self" not in Path("plain.py").read_text()


def test_weights_alone(dragon: Dragon, weights: str) -> None:
    model = str(MODEL / "deploy.prototxt")
    done = dragon("export", "--model", model, "--weights", weights, "--safetensors", "w.safetensors")
    assert done.code == 0, done.err
    assert "written: w.safetensors" in done.out
    one, other = (Net(model, phase=TEST, weights=path) for path in (weights, "w.safetensors"))
    for name, blobs in one.params.items():
        for mine, its in zip(blobs, other.params[name], strict=True):
            np.testing.assert_array_equal(mine.peek(), its.peek())


def test_the_weights_of_a_dialect_are_for_the_same_net(dragon: Dragon, tmp_path: Path) -> None:
    """BatchNorm of dragon-2016 has four blobs, as BN in its place would have five."""
    text = """
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
    layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y" profile: "dragon-2016" }
    """
    model, weights, out = (str(tmp_path / name) for name in ("net.prototxt", "w.caffemodel", "w.safetensors"))
    Path(model).write_text(text)
    with Net(model, phase=TEST, engine="numpy") as net:
        for i, blob in enumerate(net.params["bn"]):
            blob.data[...] = i + 1
        net.save(weights)
        done = dragon("export", "--model", model, "--weights", weights, "--safetensors", out)
        assert done.code == 0, done.err
        with Net(model, phase=TEST, weights=out, engine="numpy") as other:
            for mine, theirs in zip(net.params["bn"], other.params["bn"], strict=True):
                np.testing.assert_array_equal(mine.peek(), theirs.peek())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--torch", "net.txt"), "net.txt: the source of a PyTorch module ends in .py"),
        (("--safetensors", "w.bin"), "--safetensors w.bin: the name ends in .safetensors"),
        (("--safetensors", "w.caffemodel"), "--safetensors w.caffemodel: w.caffemodel is an input, and would be"),
        (("--torch", "net.py", "--safetensors", "w.safetensors"), "one file is written at a time"),
        (("--safetensors", "w.safetensors", "--with-losses"), "--with-losses is for --torch, not for --safetensors"),
    ],
)
def test_mistakes_are_one_line(dragon: Dragon, weights: str, arguments: tuple[str, ...], message: str) -> None:
    done = dragon("export", "--model", str(MODEL / "deploy.prototxt"), "--weights", weights, *arguments)
    assert done.code == 2
    assert message in done.error
    assert sorted(path.name for path in Path().iterdir()) == ["w.caffemodel"]


def test_layers_without_a_form_are_named_and_nothing_is_written(
    dragon: Dragon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    inputs = "".join(
        f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {shape} }} }} }}\n'
        for name, shape in (("loc", "dim: 1 dim: 4"), ("conf", "dim: 1 dim: 2"), ("prior", "dim: 1 dim: 2 dim: 4"))
    )
    settings = "detection_output_param { num_classes: 2 confidence_threshold: 0.5 nms_param { nms_threshold: 0.4 } }"
    Path("net.prototxt").write_text(
        f'{inputs}layer {{ name: "out" type: "DetectionOutput" bottom: "loc" bottom: "conf" bottom: "prior" top: "y" '
        f"{settings} }}\n"
    )
    done = dragon("export", "--model", "net.prototxt", "--torch", "net.py")
    assert done.code == 2
    assert done.error.startswith(
        'net.prototxt:4: cannot be written in PyTorch: "out": DetectionOutput suppresses overlapping boxes'
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.prototxt"]
