"""`dragon export --caffe`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dragon.bases.layer import TEST
from dragon.graph.net import Net
from tests.tools.conftest import Dragon

MODEL = Path(__file__).parents[2] / "models/cifar10_quick_bn_merged"


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    with Net(MODEL / "deploy.prototxt", phase=TEST, engine="numpy", seed=4) as net:
        for name in ("bn1", "bn2", "bn3"):
            for blob in net.params[name]:
                blob.data[...] = np.linspace(0.5, 2, blob.count)
        net.save("w.caffemodel")
    return "w.caffemodel"


def test_a_net_and_its_weights_are_written(dragon: Dragon, weights: str) -> None:
    train = str(MODEL / "train_val.prototxt")
    done = dragon("export", "--model", train, "--weights", weights, "--shape", "2,3,32,32", "--caffe", "out")
    assert done.code == 0, done.err
    assert "bn1: split into BatchNorm and Scale" in done.out
    assert "proved on random data: ip2 agree" in done.out
    text = Path("out/train_val.prototxt").read_text()
    assert "include {\n    phase: TRAIN" in text
    assert '"BN"' not in text
    assert Path("out/train_val.caffemodel").exists()


def test_for_deployment(dragon: Dragon, weights: str) -> None:
    deploy = str(MODEL / "deploy.prototxt")
    done = dragon("export", "--model", deploy, "--weights", weights, "--caffe", "out", "--for-deploy")
    assert done.code == 0, done.err
    x = np.random.default_rng(1).normal(size=(1, 3, 32, 32)) * 40
    found = []
    for model, file in ((deploy, weights), ("out/deploy.prototxt", "out/deploy.caffemodel")):
        with Net(model, phase=TEST, weights=file, engine="numpy") as net:
            assert [node.layer.type for node in net.nodes].count("BN") == (3 if model == deploy else 0)
            net.blobs["data"].reshape(*x.shape)
            net.blobs["data"].data[...] = x
            found.append(net.forward()["prob"].copy())
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3, atol=1e-6)
    first = [Path("out", name).read_bytes() for name in ("deploy.prototxt", "deploy.caffemodel")]
    dragon("export", "--model", deploy, "--weights", weights, "--caffe", "out", "--for-deploy")
    assert [Path("out", name).read_bytes() for name in ("deploy.prototxt", "deploy.caffemodel")] == first


def test_mistakes_are_one_line_and_write_nothing(dragon: Dragon, weights: str) -> None:
    deploy = str(MODEL / "deploy.prototxt")
    done = dragon("export", "--model", deploy, "--caffe", "out", "--for-deploy")
    assert (done.code, done.error) == (
        2,
        "--for-deploy needs --weights: batch normalisations are folded into them",
    )
    Path("net.prototxt").write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }\n'
        'layer { name: "n" type: "LayerNorm" bottom: "x" top: "y" }\n'
        'layer { name: "m" type: "LayerNorm" bottom: "y" top: "z" }\n'
    )
    done = dragon("export", "--model", "net.prototxt", "--caffe", "out")
    assert done.code == 2
    assert done.error.startswith(
        'net.prototxt:2: BVLC Caffe cannot read the net: layer "n" (LayerNorm) is not one of its types; '
        'layer "m" (LayerNorm) (line 3) is not one'
    )
    assert not Path("out").exists()
