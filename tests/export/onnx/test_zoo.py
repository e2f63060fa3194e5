"""Every net of the zoo in ONNX Runtime, with and without folded batch normalisations."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dragon.errors import ShapeError
from dragon.export.deployed import Deployed, read_deployed
from dragon.export.onnx.file import write_onnx
from dragon.export.onnx.forms import find
from dragon.export.onnx.model import model_of
from dragon.export.onnx.verify import choosers, verify
from dragon.export.samples import random_weights
from dragon.proto import dragon_pb2 as pb

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

MODELS = Path(__file__).parents[3] / "models"
NETS = sorted(path.parent.name for path in MODELS.glob("*/deploy.prototxt"))
SMALL = 64  # sides of images in place of larger ones, where a net can work on them
MOST_KERNEL = 5  # of an average that is not over the whole image
LARGE = 3_000_000  # learned numbers of a net whose test is heavy
# nets of more of the blocks that resnet20_cifar10 has, with the same settings: theirs are heavy too
DEEPER = {f"resnet{depth}_cifar10" for depth in (32, 44, 56, 110)}


def _learned(name: str) -> int:
    found = re.search(r"^params: (\d+)", (MODELS / name / "readme.md").read_text(encoding="utf-8"), re.MULTILINE)
    return int(found[1]) if found else 0


def small_net(name: str) -> Deployed:
    """The net, for small images if its own are large and it can work on such."""
    path = MODELS / name / "deploy.prototxt"
    deployed = read_deployed(path)
    sizes = deployed.definition.message.layer[0].input_param.shape
    shape = list(sizes[0].dim) if sizes else []
    if len(shape) != 4 or max(shape[2:]) <= 2 * SMALL:
        return deployed
    small = read_deployed(path, shape=[1, shape[1], SMALL, SMALL])
    for layer in small.definition.message.layer:
        p = layer.pooling_param
        if p.pool == pb.PoolingParameter.AVE and p.kernel_size > MOST_KERNEL:  # the size of the last maps
            layer.pooling_param.Clear()
            p.pool, p.global_pooling = pb.PoolingParameter.AVE, True
    try:
        small.net().close()
    except ShapeError:
        return deployed
    return small


def _normalised(name: str) -> bool:
    """Whether there is something to fold; where there is not, folding gives the net itself."""
    return re.search(r'type: "(BatchNorm|BN)"', (MODELS / name / "deploy.prototxt").read_text()) is not None


def _heavy(name: str) -> bool:
    return name in DEEPER or _learned(name) > LARGE


CASES = [
    pytest.param(name, folded, marks=[pytest.mark.heavy] * _heavy(name))
    for name in NETS
    for folded in (True, False)
    if folded or (_normalised(name) and not _heavy(name))
]


@pytest.mark.parametrize(("name", "folded"), CASES)
def test_net(name: str, folded: bool, tmp_path: Path) -> None:
    deployed = small_net(name)
    net = deployed.net(engine="auto")  # tests of the layers compare with the reference
    random_weights(net)
    with deployed.fold(net) if folded else net as net:
        path = tmp_path / "net.onnx"
        write_onnx(model_of(net), path)
        found = verify(path, net, scales=(1.0,))  # those of random_weights, whose values stay of the order of 1
        assert set(found) == set(net.outputs)
        if choosers(net):
            assert max(one.share for one in found.values()) < 0.01
        else:
            assert max(one.largest for one in found.values()) < 1e-4


def test_every_layer_of_the_zoo_has_a_form() -> None:
    types = {
        layer.type
        for name in NETS
        for layer in read_deployed(MODELS / name / "deploy.prototxt").definition.message.layer
    }
    assert not [name for name in types - {"Input"} if find(name) is None]
