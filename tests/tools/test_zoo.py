"""`dragon zoo`, and names of nets where other commands take files. Weights come from a server on this machine."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dragon import TEST, Net
from dragon.data import read_mean
from dragon.models import facts as facts_of_models
from dragon.models import zoo
from dragon.models.facts import ROOT, Facts, Weights
from dragon.models.recipes import Recipe, read_recipe
from dragon.proto.text import read_net
from tests.data.test_download import Server, server
from tests.tools.conftest import Dragon

__all__ = ["server"]

Offer = Callable[..., Weights]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache" / "dragon" / "zoo"


@pytest.fixture
def trained(tmp_path: Path) -> bytes:
    """Weights of cifar10_quick, drawn as its training begins."""
    data = facts_of_models.without_data(
        read_net(ROOT / "cifar10_quick" / zoo.TRAIN_VAL), {"data": (1, 3, 32, 32), "label": (1,)}, labels=0
    )
    with Net(data, phase=TEST, engine="numpy", seed=5) as net:
        for blobs in net.params.values():
            blobs[0].data[...] *= 8  # so that classes differ
        net.save(str(tmp_path / "drawn.caffemodel"))
    return (tmp_path / "drawn.caffemodel").read_bytes()


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch, trained: bytes) -> Offer:
    """Let the zoo offer weights for cifar10_quick, from an address."""

    def call(url: str, **checksums: str | None) -> Weights:
        made = Weights(url=url, what="of a test", **{"sha256": None} | checksums)
        read = facts_of_models.read_facts

        def changed(name: str, root: Path = ROOT) -> Facts:
            found = read(name, root)
            return replace(found, weights=(made,)) if name == "cifar10_quick" else found

        monkeypatch.setattr(zoo, "read_facts", changed)
        monkeypatch.setattr(zoo, "read_recipe", lambda name, root: None)
        return made

    return call


@pytest.fixture
def served(server: Server, trained: bytes, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of the weights."""
    monkeypatch.setattr("tests.data.test_download.CONTENT", trained)
    server.cut = len(trained)
    return server.url.replace("file.bin", "quick.caffemodel")


@pytest.fixture
def image(tmp_path: Path) -> str:
    pixels = np.random.default_rng(3).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    return "noise.png"


@pytest.fixture
def here(offer: Offer, trained: bytes, tmp_path: Path, dragon: Dragon) -> Path:
    """The weights, downloaded."""
    offer((tmp_path / "drawn.caffemodel").as_uri(), sha256=hashlib.sha256(trained).hexdigest())
    assert dragon("zoo", "download", "cifar10_quick").code == 0
    return zoo.require_weights("cifar10_quick")


# -- download -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sha256", "sha1", "md5"])
def test_downloads_and_checks(
    dragon: Dragon, offer: Offer, served: str, server: Server, trained: bytes, cache: Path, kind: str
) -> None:
    offer(served, **{kind: hashlib.new(kind, trained).hexdigest()})
    result = dragon("zoo", "download", "cifar10_quick")
    assert result.code == 0, result.err
    assert f"{len(trained):,} bytes ({kind} as published)" in result.out
    assert (cache / "cifar10_quick" / "quick.caffemodel").read_bytes() == trained
    again = dragon("zoo", "download", "cifar10_quick")
    assert "here already" in again.out
    assert len(server.asked) == 1


def test_an_interrupted_download_goes_on(
    dragon: Dragon, offer: Offer, served: str, server: Server, trained: bytes, cache: Path
) -> None:
    offer(served, sha256=hashlib.sha256(trained).hexdigest())
    server.cut = 10_000
    broken = dragon("zoo", "download", "cifar10_quick")
    assert broken.code == 2
    assert "more expected" in broken.error
    assert (cache / "cifar10_quick" / "quick.caffemodel.part").stat().st_size == 30_000
    assert zoo.find_weights("cifar10_quick") is None
    server.cut = len(trained)
    assert dragon("zoo", "download", "cifar10_quick").code == 0
    assert server.asked[-1] == "bytes=30000-"
    assert (cache / "cifar10_quick" / "quick.caffemodel").read_bytes() == trained


