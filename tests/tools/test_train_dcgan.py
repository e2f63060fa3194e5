"""The program that trains DCGAN's two nets in turns."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dragon import TEST, Net
from dragon.data import encode_datum, write_lmdb
from dragon.models.facts import ROOT
from dragon.proto.text import format_text, read_net
from dragon.tools import train_dcgan
from dragon.tools.train_dcgan import Training, main


def write_images(path: Path, side: int = 64) -> Path:
    """Eight images of one bright square each."""
    images = np.zeros((8, 3, side, side), np.uint8)
    for k, image in enumerate(images):
        image[:, 4 * k : 4 * k + 20, 10:40] = 255
    write_lmdb(path, ((f"{k:05d}".encode(), encode_datum(image, 0)) for k, image in enumerate(images)))
    return path


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo of the two nets with an eighth of the channels, and batches of 16; `tests/models` runs those of the zoo."""
    for name in ("dcgan_generator", "dcgan_discriminator"):
        folder = tmp_path / "zoo" / name
        shutil.copytree(ROOT / name, folder)
        for file in ("train_val.prototxt", "deploy.prototxt"):
            net = read_net(folder / file)
            for layer in net.layer:
                field = layer.inner_product_param if layer.HasField("inner_product_param") else layer.convolution_param
                if field.num_output >= 64:
                    field.num_output //= 8
                for shape in (*layer.input_param.shape, *layer.dummy_data_param.shape):
                    shape.dim[0] = min(shape.dim[0], 16)
            (folder / file).write_text(format_text(net))
    monkeypatch.setattr(train_dcgan, "ROOT", tmp_path / "zoo")
    return tmp_path / "zoo"


def values(net: Net, begin: str) -> NDArray[np.float32]:
    """All weights of the layers whose names begin so, in one row."""
    return np.concatenate([b.peek().ravel() for k, bs in net.params.items() if k.startswith(begin) for b in bs])


def test_both_nets_learn_and_the_judges_are_one(tmp_path: Path, zoo: Path) -> None:
    training = Training(write_images(tmp_path / "images"), "onednn")
    before = {begin: values(training.artist.net, begin) for begin in ("g_", "d_")}
    losses = [training.step() for _ in range(3)]
    assert np.isfinite(losses).all()
    assert losses[-1][0] < losses[0][0]  # the judge tells them apart better than at first
    for begin, start in before.items():
        assert (values(training.artist.net, begin) != start).any()
    np.testing.assert_array_equal(values(training.artist.net, "d_conv"), values(training.judge.net, "d_conv"))
    judged = values(training.judge.net, "d_conv").copy()
    training.artist.step(1)
    np.testing.assert_array_equal(values(training.judge.net, "d_conv"), judged)  # the artist does not change the judge


def test_writes_weights_for_the_deployed_nets(tmp_path: Path, zoo: Path) -> None:
    arguments = [str(write_images(tmp_path / "images")), str(tmp_path / "out"), "--iterations", "1"]
    assert main([*arguments, "--engine", "onednn"]) == 0
    with Image.open(tmp_path / "out" / "drawn.png") as picture:
        assert picture.size == (256, 256)
    noise = np.random.default_rng(1).standard_normal((1, 100, 1, 1)).astype(np.float32)
    nets = [
        Net(zoo / name / "deploy.prototxt", TEST, weights=tmp_path / "out" / f"{name}.caffemodel", engine="onednn")
        for name in ("dcgan_generator", "dcgan_discriminator")
    ]
    drawn = nets[0].forward(data=noise)["g_deconv5"]
    assert drawn.min() >= -1
    assert drawn.max() <= 1
    assert 0 <= nets[1].forward(data=drawn)["prob"].item() <= 1


def test_images_of_another_size_are_one_line(tmp_path: Path, zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(write_images(tmp_path / "images", 32)), str(tmp_path / "out"), "--engine", "numpy"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "expected images of (3, 64, 64), got (3, 32, 32)" in error
    assert not (tmp_path / "out").exists()


def test_missing_images_are_one_line(tmp_path: Path, zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none"), str(tmp_path / "out"), "--engine", "numpy"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "none" in error


def test_a_folder_that_cannot_be_made_is_found_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main([str(tmp_path / "nowhere"), str(tmp_path / "file" / "out")]) == 2
    assert capsys.readouterr().err == f'{tmp_path / "file" / "out"}: "{tmp_path / "file"}" is a file, not a folder\n'
