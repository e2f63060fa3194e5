"""Exports follow a layer's own `phase`, which counts in place of the net's, or refuse the layer by its name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.errors import PrototxtError, UsageError
from dragon.export.caffe.write import whole_net
from dragon.export.deployed import read_deployed
from dragon.export.onnx.model import model_of
from dragon.export.torch.module import Exported, export
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.proto.text import parse_text
from dragon.surgery.lint import lint
from dragon.surgery.model import Model
from tests.export.onnx.helpers import run_onnx
from tests.export.torch.helpers import make_net, run_source

INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [4, 3, 5, 5] } } }\n'
NORM = 'layer { name: "l" type: "BatchNorm" bottom: "x" top: "y" phase: %s }'
RANDOM = {
    "Dropout": "",
    "SpatialDropout": "",
    "Insanity": "",
    "NoisyBN": "",
    "Pooling": "pooling_param { pool: STOCHASTIC kernel_size: 2 }",
}
AVERAGED = {"DecorrelatedBN": "", "DenseBlock": "denseblock_param { numTransition: 1 growthRate: 2 }"}


def text(kind: str, settings: str, phase: str) -> str:
    return INPUT + f'layer {{ name: "l" type: "{kind}" bottom: "x" top: "y" phase: {phase} {settings} }}'


def values() -> np.ndarray:
    return np.random.default_rng(1).normal(2, 3, (4, 3, 5, 5)).astype(np.float32)


def exported(definition: str, phase: int = TEST) -> Exported:
    with make_net(definition, phase) as net:
        return export(net)


@pytest.mark.parametrize(("phase", "running"), [("TRAIN", False), ("TEST", True)])
@pytest.mark.parametrize("kind", ["BatchNorm", "BatchRenorm", "BN"])
def test_a_normalisation_in_pytorch(kind: str, phase: str, running: bool) -> None:
    norm = text(kind, "", phase)
    assert f"running={running})" in exported(norm).source
    assert f"running={running})" in exported(norm, TRAIN).source
    assert f"running={running})" not in exported(norm.replace(f"phase: {phase}", "")).source


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize("kind", ["BatchNorm", "BatchRenorm", "Dropout", "Insanity", "Pooling"])
def test_modules_compute_what_the_layer_does(kind: str, phase: str, train: bool) -> None:
    torch = pytest.importorskip("torch")
    if kind in RANDOM and phase == "TRAIN":
        return  # refused
    with make_net(text(kind, RANDOM.get(kind, ""), phase), TRAIN if train else TEST) as net:
        module = run_source(export(net))
        module.train(train)
        net.blobs["x"].data[...] = values()
        found = module(torch.from_numpy(values().astype(np.float64)))
        np.testing.assert_allclose(found.detach().numpy(), net.forward()["y"], rtol=1e-5, atol=1e-6)


def test_a_normalisation_in_onnx() -> None:
    pytest.importorskip("onnxruntime")
    with Net(parse_text(INPUT + NORM % "TRAIN", pb.NetParameter()), phase=TEST, engine="numpy", seed=1) as net:
        net.blobs["x"].data[...] = values()
        found = run_onnx(model_of(net), {"x": values()})["y"]
        np.testing.assert_allclose(found, net.forward()["y"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [*RANDOM, *AVERAGED])
def test_what_draws_is_refused(kind: str, tmp_path: Path) -> None:
    definition = text(kind, (RANDOM | AVERAGED)[kind], "TRAIN")
    path = tmp_path / "net.prototxt"
    path.write_text(definition)
    told = r'"l" \(' + kind + r"\)[: ]+computes what it does in training in TEST as well, by its own `phase: TRAIN`"
    with pytest.raises(PrototxtError, match=told):
        exported(definition)
    with read_deployed(path).net() as net, pytest.raises(UsageError, match=told):
        model_of(net)
    with pytest.raises(PrototxtError, match=told):
        whole_net(Model(parse_text(definition, pb.NetParameter())), read_deployed(path))


@pytest.mark.parametrize("kind", AVERAGED)
def test_frozen_statistics_that_pytorch_cannot_freeze(kind: str) -> None:
    with pytest.raises(PrototxtError, match=r'"l" \(' + kind + r"\): is frozen by its own `phase: TEST`"):
        exported(text(kind, AVERAGED[kind], "TEST"))


@pytest.mark.parametrize("kind", RANDOM)
def test_what_does_not_draw_in_a_phase_of_its_own(kind: str) -> None:
    source = exported(text(kind, RANDOM[kind], "TEST"), TRAIN).source
    assert "self.training" not in source
    assert "Dropout(" not in source
    assert "NoisyBN(" not in source


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_lint_remarks_on_it(phase: str) -> None:
    def rules(definition: str) -> list[str]:
        return [found.rule for found in lint(Definition(parse_text(definition, pb.NetParameter())))]

    assert "own-phase" in rules(text("Dropout", "", phase))
    assert "own-phase" in rules(text("BatchNorm", "", phase))
    assert "own-phase" not in rules(text("Dropout", f"include {{ phase: {phase} }}", phase))
    assert "own-phase" not in rules(text("ReLU", "", phase))
    assert "own-phase" not in rules(text("BatchNorm", "batch_norm_param { use_global_stats: true }", phase))