def test_weights_of_a_recipe_that_do_not_ship_are_fetched(
    dragon: Dragon,
    served: str,
    server: Server,
    trained: bytes,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    image: str,
) -> None:
    """weights.yaml has an address: a broken download goes on, another file is thrown away, commands take the net."""
    name, path = "cifar10_quick", cache / "cifar10_quick" / "own.caffemodel"

    def offer_file(sha256: str) -> None:
        made = Recipe(1, "onednn", "fp32", 1, 1, file=path.name, size=len(trained), sha256=sha256, url=served)
        monkeypatch.setattr(zoo, "read_recipe", lambda one, root: made if one == name else read_recipe(one, root))

    offer_file("0" * 64)
    assert "is not the expected file" in dragon("zoo", "download", name).error
    assert not path.exists()
    offer_file(hashlib.sha256(trained).hexdigest())
    server.cut = 10_000
    assert "more expected" in dragon("zoo", "download", name).error
    server.cut = len(trained)
    assert dragon("zoo", "download", name).code == 0
    assert server.asked[-1] == "bytes=30000-"
    assert path.read_bytes() == trained
    assert "trained with Dragon" in dragon("zoo", "show", name).out
    assert dragon("zoo", "verify", name).code == 0
    assert dragon("classify", "--model", name, image).code == 0


@pytest.mark.parametrize("prefix", ["", "./"])
def test_of_an_archive_the_weights_are_kept(
    dragon: Dragon, offer: Offer, tmp_path: Path, trained: bytes, cache: Path, prefix: str
) -> None:
    with tarfile.open(tmp_path / "models.tgz", "w:gz") as tar:
        tar.add(tmp_path / "drawn.caffemodel", f"{prefix}models/quick.caffemodel")
    address, content = (tmp_path / "models.tgz").as_uri(), (tmp_path / "models.tgz").read_bytes()
    offer(address, md5="0" * 32, member="models/quick.caffemodel")
    assert "is not the expected file: its MD5" in dragon("zoo", "download", "cifar10_quick").error
    offer(address, md5=hashlib.md5(content).hexdigest(), member="models/slow.caffemodel")
    assert "does not hold models/slow.caffemodel" in dragon("zoo", "download", "cifar10_quick").error
    assert list((cache / "cifar10_quick").iterdir()) == []
    offer(address, md5=hashlib.md5(content).hexdigest(), member="models/quick.caffemodel")
    result = dragon("zoo", "download", "cifar10_quick")
    assert result.code == 0, result.err
    assert [path.name for path in (cache / "cifar10_quick").iterdir()] == ["quick.caffemodel"]
    assert (cache / "cifar10_quick" / "quick.caffemodel").read_bytes() == trained
    verified = dragon("zoo", "verify", "cifar10_quick")  # the checksum is not that of the file
    assert verified.code == 0, verified.err
    assert "unknown   fit" in verified.out


def test_another_checksum_is_thrown_away(dragon: Dragon, offer: Offer, served: str, cache: Path) -> None:
    offer(served, md5="0" * 32)
    result = dragon("zoo", "download", "cifar10_quick")
    assert result.code == 2
    assert "quick.caffemodel is not the expected file: its MD5 is" in result.error
    assert list((cache / "cifar10_quick").iterdir()) == []


def test_an_unknown_checksum_is_said(dragon: Dragon, offer: Offer, served: str) -> None:
    offer(served)
    result = dragon("zoo", "download", "cifar10_quick")
    assert "(unchecked: no checksum is published)" in result.out


