"""SegNet's BN against the merged BN and a Scale, its statistics as tops, its weights, and its gradients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dragon
from dragon.bases.layer import TEST, TRAIN
from dragon.errors import PrototxtError, WeightsError
from dragon.gradient import check_gradient
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb
from dragon.proto.blobs import array_to_blobproto
from tests.engines.onednn.comparing import make_net
from tests.layers.helpers import One

LEARN = 'type: "BN" bn_param { scale_filler { type: "uniform" min: 0.5 max: 2 } shift_filler { value: 0.3 } }'
INFERENCE = LEARN.replace("bn_param {", "bn_param { bn_mode: INFERENCE")
X = np.random.default_rng(2).standard_normal((4, 3, 2, 5))


@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_by_the_batch_in_both_phases(phase: int) -> None:
    one = One(LEARN, X, dtype=np.float64, phase=phase, n_top=3)
    y = one.forward()
    scale, shift = one.blobs
    assert scale.shape == shift.shape == (1, 3, 1, 1)
    assert (shift == np.float32(0.3)).all()
    mean, variance = X.mean((0, 2, 3), keepdims=True), X.var((0, 2, 3), keepdims=True)
    np.testing.assert_allclose(y, scale * (X - mean) / np.sqrt(variance + 1e-9) + shift, rtol=1e-12)
    np.testing.assert_allclose(one.top[1].data, mean, rtol=1e-12)
    np.testing.assert_allclose(one.top[2].data, variance, rtol=1e-12)


@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_inference_is_a_scale_and_a_shift(phase: int) -> None:
    one = One(INFERENCE, X, dtype=np.float64, phase=phase)
    scale, shift = one.blobs
    np.testing.assert_allclose(one.forward(), scale * X + shift, rtol=1e-12)


@pytest.mark.parametrize("text", [LEARN, INFERENCE], ids=["learn", "inference"])
@pytest.mark.parametrize("in_place", [False, True])
def test_gradients(text: str, in_place: bool) -> None:
    assert check_gradient(text, [X], in_place=in_place) > 0


def test_a_default_scale_of_one() -> None:
    assert (One('type: "BN" bn_param { bn_mode: LEARN }', X).blobs[0] == 1).all()


def test_forms_of_other_forks_do_not_mix() -> None:
    with pytest.raises(PrototxtError, match=r'"one" \(BN\): bn_param has eps, of a BN that keeps an average'):
        One('type: "BN" bn_param { bn_mode: LEARN eps: 1e-4 }', X)
    with pytest.raises(PrototxtError, match="takes exactly 1 top blob with bn_mode INFERENCE, got 2"):
        One(INFERENCE, X, n_top=2)


NET = """layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 dim: 2 dim: 5 } } }
layer { name: "conv1_bn" type: "BN" bottom: "x" top: "x" bn_param { bn_mode: INFERENCE scale_filler { value: 1 } } }"""


def weights(path: Path) -> tuple[Array, Array]:
    """A file with SegNet's two blobs."""
    scale, shift = np.array([2, -1, 0.5], np.float32), np.array([1, 0, -3], np.float32)
    net = pb.NetParameter()
    blobs = [array_to_blobproto(blob.reshape(1, 3, 1, 1)) for blob in (scale, shift)]
    net.layer.add(name="conv1_bn", type="BN", blobs=blobs)
    path.write_bytes(net.SerializeToString())
    return scale, shift


@pytest.mark.parametrize("engine", ["numpy", "auto"])
def test_weights_with_two_blobs(tmp_path: Path, engine: str) -> None:
    scale, shift = weights(tmp_path / "segnet.caffemodel")
    net = make_net(NET, engine, TEST)
    net.copy_from(tmp_path / "segnet.caffemodel")
    net.blobs["x"].data[...] = X
    net.forward()
    expected = X * scale.reshape(1, 3, 1, 1) + shift.reshape(1, 3, 1, 1)
    np.testing.assert_allclose(net.blobs["x"].data, expected, rtol=1e-5, atol=1e-5)
    net.close()


def test_the_same_weights_for_a_bn_with_an_average_are_refused(tmp_path: Path) -> None:
    weights(tmp_path / "segnet.caffemodel")
    plain = NET.split("bn_param")[0] + "}"
    net = dragon.Net(_parsed(plain), TEST, engine="numpy")
    expected = r"has 5 parameter blobs, the file has 2 .*SegNet.*bn_param \{ bn_mode: INFERENCE \}"
    with pytest.raises(WeightsError, match=expected):
        net.copy_from(tmp_path / "segnet.caffemodel")


def _parsed(text: str) -> pb.NetParameter:
    from dragon.proto.text import parse_text

    return parse_text(text, pb.NetParameter())
