"""A few small nets against OpenCV, where it is installed; `make zoo-nets` compares all, and writes the page."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from dragon import TEST, Net
from dragon.models.facts import ROOT
from dragon.proto import dragon_pb2 as pb
from tests.models import opencv
from tests.models.opencv import BOUND, compare
from tests.models.page import PAGE, facts_of, main, table_of


@pytest.fixture
def cv2() -> ModuleType:
    module: ModuleType = pytest.importorskip("cv2")
    if not str(module.__version__).startswith("4."):
        pytest.skip("OpenCV 5 does not read Caffe's files")
    return module


@pytest.mark.parametrize(
    "name", ["lenet", "cifar10_full", "cifar10_full_sigmoid_bn", "cifar10_quick_bn_merged", "resnet8_cifar10"]
)
def test_small_nets_agree(name: str, cv2: ModuleType) -> None:
    found = compare(name, cv2)
    assert found.difference is not None, found.why
    assert 0 < found.difference < BOUND


def test_other_values_do_not_agree(cv2: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    run = opencv.run
    monkeypatch.setattr(opencv, "run", lambda *a: [1.001 * value for value in run(*a)])
    found = compare("lenet", cv2)
    assert found.difference == pytest.approx(1e-3, rel=0.01)


def test_a_type_that_opencv_lacks_is_named(cv2: ModuleType) -> None:
    assert compare("vgg_a_cifar10_noisy", cv2).why == 'Can\'t create layer "noise1_1" of type "NoisyBN"'


def test_layers_that_opencv_reads_otherwise_keep_their_meaning() -> None:
    net = pb.NetParameter(name="net")
    for name in ("a", "x", "y"):
        net.layer.add(name=name, type="Input", top=[name]).input_param.shape.add(
            dim=(2, 3) if name == "a" else (2, 3, 4, 5)
        )
    net.layer.add(name="gate", type="HardSigmoid", bottom=["a"], top=["a"])
    net.layer.add(name="sum", type="Axpy", bottom=["a", "x", "y"], top=["sum"])
    rng = np.random.default_rng(1)
    values: dict[str, Any] = {
        "a": rng.normal(0, 3, (2, 3)),
        "x": rng.normal(size=(2, 3, 4, 5)),
        "y": rng.normal(size=(2, 3, 4, 5)),
    }
    rewritten = opencv.as_opencv_reads(net)
    assert [layer.type for layer in rewritten.layer][3:] == ["Power", "ReLU6", "Power", "Flatten", "Scale", "Eltwise"]
    first, second = (Net(one, phase=TEST, dtype=np.float64).forward(**values)["sum"] for one in (net, rewritten))
    gate = np.clip(values["a"] / 6 + 0.5, 0, 1)[..., None, None]
    np.testing.assert_allclose(first, gate * values["x"] + values["y"])
    np.testing.assert_allclose(second, first, rtol=1e-5, atol=1e-7)  # 1 / 6 is a float32 there


def test_weights_and_statistics_are_drawn_for_every_layer() -> None:
    drawn = Net(ROOT / "cifar10_quick_bn_split" / "deploy.prototxt", phase=TEST, seed=1)
    for layer in drawn.layers:
        opencv.draw(layer, np.random.default_rng(1))
    assert drawn.params["conv2"][0].data.var() == pytest.approx(1 / (32 * 25), rel=0.05)
    assert [blob.shape for blob in drawn.params["bn1"]] == [(32,), (32,), (1,)]
    assert drawn.params["bn1"][1].data.min() > 0.5
    assert drawn.params["bn1"][2].data[0] == 1


def test_rows_of_the_page_are_those_of_the_readmes() -> None:
    rows = table_of(PAGE.read_text(encoding="utf-8"))
    assert len(rows) > 40
    for name, row in rows.items():
        assert row[:-1] == facts_of(name), f"run python -m tests.models.page --counts: {name}"
        assert row[-1].startswith("none: ") or float(row[-1]) < BOUND, f"run make zoo-nets: {name}"


def test_a_wrong_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lenett"]) == 2
    assert capsys.readouterr().err == "no such net: lenett\n"