def test_a_page_in_place_of_weights_is_refused(dragon: Dragon, offer: Offer, tmp_path: Path, cache: Path) -> None:
    (tmp_path / "page.caffemodel").write_text("<html>sign in</html>")
    offer((tmp_path / "page.caffemodel").as_uri())
    result = dragon("zoo", "download", "cifar10_quick")
    assert result.code == 2
    assert "page.caffemodel gave no weights" in result.error
    assert list((cache / "cifar10_quick").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lenett", 'the zoo has no net "lenett" (did you mean "lenet"?)'),
        ("densenet121", "yourself, and give the file by --weights"),
        ("nin_cifar10", "cannot be downloaded: nobody offers any"),
    ],
)
def test_what_cannot_be_downloaded(dragon: Dragon, name: str, message: str) -> None:
    result = dragon("zoo", "download", name)
    assert result.code == 2
    assert message in result.error


# -- verify ---------------------------------------------------------------------------------------------------


def test_verifies(dragon: Dragon, here: Path) -> None:
    result = dragon("zoo", "verify", "cifar10_quick")
    assert result.code == 0
    assert "sha256 ok  fit" in result.out


def test_a_damaged_file_is_wrong(dragon: Dragon, here: Path) -> None:
    content = bytearray(here.read_bytes())
    content[-100] ^= 1
    here.write_bytes(content)
    result = dragon("zoo", "verify", "cifar10_quick")
    assert result.code == 2
    assert "WRONG sha256" in result.out
    assert result.error.startswith("wrong: 1 of 1 file")


def test_weights_of_another_net_do_not_fit(dragon: Dragon, offer: Offer, tmp_path: Path) -> None:
    with Net(str(ROOT / "lenet" / "deploy.prototxt"), phase=TEST, engine="numpy") as net:
        net.save(str(tmp_path / "lenet.caffemodel"))
    made = offer((tmp_path / "lenet.caffemodel").as_uri())
    assert made.sha256 is None
    assert dragon("zoo", "download", "cifar10_quick").code == 0
    result = dragon("zoo", "verify", "cifar10_quick")
    assert result.code == 2
    assert "unknown   WRONG" in result.out


def test_nothing_to_verify_is_said(dragon: Dragon) -> None:
    result = dragon("zoo", "verify", "nin_cifar10")
    assert result.code == 2
    assert result.error.startswith('no weights of "')


# -- list and show --------------------------------------------------------------------------------------------


def test_run_shows_what_a_net_reads(dragon: Dragon, tmp_path: Path) -> None:
    """With weights of zero each step has class 0, the digit 0: of an image and of noise."""
    with Net(ROOT / "crnn_mnist" / zoo.DEPLOY, phase=TEST, engine="numpy") as net:
        net.save(tmp_path / "zero.caffemodel")
    Image.fromarray(np.zeros((32, 100), np.uint8)).save(tmp_path / "line.png")
    for images in ([], [str(tmp_path / "line.png")]):
        result = dragon("zoo", "run", "crnn_mnist", *images, "--weights", str(tmp_path / "zero.caffemodel"))
        assert "output  labels reads 0" in result.out.splitlines()


def test_lists_all_nets(dragon: Dragon) -> None:
    result = dragon("zoo", "list")
    assert [line.split()[0] for line in result.out.splitlines()[2:]] == zoo.names()


def test_filters_and_json(dragon: Dragon, here: Path) -> None:
    result = dragon("zoo", "list", "--dataset", "cifar10", "--task", "classification", "--weights", "here", "--json")
    entries = {entry["name"]: entry for entry in json.loads(result.out)}
    assert entries["cifar10_quick"]["parameters"] == 145_578
    assert entries["cifar10_quick"]["multiply_adds"] == 12_354_176
    assert {entry["weights"] for entry in entries.values()} == {"here"}
    assert "the zoo has no such net" in dragon("zoo", "list", "--dataset", "none-such").out


@pytest.mark.parametrize("name", ["lenet", "caffenet", "ssd300_vgg", "nin_cifar10", "resnet20_cifar10"])
def test_shows_a_net(dragon: Dragon, name: str) -> None:
    result = dragon("zoo", "show", name)
    assert result.code == 0
    assert "multiply-adds" in result.out
    assert f"dragon zoo run {name}" in result.out


