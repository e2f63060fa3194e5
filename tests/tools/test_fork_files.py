"""For each fork a small net as its own text and its own binary file: both load, run, and give the right values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dragon import TEST, Net
from dragon.errors import WeightsError
from dragon.files.weights import load_weights
from dragon.proto import dragon_pb2 as pb
from dragon.proto.binary import iter_layers, write_caffemodel
from dragon.proto.binary_net import detect_profile, read_binary_net
from dragon.proto.blobs import read_blobproto
from dragon.proto.text import parse_text
from tests.proto.test_profiles import field
from tests.tools.conftest import Dragon

INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 dim: 2 dim: 3 } } }'
X = np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3) - 4
TWO = np.array([2.0, 0.5])
MEAN, VAR = np.array([1.0, -1.0]), np.array([4.0, 0.25])


def per_channel(values: Any) -> Any:
    return np.asarray(values).reshape(1, -1, 1, 1)


def blob(values: Any, *shape: int) -> bytes:
    dims = b"".join(bytes([n]) for n in shape or np.shape(values))
    packed = np.asarray(values, "<f4").tobytes()
    return field(7, field(7, field(1, dims)) + field(5, packed))


def half(values: Any) -> bytes:
    return field(
        7, field(7, field(1, bytes(np.shape(values)))) + field(10, 2) + field(12, np.asarray(values, "<f2").tobytes())
    )


def layer(kind: str, settings: bytes, *blobs: bytes) -> bytes:
    return field(100, field(1, "y") + field(2, kind) + field(3, "x") + field(4, "y") + settings + b"".join(blobs))


def inputs() -> bytes:
    """The net's input x, in the older form that all forks have."""
    return field(3, "x") + field(8, field(1, bytes([1, 2, 2, 3])))


def batch_norm(gamma: Any, beta: Any, eps: float) -> Any:
    return per_channel(gamma) * (X - per_channel(MEAN)) / np.sqrt(per_channel(VAR) + eps) + per_channel(beta)


def average(x: Any) -> Any:
    """3 x 3, stride 1, pad 1, without the padding in the divisor."""
    padded, counted = (
        np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))),
        np.pad(np.ones(x.shape), ((0, 0), (0, 0), (1, 1), (1, 1))),
    )
    y = np.zeros_like(x, dtype=float)
    for i, j in np.ndindex(2, 3):
        window = (..., slice(i, i + 3), slice(j, j + 3))
        y[..., i, j] = padded[window].sum((2, 3)) / counted[window].sum((2, 3))
    return y


STATS = blob(MEAN, 1, 2, 1, 1) + blob(VAR, 1, 2, 1, 1)
CONV = np.arange(4, dtype=np.float32).reshape(2, 2, 1, 1)
CONVOLVED = np.einsum("oc,nchw->nohw", CONV[:, :, 0, 0], X)

