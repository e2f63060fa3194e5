"""Modules of layers on bottoms of few axes, equal values or small sizes, as random nets have them.

These tests need PyTorch (`make test-peers`).
"""

from __future__ import annotations

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.export.torch.module import export
from tests.export.torch.helpers import make_net, run_source

torch = pytest.importorskip("torch")

F = 'weight_filler { type: "gaussian" std: 0.3 }'
CASES: dict[str, tuple[tuple[tuple[int, ...], ...], str]] = {
    "recurrent layer over single numbers": (
        ((3, 2), (3, 2)),
        f'type: "LSTM" bottom: "x0" bottom: "x1" top: "y" recurrent_param {{ num_output: 2 {F} }}',
    ),
    "RNN over single numbers": (
        ((3, 2), (3, 2)),
        f'type: "RNN" bottom: "x0" bottom: "x1" top: "y" recurrent_param {{ num_output: 2 {F} }}',
    ),
    "scale of no axes": (((2, 3), ()), 'type: "Scale" bottom: "x0" bottom: "x1" top: "y" scale_param { axis: 1 }'),
    "learned scale of no axes": (((2, 3),), 'type: "Scale" bottom: "x0" top: "y" scale_param { axis: 0 num_axes: 0 }'),
    "permute of no axes": (((),), 'type: "Permute" bottom: "x0" top: "y"'),
    "windows that end behind the image": (
        ((1, 1, 2, 2),),
        'type: "Im2col" bottom: "x0" top: "y" convolution_param { kernel_h: 3 kernel_w: 1 stride_h: 2 stride_w: 1 }',
    ),
    "pooling by more than the volume": (
        ((1, 2, 1, 3, 4),),
        'type: "Pooling" bottom: "x0" top: "y" pooling_param { pool: AVE kernel_size: 2 stride: 2 }',
    ),
}


def _text(shapes: tuple[tuple[int, ...], ...], layer: str) -> str:
    text = "force_backward: true\n"
    for i, shape in enumerate(shapes):
        dims = " ".join(f"dim: {dim}" for dim in shape)
        text += f'layer {{ name: "x{i}" type: "Input" top: "x{i}" input_param {{ shape {{ {dims} }} }} }}\n'
    return f'{text}layer {{ name: "one" {layer} }}\n'


@pytest.mark.parametrize("name", CASES)
def test_module_computes_what_the_layer_computes(name: str) -> None:
    shapes, layer = CASES[name]
    net = make_net(_text(shapes, layer), TEST)
    rng = np.random.default_rng(0)
    for blob in net.inputs:
        net.blobs[blob].data[...] = rng.normal(size=net.blobs[blob].shape) > 0 if blob == "x1" else rng.normal()
    net.blobs["x0"].data[...] = rng.normal(size=net.blobs["x0"].shape)
    module = run_source(export(net)).eval()
    y = module(*(torch.from_numpy(np.array(net.blobs[blob].peek())) for blob in net.inputs))
    net.forward()
    np.testing.assert_allclose(y.detach().numpy(), net.blobs["y"].peek(), rtol=1e-9, atol=1e-12)
    assert tuple(y.shape) == net.blobs["y"].shape


def test_equal_values_have_a_gradient_behind_mvn() -> None:
    """As behind a ReLU that lets nothing of a channel pass: sqrt has no derivative at 0."""
    net = make_net(_text(((1, 2, 2, 2),), 'type: "MVN" bottom: "x0" top: "y" mvn_param { eps: 0.125 }'), TRAIN)
    x = np.stack([np.zeros((2, 2)), np.arange(4.0).reshape(2, 2)])[None]
    dy = np.arange(8.0).reshape(x.shape) ** 2
    given = torch.from_numpy(x).requires_grad_()
    (run_source(export(net)).train()(given) * torch.from_numpy(dy)).sum().backward()
    net.blobs["x0"].data[...], net.blobs["y"].diff[...] = x, dy
    net.forward()
    net.backward()
    assert given.grad is not None
    np.testing.assert_allclose(given.grad.numpy(), net.blobs["x0"].peek_diff(), rtol=1e-9, atol=1e-9)


def test_labels_that_are_found_are_numbers_of_the_net() -> None:
    """Behind a decoder stands a layer that computes with them."""
    text = _text(((3, 2, 4),), 'type: "CTCGreedyDecoder" bottom: "x0" top: "found"')
    text += 'layer { name: "two" type: "HardSigmoid" bottom: "found" top: "y" }'
    net = make_net(text, TEST)
    net.blobs["x0"].data[...] = np.random.default_rng(1).normal(size=(3, 2, 4))
    y = run_source(export(net)).eval()(torch.from_numpy(np.array(net.blobs["x0"].peek())))
    net.forward()
    np.testing.assert_allclose(y.numpy(), net.blobs["y"].peek(), rtol=1e-9)


@pytest.mark.parametrize("settings", ["zoom_factor: 2", "shrink_factor: 2 zoom_factor: 3 pad_beg: -1"])
def test_interp_follows_the_size_of_the_image(settings: str) -> None:
    text = _text(((1, 2, 5, 4),), f'type: "Interp" bottom: "x0" top: "y" interp_param {{ {settings} }}')
    net = make_net(text, TEST)
    module = run_source(export(net)).eval()
    for size in ((5, 4), (8, 7)):
        net.blobs["x0"].reshape(1, 2, *size)
        net.blobs["x0"].data[...] = np.random.default_rng(0).normal(size=(1, 2, *size))
        y = module(torch.from_numpy(np.array(net.blobs["x0"].peek())))
        net.forward()
        np.testing.assert_allclose(y.numpy(), net.blobs["y"].peek(), rtol=1e-9, atol=1e-12)
