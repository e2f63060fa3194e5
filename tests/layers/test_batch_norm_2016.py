"""The first Dragon's BatchNorm against a model of it in NumPy, written from its description."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.engines import Options
from dragon.errors import PrototxtError
from dragon.gradient import check_gradient
from dragon.graph.net import Net
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from tests.layers.helpers import One

ENGINES = ("numpy", "onednn")
NET = """
profile: "dragon-2016"
force_backward: true
layer { name: "data" type: "Input" top: "conv1" input_param { shape { dim: 6 dim: 3 dim: 4 dim: 5 } } }
layer{ name:"bn1" type:"BatchNorm" bottom:"conv1" top:"bn1" SETTINGS}
"""


class Model:
    """The layer for (N, C, H, W): history = decay newest + (1 - decay) history, of the mean and of sqrt(var + eps)."""

    def __init__(self, channels: int, decay: float = 0.95, eps: float = 1e-10, use_global_stats: bool = True) -> None:
        self.decay, self.eps, self.use_global_stats = decay, eps, use_global_stats
        self.beta = np.full(channels, 1e-7)
        self.gamma = np.full(channels, 1.0000001)
        self.mean, self.deviation = np.zeros(channels), np.zeros(channels)

    def forward(self, x: Array, phase: int) -> Array:
        if phase == TEST and self.use_global_stats:
            mean, deviation = self.mean, self.deviation
        else:
            mean = np.array([x[:, c].mean() for c in range(x.shape[1])])
            deviation = np.sqrt([((x[:, c] - mean[c]) ** 2).mean() + self.eps for c in range(x.shape[1])])
            self.mean = self.decay * mean + (1 - self.decay) * self.mean
            self.deviation = self.decay * deviation + (1 - self.decay) * self.deviation
        y = np.empty_like(x)
        for c in range(x.shape[1]):
            y[:, c] = (x[:, c] - mean[c]) / deviation[c] * self.gamma[c] + self.beta[c]
        return y

    def blobs(self) -> list[Array]:
        return [self.beta, self.gamma, self.mean, self.deviation]


def net_of(settings: str, engine: str, phase: int) -> Net:
    text = NET.replace("SETTINGS", f"batch_norm_param {{ {settings} }}" if settings else "")
    return Net(parse_text(text, pb.NetParameter()), phase=phase, engine=engine, options=Options(), seed=1)


def batches(count: int) -> list[Array]:
    rng = np.random.default_rng(5)
    scale = np.array([0.5, 3.0, 10.0])[:, None, None]
    return [rng.standard_normal((6, 3, 4, 5)) * scale * (1 + k) + k for k in range(count)]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("settings", "model"),
    [
        ("", Model(3)),
        ("decay: 0.3 eps: 0.01", Model(3, 0.3, 0.01)),
        ("use_global_stats: true", Model(3)),
        ("use_global_stats: false decay: 0.6", Model(3, 0.6, use_global_stats=False)),
    ],
    ids=["defaults", "numbers", "global", "batch"],
)
def test_train_and_test_are_those_of_the_model(engine: str, settings: str, model: Model) -> None:
    model = Model(3, model.decay, model.eps, model.use_global_stats)
    train, test = net_of(settings, engine, TRAIN), net_of(settings, engine, TEST)
    test.share_with(train)
    for k, x in enumerate(batches(5)):
        y = train.forward(conv1=x)["bn1"]
        np.testing.assert_allclose(y, model.forward(x, TRAIN), rtol=1e-4, atol=1e-5)
        if k % 2:
            y = test.forward(conv1=x + 1)["bn1"]
            np.testing.assert_allclose(y, model.forward(x + 1, TEST), rtol=1e-4, atol=1e-5)
        for blob, expected in zip(train.params["bn1"], model.blobs(), strict=True):
            np.testing.assert_allclose(blob.data, expected, rtol=1e-5, atol=1e-6)


def test_a_running_deviation_is_not_the_root_of_a_running_variance() -> None:
    """Batches of very different spread tell them apart: 0.5 (1 + 9) against sqrt(0.5 (1 + 81))."""
    one = One('type: "BatchNorm" profile: "dragon-2016" batch_norm_param { decay: 0.5 }', np.zeros((2, 1)))
    for spread in (9.0, 1.0):
        one.forward(np.array([[-spread], [spread]]))
    np.testing.assert_allclose(one.blobs[3], 0.5 * (0.5 * 9) + 0.5 * 1, rtol=1e-6)


def test_a_constant_channel() -> None:
    """sqrt(0 + 1e-10) is stored as 1e-5, and read as a variance of 0."""
    one = One('type: "BatchNorm" profile: "dragon-2016" batch_norm_param { decay: 1 }', np.full((4, 2, 3, 3), 100.0))
    np.testing.assert_allclose(one.forward(), 1e-7)
    np.testing.assert_allclose(one.blobs[3], 1e-5)
    one.layer.phase = TEST
    np.testing.assert_allclose(one.forward(), 1e-7)


@pytest.mark.parametrize("phase", [TRAIN, TEST])
@pytest.mark.parametrize("in_place", [False, True])
def test_gradient(phase: int, in_place: bool) -> None:
    text = 'type: "BatchNorm" profile: "dragon-2016" batch_norm_param { eps: 0.5 }'
    x = np.random.default_rng(0).standard_normal((4, 3, 2, 2))
    assert check_gradient(text, [x], in_place=in_place, phase=phase) > 0


def test_learned_are_beta_and_gamma() -> None:
    net = net_of("", "numpy", TRAIN)
    assert [param.blob for param in net.learnable] == list(net.params["bn1"])[:2]


@pytest.mark.parametrize("setting", ["moving_average_fraction: 0.9", "average: EMA", "scale_bias: true"])
def test_settings_that_it_did_not_have(setting: str) -> None:
    with pytest.raises(PrototxtError, match=rf"has {setting.split(':')[0]}, which the first Dragon"):
        net_of(setting, "numpy", TRAIN)


def test_decay_out_of_range() -> None:
    with pytest.raises(PrototxtError, match=r"decay must be between 0 and 1, got 1\.5"):
        net_of("decay: 1.5", "numpy", TRAIN)