# profile -> type and text of the layer, its bytes, its blobs, the top
Case = tuple[str, str, bytes, bytes, Callable[[], Any]]
CASES: dict[str, Case] = {
    "ssd": (
        "Normalize", "norm_param { across_spatial: false channel_shared: false }",
        field(206, field(1, 0) + field(3, 0)),
        blob(TWO), lambda: per_channel(TWO) * X / np.sqrt((X * X).sum(1, keepdims=True) + 1e-10),
    ),
    "mobilenet-yolo": (
        "Upsample", "upsample_param { scale: 2 }", field(150, field(1, 2)), b"", lambda: X.repeat(2, 2).repeat(2, 3),
    ),
    "nvcaffe": (
        "BatchNorm", "batch_norm_param { scale_bias: true eps: 0.5 }",
        field(145, 2) + field(146, 2) + field(139, field(7, 1) + field(3, 0.5)),
        b"".join(half(v) for v in (MEAN, VAR, np.ones(1), TWO, MEAN)), lambda: batch_norm(TWO, MEAN, 0.5),
    ),
    "intel": (
        "BatchNorm", "batch_norm_param { scale_bias: true eps: 0.5 relu: true }",
        field(139, field(5, 1) + field(6, 1) + field(3, 0.5) + field(10, 1)),
        STATS + blob([1.0]) + blob(TWO) + blob(MEAN), lambda: np.maximum(batch_norm(TWO, MEAN, 0.5), 0),
    ),
    "yjxiong": (
        "BN", "bn_param { eps: 0.5 frozen: true }", field(137, field(4, 0.5) + field(5, 1)),
        blob(TWO, 1, 2, 1, 1) + blob(MEAN, 1, 2, 1, 1) + STATS, lambda: batch_norm(TWO, MEAN, 0.5),
    ),
    "pspnet": (
        "BN", "bn_param { eps: 0.5 }", field(152, field(4, 0.5)),
        blob(TWO, 1, 2, 1, 1) + blob(MEAN, 1, 2, 1, 1) + STATS, lambda: batch_norm(TWO, MEAN, 0.5),
    ),
    "deeplab": (
        "Interp", "interp_param { shrink_factor: 2 }", field(153, field(4, 2)), b"", lambda: X[:, :, :1, ::2],
    ),
    "segnet": (
        "BN", "bn_param { bn_mode: INFERENCE }", field(45, field(3, 1)), blob(TWO, 1, 2, 1, 1) + blob(MEAN, 1, 2, 1, 1),
        lambda: per_channel(TWO) * X + per_channel(MEAN),
    ),
    "happynear": (
        "Permute", "permute_param { order: [0, 2, 3, 1] }",
        field(224, b"".join(field(1, n) for n in (0, 2, 3, 1))), b"",
        lambda: X.transpose(0, 2, 3, 1),
    ),
    "ristretto": (
        "ConvolutionRistretto",
        "convolution_param { num_output: 2 kernel_size: 1 bias_term: false } quantization_param { bw_params: 8 }",
        field(106, field(1, 2) + field(4, 1) + field(2, 0)) + field(145, field(4, 8) + field(6, 4)), blob(CONV),
        lambda: CONVOLVED,
    ),
    "synopsys": (
        "Pooling",
        "pooling_param { pool: AVE_EXC_PAD kernel_size: 3 pad_l: 1 pad_r: 1 pad_t: 1 pad_b: 1 ceil_mode: false }",
        field(121, field(1, 3) + field(2, 3) + field(16, 1) + field(17, 1) + field(18, 1) + field(19, 1)
        + field(14, 0)),
        b"", lambda: average(X),
    ),
}  # fmt: skip
DETECTED = set(CASES) - {"ssd", "synopsys"}  # SSD's numbers are ours; Pooling's settings tell nothing


def run(net: pb.NetParameter, weights: Path | None) -> Any:
    with Net(net, phase=TEST, engine="numpy") as made:
        if weights is not None:
            load_weights(made, [weights])
        made.blobs["x"].data[...] = X
        made.forward()
        return made.blobs["y"].data.copy()


@pytest.mark.parametrize("name", CASES)
def test_text_and_binary_give_the_right_values(tmp_path: Path, name: str) -> None:
    kind, text, raw, blobs, expected = CASES[name]
    path = tmp_path / "net.caffemodel"
    path.write_bytes(inputs() + layer(kind, raw, blobs))
    written = parse_text(
        INPUT + f' layer {{ name: "y" type: "{kind}" bottom: "x" top: "y" {text} }}', pb.NetParameter()
    )
    stored = read_binary_net(path, name)
    for net in (written, stored):
        np.testing.assert_allclose(run(net, path if blobs else None), expected(), rtol=2e-5, atol=1e-5)
    if name in DETECTED:
        assert detect_profile(path).name == name
        assert read_binary_net(path) == stored


@pytest.mark.parametrize("name", sorted(CASES))
def test_upgrade_brings_it_to_the_present_form(tmp_path: Path, dragon: Dragon, name: str) -> None:
    """The file of the fork becomes one that needs no profile."""
    kind, _, raw, blobs, expected = CASES[name]
    path, out = tmp_path / "old.caffemodel", tmp_path / "new.caffemodel"
    path.write_bytes(inputs() + layer(kind, raw, blobs or blob([0.0])))
    dragon("upgrade", "--profile", name, str(path), str(out))
    assert detect_profile(out).name == "dragon"
    net = read_binary_net(out)
    np.testing.assert_allclose(run(net, out if blobs else None), expected(), rtol=2e-5, atol=1e-5)


# -- half precision of NVCaffe


def test_half_precision_is_written_and_read(tmp_path: Path, dragon: Dragon) -> None:
    source, out = tmp_path / "w.caffemodel", tmp_path / "half.caffemodel"
    net = parse_text(INPUT + ' layer { name: "y" type: "InnerProduct" bottom: "x" top: "y" }', pb.NetParameter())
    values = np.array([[1.0, 1 / 3, -65504.0]], np.float32)
    write_caffemodel(source, net, {"y": [values]})
    dragon("upgrade", "--half", str(source), str(out))
    (stored,) = [a for a in iter_layers(out) if a.blobs]
    np.testing.assert_array_equal(stored.blobs[0].array, values.astype(np.float16).astype(np.float32))
    assert stored.blobs[0].shape == (1, 3)
    (raw,) = pb.NetParameter.FromString(out.read_bytes()).layer[1].blobs
    assert (raw.raw_data_type, raw.raw_data, len(raw.data)) == (pb.FLOAT16, values.astype("<f2").tobytes(), 0)