def test_shows_weights_with_their_checksum(dragon: Dragon) -> None:
    result = dragon("zoo", "show", "caffenet")
    assert "address   http://dl.caffe.berkeleyvision.org/" in result.out
    assert "checksum  sha1 4c8d77deb20ea792f84eb5e6d0a11ca0a8660a46" in result.out
    assert "dragon zoo download caffenet" in result.out
    assert "checksum  unknown" in dragon("zoo", "show", "hed").out
    assert "9a795fc161fff2e8f3aed07f4d488faf of the archive" in dragon("zoo", "show", "ssd300_vgg").out


@pytest.mark.parametrize("command", ["show", "run", "verify", "download"])
def test_an_unknown_net_is_one_line(dragon: Dragon, command: str) -> None:
    result = dragon("zoo", command, "resnet51")
    assert result.code == 2
    assert result.error.startswith('the zoo has no net "resnet51" (did you mean "resnet50"?)')


# -- run ------------------------------------------------------------------------------------------------------


def test_runs_on_noise_without_weights(dragon: Dragon) -> None:
    result = dragon("zoo", "run", "nin_cifar10", "--engine", "numpy")
    assert result.code == 0
    assert "input   data (1, 3, 32, 32)" in result.out
    assert "output  prob (1, 10, 1, 1), 0.1 to 0.1" in result.out
    assert 'no weights of "nin_cifar10" are here' in result.err


def test_images_need_weights(dragon: Dragon, image: str) -> None:
    result = dragon("zoo", "run", "nin_cifar10", image)
    assert result.code == 2
    assert result.error.startswith('no weights of "nin_cifar10" are here: nobody offers any')


def test_classifies_as_the_net_was_trained(dragon: Dragon, here: Path, image: str) -> None:
    """The mean is subtracted from RGB values of 0 to 255."""
    mean = read_mean(ROOT / "data/cifar10/mean.binaryproto")
    with Net(str(ROOT / "cifar10_quick/deploy.prototxt"), str(here), phase=TEST, engine="numpy") as net:
        pixels = np.asarray(Image.open(image), np.float32).transpose(2, 0, 1)
        scores = net.forward(data=(pixels - mean)[None])["prob"].reshape(-1)
    best = int(np.argmax(scores))
    names = (ROOT / "data/cifar10/labels.txt").read_text().split()
    for command in (["zoo", "run", "cifar10_quick", image], ["classify", "--model", "cifar10_quick", image]):
        result = dragon(*command, "--engine", "numpy")
        assert result.code == 0, result.err
        lines = result.out.splitlines()
        assert lines[0] == image
        score, label = lines[1].split()
        assert label == names[best]
        assert float(score) == pytest.approx(scores[best], abs=2e-4)


def test_flags_go_before_the_zoos_settings(dragon: Dragon, here: Path, image: str) -> None:
    own = dragon("classify", "--model", "cifar10_quick", image, "--engine", "numpy").out
    flags = ["--mean", "0", "--channel-swap", "2,1,0", "--engine", "numpy"]
    other = dragon("classify", "--model", "cifar10_quick", image, *flags).out
    path = str(ROOT.resolve() / "cifar10_quick/deploy.prototxt")
    plain = ["classify", "--model", path, "--weights", str(here), image, "--engine", "numpy"]
    assert other != own
    scores = [line.split()[0] for line in dragon(*plain).out.splitlines()[1:]]
    assert scores == [line.split()[0] for line in other.splitlines()[1:]]


def test_other_tasks_show_their_outputs(dragon: Dragon, image: str, tmp_path: Path) -> None:
    with Net(str(ROOT / "mtcnn_pnet/deploy.prototxt"), phase=TEST, engine="numpy") as net:
        net.save("pnet.caffemodel")
    result = dragon("zoo", "run", "mtcnn_pnet", image, "--weights", "pnet.caffemodel", "--engine", "numpy")
    assert result.code == 0, result.err
    assert result.out.splitlines()[0] == image
    assert "output  " in result.out


