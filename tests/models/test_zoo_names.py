"""Nets of the zoo by name: their files, and where their weights lie."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dragon.errors import UsageError
from dragon.models.facts import ROOT
from dragon.models.zoo import (
    DEPLOY,
    SOLVER,
    TRAIN_VAL,
    cache_folder,
    file_of,
    find_weights,
    how_to_get,
    name_of,
    names,
    offers,
    require_weights,
    resolve,
)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def test_names_are_those_of_the_folders() -> None:
    assert names() == sorted(path.parent.name for path in ROOT.glob("*/deploy.prototxt"))
    assert "lenet" in names()


@pytest.mark.parametrize("file", [DEPLOY, TRAIN_VAL, SOLVER])
def test_a_name_stands_for_a_file(file: str) -> None:
    path = resolve("squeezenet_v1.1", file)
    assert Path(path) == ROOT / "squeezenet_v1.1" / file
    assert name_of(path) == "squeezenet_v1.1"


def test_a_file_goes_before_a_net(tmp_path: Path) -> None:
    (tmp_path / "lenet").touch()
    assert resolve("lenet", DEPLOY) == "lenet"
    assert name_of("lenet") is None
    assert name_of(str(ROOT / "lenet" / DEPLOY)) is None


def test_a_folder_does_not_hide_a_net(tmp_path: Path) -> None:
    (tmp_path / "lenet").mkdir()
    assert resolve("lenet", DEPLOY) == str(ROOT / "lenet" / DEPLOY)


@pytest.mark.parametrize(
    "text", ["net.prototxt", "a/lenet", "/x/lenet", "a,b", "", "..", ".", "lenet.caffemodel", "zzzz"]
)
def test_what_cannot_be_a_name_stays(text: str) -> None:
    assert resolve(text, DEPLOY) == text


@pytest.mark.parametrize(
    ("text", "hint"),
    [("lenett", ' (did you mean "lenet"?)'), ("squeezenet_v1.2", ' (did you mean "squeezenet_v1.')],
)
def test_a_name_that_is_none(text: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(text, DEPLOY)
    assert str(caught.value).startswith(f'"{text}" is neither a file nor a net of the zoo')
    assert hint in str(caught.value)


def test_a_net_without_training_data(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "lenet", tmp_path / "zoo" / "lenet")
    for file in (TRAIN_VAL, SOLVER):
        (tmp_path / "zoo" / "lenet" / file).unlink()
    assert file_of("lenet", TRAIN_VAL, tmp_path / "zoo").name == DEPLOY
    with pytest.raises(UsageError, match="has no solver"):
        file_of("lenet", SOLVER, tmp_path / "zoo")


def test_the_cache_is_where_the_system_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == tmp_path / "cache" / "dragon" / "zoo"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, says the specification
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "dragon" / "zoo"


def test_weights_of_the_web_lie_in_the_cache() -> None:
    (offer,) = offers("squeezenet_v1.1")
    assert offer.path == cache_folder() / "squeezenet_v1.1" / "squeezenet_v1.1.caffemodel"
    assert offer.is_direct
    assert offer.checksum is not None
    assert offer.checksum[0] == "sha256"
    assert find_weights("squeezenet_v1.1") is None
    offer.path.parent.mkdir(parents=True)
    offer.path.touch()
    assert find_weights("squeezenet_v1.1") == offer.path == require_weights("squeezenet_v1.1")


def test_a_page_is_not_the_file_but_an_archive_has_it() -> None:
    (offer,) = offers("ssd300_vgg")
    assert offer.is_direct
    assert offer.path.name == "VGG_VOC0712_SSD_300x300_iter_120000.caffemodel"
    assert not offers("densenet121")[0].is_direct


@pytest.mark.parametrize(
    ("name", "ways"),
    [
        ("caffenet", ["`dragon zoo download caffenet` fetches them"]),
        ("densenet121", ["yourself", "https://drive.google.com/"]),
        ("resnet20_cifar10", ["`dragon zoo train resnet20_cifar10` trains them"]),
        ("nin_cifar10", ["nobody offers any; `dragon train --solver nin_cifar10` trains the net"]),
    ],
)
def test_says_how_to_get_weights(name: str, ways: list[str]) -> None:
    for way in ways:
        assert way in how_to_get(name)


def test_weights_of_dragons_own(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "lenet", tmp_path / "zoo" / "lenet")
    recipe = "seed: 1\nengine: numpy\nprecision: fp32\nthreads: 1\nminutes: 1\nfile: lenet.caffemodel\nsha256: abc\n"
    (tmp_path / "zoo" / "lenet" / "weights.yaml").write_text(recipe)
    (offer,) = offers("lenet", tmp_path / "zoo")
    assert (offer.path, offer.url) == (tmp_path / "zoo" / "lenet" / "lenet.caffemodel", None)
    assert offer.checksum == ("sha256", "abc")
    (tmp_path / "zoo" / "lenet" / "weights.yaml").write_text(recipe + "url: https://example.org/lenet.caffemodel\n")
    assert offers("lenet", tmp_path / "zoo")[0].path == cache_folder() / "lenet" / "lenet.caffemodel"