def test_half_precision_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    net = parse_text('layer { name: "y" type: "InnerProduct" bottom: "x" top: "y" }', pb.NetParameter())
    with pytest.raises(
        WeightsError, match=r'layer "y" \(InnerProduct\): blob 0 has values up to 70000, half precision ends'
    ):
        write_caffemodel(tmp_path / "w", net, {"y": [np.array([7e4, np.inf], np.float32)]}, half=True)
    assert not (tmp_path / "w").exists()


def test_half_precision_is_for_weights(tmp_path: Path, dragon: Dragon) -> None:
    (tmp_path / "net.prototxt").write_text(INPUT)
    assert "--half is for weights" in dragon("upgrade", "--half", str(tmp_path / "net.prototxt"), "-").error


# -- C3D


def c3d_blob(values: Any) -> bytes:
    values = np.asarray(values, "<f4")
    extents = b"".join(field(i + 1, n) for i, n in enumerate((1,) * (5 - values.ndim) + values.shape))
    return extents + field(6, values.tobytes())


def c3d_file(path: Path, weight: Any, bias: Any) -> Path:
    convolution = field(1, 2) + field(4, 3) + field(6, 2) + field(3, 1) + field(7, 1) + field(8, 2)
    convolution += field(9, field(1, "gaussian"))
    conv = field(2, "x") + field(3, "c") + field(4, "c") + field(5, 30) + field(10, convolution)
    conv += field(6, c3d_blob(weight)) + field(6, c3d_blob(bias))
    pool = field(2, "c") + field(3, "y") + field(4, "y") + field(5, 31)
    pool += field(19, field(1, 0) + field(2, 2) + field(3, 2) + field(5, 1) + field(6, 1))
    path.write_bytes(field(2, conv) + field(2, pool))
    return path


def test_weights_and_net_of_c3d(tmp_path: Path, dragon: Dragon) -> None:
    rng = np.random.default_rng(2)
    weight, bias, x = rng.standard_normal((2, 3, 2, 3, 3)), rng.standard_normal(2), rng.standard_normal((1, 3, 4, 4, 4))
    path = c3d_file(tmp_path / "c3d.caffemodel", weight, bias)
    assert detect_profile(path).name == "c3d"
    conv, pool = read_binary_net(path).layer
    assert list(conv.convolution_param.kernel_size) == [2, 3, 3]
    assert list(conv.convolution_param.stride) == [2, 1, 1]
    assert list(pool.pooling_param.kernel_shape.dim) == [1, 2, 2]
    (first, _) = iter_layers(path)
    np.testing.assert_array_equal(first.blobs[0].array, weight.astype(np.float32))
    assert first.blobs[1].shape == (1, 1, 1, 1, 2)
    dragon("upgrade", str(path), str(tmp_path / "new.caffemodel"))
    for weights in (path, tmp_path / "new.caffemodel"):
        net = parse_text('input: "x" input_shape { dim: 1 dim: 3 dim: 4 dim: 4 dim: 4 }', pb.NetParameter())
        net.layer.extend(read_binary_net(weights).layer)
        made = Net(net, phase=TEST, engine="numpy")
        load_weights(made, [weights])
        made.blobs["x"].data[...] = x
        made.forward()
        padded = np.pad(x, ((0, 0), (0, 0), (0, 0), (1, 1), (1, 1)))
        c = made.blobs["c"].data
        for t, h, w in np.ndindex(2, 4, 4):
            window = padded[0, None, :, 2 * t : 2 * t + 2, h : h + 3, w : w + 3]
            np.testing.assert_allclose(
                c[0, :, t, h, w], (window * weight).sum((1, 2, 3, 4)) + bias, rtol=1e-4, atol=1e-4
            )
        assert made.blobs["y"].shape == (1, 2, 2, 2, 2)
        made.close()


def test_a_type_that_only_c3d_has(tmp_path: Path) -> None:
    path = tmp_path / "w"
    path.write_bytes(field(2, field(4, "v") + field(5, 32)))
    with pytest.raises(WeightsError, match=r"c3d's value 32 of V1LayerParameter\.type is not offered"):
        read_binary_net(path, "c3d")


def test_a_mean_of_clips(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.float32).reshape(1, 3, 2, 2, 2)
    (tmp_path / "mean").write_bytes(c3d_blob(values))
    np.testing.assert_array_equal(read_blobproto(tmp_path / "mean"), values)