def test_a_detector_finds_boxes_in_each_image(dragon: Dragon, image: str, tmp_path: Path) -> None:
    with Net(str(ROOT / "ssd_shapes/deploy.prototxt"), phase=TEST, engine="numpy", seed=1) as net:
        net.save("shapes.caffemodel")
    result = dragon("zoo", "run", "ssd_shapes", image, image, "--weights", "shapes.caffemodel")
    assert result.code == 0, result.err
    boxes = [line for line in result.out.splitlines() if line.startswith(image)]
    assert boxes[: len(boxes) // 2] == boxes[len(boxes) // 2 :]
    assert boxes or result.out == "no boxes found\n"


# -- other commands -------------------------------------------------------------------------------------------


def test_summarize_and_export_take_a_name(dragon: Dragon, here: Path) -> None:
    result = dragon("summarize", "--model", "cifar10_quick")
    assert "145,578 learned" in result.out
    written = dragon("export", "--model", "cifar10_quick", "--safetensors", "quick.safetensors")
    assert written.code == 0, written.err  # which needs weights: those of the zoo
    result = dragon("export", "--model", "nin_cifar10", "--safetensors", "nin.safetensors")
    assert result.code == 2
    assert result.error == "--safetensors needs --weights"


@pytest.mark.parametrize(
    "args",
    [
        ("test", "--model"), ("summarize", "--model"), ("classify", "x.png", "--model"), ("time", "--model"),
        ("train", "--solver"), ("time", "--solver"), ("export", "--onnx", "x", "--model"), ("lint",),
        ("fold", "--out-model", "x", "--weights", "w.caffemodel", "--model"), ("bn", "show", "--model"),
        ("probe", "--model"),
    ],
)  # fmt: skip
def test_the_nearest_net_is_named(dragon: Dragon, args: tuple[str, ...]) -> None:
    result = dragon(*args, "lenett")
    assert result.code == 2
    assert '"lenett" is neither a file nor a net of the zoo (did you mean "lenet"?)' in result.error


def test_a_net_without_weights_says_where_they_are(dragon: Dragon, image: str) -> None:
    for command in (["classify", image, "--model", "caffenet"], ["test", "--model", "caffenet"]):
        result = dragon(*command)
        assert result.code == 2
        assert result.error == 'no weights of "caffenet" are here: `dragon zoo download caffenet` fetches them'
    result = dragon("time", "--model", "caffenet", "--weights", "caffenet")
    assert result.error.startswith('no weights of "caffenet" are here')


def test_tests_by_name(dragon: Dragon, work: Path, here: Path) -> None:
    (work / "data/cifar10").mkdir()
    (work / "data/synthetic_test_lmdb").rename(work / "data/cifar10/cifar10_test_lmdb")
    result = dragon("test", "--model", "cifar10_quick", "--iterations", "1", "--engine", "numpy")
    assert result.code == 0, result.err
    assert "accuracy = " in result.out


@pytest.mark.parametrize("name", ["ssd300_vgg", "lenett"])
def test_train_takes_a_name_without_a_flag(dragon: Dragon, name: str) -> None:
    expected = dragon("train", "--solver", name)
    for args in ((name, "--seed", "1"), ("--seed", "1", name)):
        result = dragon("train", *args)
        assert (result.code, result.error) == (2, expected.error)
        assert name in result.error


def test_a_name_and_a_solver_are_one_too_many(dragon: Dragon) -> None:
    result = dragon("train", "lenet", "--solver", "cifar10_quick")
    assert result.code == 2
    assert "extra argument" in result.error


def test_models_lists_the_nets(dragon: Dragon) -> None:
    assert dragon("models").out == dragon("zoo", "list").out
