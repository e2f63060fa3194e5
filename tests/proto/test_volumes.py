"""Forks' windows over three axes are read as those of Convolution and Pooling."""

from __future__ import annotations

import numpy as np
import pytest

import dragon
from dragon.errors import PrototxtError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.proto.upgrade import needs_upgrade, upgrade_net

# what forks write, and the present form
FORMS = {
    'type: "Convolution3D" convolution_param { kernel_size: 3 kernel_depth: 2 pad: 1 temporal_stride: 2 }':
        'type: "Convolution" convolution_param { kernel_size: [2, 3, 3] pad: [0, 1, 1] stride: [2, 1, 1] }',
    'type: "Convolution3D" convolution_param { kernel_size: 3 kernel_depth: 3 pad: 1 temporal_pad: 1 filter_group: 2 }':
        'type: "Convolution" convolution_param { kernel_size: 3 pad: 1 }',
    'type: "Convolution3D" convolution_param { kernel_h: 1 kernel_w: 2 kernel_depth: 3 stride: 2 }':
        'type: "Convolution" convolution_param { kernel_size: [3, 1, 2] stride: [1, 2, 2] }',
    'type: "Deconvolution3D" convolution_param { kernel_size: 4 kernel_depth: 4 stride: 2 temporal_stride: 2 }':
        'type: "Deconvolution" convolution_param { kernel_size: 4 stride: 2 }',
    'type: "NdConvolution" convolution_param { kernel_shape { dim: [3, 1, 2] } pad_shape { dim: [1, 0, 1] } }':
        'type: "Convolution" convolution_param { kernel_size: [3, 1, 2] pad: [1, 0, 1] }',
    'type: "Pooling3D" pooling_param { pool: MAX kernel_size: 2 kernel_depth: 1 stride: 2 temporal_stride: 1 }':
        'type: "Pooling" pooling_param { pool: MAX kernel_shape { dim: [1, 2, 2] } stride_shape { dim: [1, 2, 2] } }',
    'type: "Pooling3D" pooling_param { pool: AVE kernel_size: 2 kernel_depth: 2 stride: 2 temporal_stride: 2 pad: 1 }':
        'type: "Pooling" pooling_param { pool: AVE kernel_size: 2 stride: 2 pad_shape { dim: [0, 1, 1] } }',
    'type: "NdPooling" pooling_param { kernel_shape { dim: [1, 2, 2] } stride_shape { dim: [1, 2, 2] } }':
        'type: "Pooling" pooling_param { kernel_shape { dim: [1, 2, 2] } stride_shape { dim: [1, 2, 2] } }',
    'type: "Pooling" pooling_param { kernel_size: 1 kernel_size: 2 kernel_size: 3 stride: 2 pad: 0 pad: 1 pad: 0 }':
        'type: "Pooling" pooling_param { kernel_shape { dim: [1, 2, 3] } stride: 2 pad_shape { dim: [0, 1, 0] } }',
    'type: "Pooling" pooling_param { kernel_size_3d: [1, 2, 3] stride_3d: [2, 2, 2] pad_3d: [0, 1, 1] }':
        'type: "Pooling" pooling_param { kernel_shape { dim: [1, 2, 3] } stride: 2 pad_shape { dim: [0, 1, 1] } }',
    'type: "Pooling3D" pooling_param { pool: AVE global_pooling: true }':
        'type: "Pooling" pooling_param { pool: AVE global_pooling: true }',
}  # fmt: skip


def net_of(layer: str, size: str = "4 5 6") -> pb.NetParameter:
    dims = " ".join(f"dim: {n}" for n in f"2 3 {size}".split())
    return parse_text(
        f'layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ {dims} }} }} }}'
        f'layer {{ name: "y" bottom: "x" top: "y" {layer} }}',
        pb.NetParameter(),
    )


@pytest.mark.parametrize("given", FORMS)
def test_the_present_form(given: str) -> None:
    net, wanted = net_of(given), net_of(FORMS[given])
    upgraded = upgrade_net(net)
    assert upgraded == wanted
    assert not needs_upgrade(upgraded)


