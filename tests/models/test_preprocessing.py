"""How nets of the zoo want their images: as their test data are prepared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dragon.data import read_mean, write_mean
from dragon.models.facts import ROOT
from dragon.models.preprocessing import labels_of, preprocessing_of
from dragon.models.zoo import DEPLOY, names
from dragon.proto.text import read_net


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", names())
def test_every_net_has_one_that_fits(name: str) -> None:
    found = preprocessing_of(name)
    inputs = [layer for layer in read_net(ROOT / name / DEPLOY).layer if layer.type == "Input"]
    shape = list(inputs[0].input_param.shape[0].dim)
    if found.mean is not None and len(shape) == 4:
        assert found.mean.shape in [(shape[1],), tuple(shape[1:])]
    if found.size is not None:
        assert min(found.size) >= shape[2]


def test_cifar10_is_red_first_and_its_mean_ships() -> None:
    found = preprocessing_of("resnet20_cifar10")
    assert found.rgb
    assert found.scale == pytest.approx(1 / 128)
    assert found.size is None
    assert found.mean is not None
    np.testing.assert_array_equal(found.mean, read_mean(ROOT / "data/cifar10/mean.binaryproto"))
    assert not found.note


def test_digits_are_scaled_alone() -> None:
    found = preprocessing_of("lenet")
    assert found.mean is None
    assert found.scale == pytest.approx(1 / 256)
    assert not found.rgb


def test_a_mean_image_that_is_not_here_becomes_means_of_channels() -> None:
    found = preprocessing_of("caffenet")
    assert found.size == (256, 256)
    assert found.mean is not None
    assert found.mean.shape == (3,)
    assert "data/imagenet/mean.binaryproto is not here" in found.note


def test_the_middle_of_a_mean_image_is_used(tmp_path: Path) -> None:
    mean = np.random.default_rng(1).random((3, 256, 256), np.float32)
    (tmp_path / "data/imagenet").mkdir(parents=True)
    write_mean(tmp_path / "data/imagenet/mean.binaryproto", mean)
    found = preprocessing_of("caffenet")
    assert found.mean is not None
    np.testing.assert_array_equal(found.mean, mean[:, 14:241, 14:241])
    assert not found.note


def test_a_large_input_is_cut_from_a_larger_image() -> None:
    assert preprocessing_of("inception_v3").size == (342, 342)


def test_a_net_without_data_has_its_authors() -> None:
    found = preprocessing_of("mobilenet_ssd")
    assert found.scale == pytest.approx(0.007843)


@pytest.mark.parametrize(("name", "count"), [("cifar10_quick", 10), ("lenet", 10), ("ssd300_vgg", 21), ("vgg16", 0)])
def test_labels(name: str, count: int) -> None:
    assert len(labels_of(name)) == count