def test_layers_of_c3d_in_the_older_form() -> None:
    net = parse_text(
        """
        layers { name: "c" type: CONVOLUTION3D bottom: "x" top: "c"
                 convolution_param { kernel_size: 3 kernel_depth: 2 } }
        layers { name: "d" type: DECONVOLUTION3D bottom: "c" top: "d"
                 convolution_param { kernel_size: 3 kernel_depth: 2 } }
        layers { name: "p" type: POOLING3D bottom: "d" top: "p" pooling_param { kernel_size: 2 kernel_depth: 1 } }
        """,
        pb.NetParameter(),
    )
    assert [layer.type for layer in upgrade_net(net).layer] == ["Convolution", "Deconvolution", "Pooling"]


@pytest.mark.parametrize("engine", ["numpy", "auto"])
def test_c3d_convolution_and_pooling_by_loops(engine: str) -> None:
    net = net_of(
        'type: "Convolution3D" convolution_param { num_output: 2 kernel_size: 3 kernel_depth: 2 pad: 1 temporal_pad: 1 '
        'temporal_stride: 2 filter_group: 2 weight_filler { type: "gaussian" } bias_filler { value: 0.5 } } } '
        'layer { name: "z" bottom: "y" top: "z" type: "Pooling3D" '
        "pooling_param { pool: MAX kernel_size: 2 kernel_depth: 1 stride: 2 temporal_stride: 1 }"
    )
    x = np.random.default_rng(1).standard_normal((2, 3, 4, 5, 6))
    with dragon.Net(net, phase=dragon.TEST, engine=engine, seed=3) as made:
        made.blobs["x"].data[...] = x
        made.forward()
        weight, bias = (blob.data.astype(float) for blob in made.params["y"])
        y, z = made.blobs["y"].data, made.blobs["z"].data
        assert (weight.shape, y.shape, z.shape) == ((2, 3, 2, 3, 3), (2, 2, 3, 5, 6), (2, 2, 3, 3, 3))
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1), (1, 1)))
        for t, h, w in np.ndindex(3, 5, 6):
            window = padded[:, None, :, 2 * t : 2 * t + 2, h : h + 3, w : w + 3]
            np.testing.assert_allclose(
                y[:, :, t, h, w], (window * weight).sum((2, 3, 4, 5)) + bias, rtol=1e-4, atol=1e-4
            )
        for t, h, w in np.ndindex(3, 3, 3):
            part = y[:, :, t, 2 * h : 2 * h + 2, 2 * w : 2 * w + 2]
            np.testing.assert_array_equal(z[:, :, t, h, w], part.max((2, 3)))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ('type: "Convolution3D" convolution_param { kernel_size: 3 }', "kernel_depth is missing"),
        ('type: "Pooling3D" pooling_param { kernel_depth: 3 }', "kernel_size is missing"),
        ('type: "Convolution" convolution_param { temporal_stride: 2 kernel_size: 3 }',
         "kernel_depth is missing, temporal_stride is given"),
        ('type: "Convolution3D" convolution_param { kernel_size: [3, 3] kernel_depth: 1 }',
         "kernel_size is one number for height and width beside kernel_depth, got 2"),
        ('type: "Pooling3D" pooling_param { kernel_size: 3 kernel_h: 3 kernel_depth: 1 }',
         "give kernel_size or kernel_h and kernel_w, not both"),
        ('type: "NdConvolution" convolution_param { kernel_size: 3 kernel_shape { dim: 3 } }',
         "give kernel_size or kernel_shape, not both"),
        ('type: "Pooling" pooling_param { kernel_size_3d: 3 kernel_shape { dim: 3 } }',
         "give kernel_shape or kernel_size_3d, not both"),
    ],
)  # fmt: skip
def test_messages(layer: str, message: str) -> None:
    with pytest.raises(PrototxtError, match=f'layer "y" .*: {message}$'):
        upgrade_net(net_of(layer))


@pytest.mark.parametrize("value", [-1, 1 << 32, -(1 << 63)])
def test_a_size_out_of_range_is_one_line(value: int) -> None:
    net = pb.NetParameter()
    net.layer.add(name="c", type="NdConvolution").convolution_param.kernel_shape.dim.append(value)
    with pytest.raises(PrototxtError, match=f'layer "c".*kernel_size takes whole numbers from 0 to .*, got {value:,}'):
        upgrade_net(net)
