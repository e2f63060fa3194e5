"""Convolutions of several narrow groups at a time have the results of the groups by themselves."""

from __future__ import annotations

import numpy as np
import pytest

import dragon
from dragon.engines.onednn.kernels.convolution import ConvSpec
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.lowerings.merged_groups import merged
from tests.engines.onednn.comparing import forward, notes, on_both

FILLED = "weight_filler { type: 'gaussian' std: 0.5 } bias_filler { type: 'gaussian' std: 0.5 }"
WIDE = "convolution_param { num_output: 32 kernel_size: 1 weight_filler { type: 'gaussian' std: 0.5 } }"


@pytest.mark.parametrize(
    ("inputs", "outputs", "groups", "together"),
    [(32, 32, 8, 2), (32, 32, 16, 4), (32, 64, 8, 2), (32, 32, 4, 1), (32, 32, 32, 8), (12, 12, 3, 1), (48, 48, 4, 1),
     (8, 8, 2, 1), (32, 32, 1, 1)],
)  # fmt: skip
def test_how_many_fill_a_block(inputs: int, outputs: int, groups: int, together: int) -> None:
    ones = (1, 1)
    spec = ConvSpec((1, inputs, 5, 5), (1, outputs, 5, 5), ones, ones, (0, 0), ones, groups)
    assert merged(spec, 8) == together


def _nets(groups: int, more: str = "") -> tuple[dragon.Net, dragon.Net]:
    """x, a pointwise convolution, narrow groups, BatchNorm, `more`, a pointwise convolution with ReLU."""
    text = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 16 dim: 9 dim: 8 } } }\n'
    text += f'layer {{ name: "a" type: "Convolution" bottom: "x" top: "a" {WIDE} }}\n'
    grouped = f"convolution_param {{ num_output: 32 kernel_size: 3 pad: 1 group: {groups} {FILLED} }}"
    text += f'layer {{ name: "g" type: "Convolution" bottom: "a" top: "g" {grouped} }}\n'
    text += f'layer {{ name: "n" type: "BatchNorm" bottom: "g" top: "g" }}\n{more}\n'
    text += f'layer {{ name: "y" type: "Convolution" bottom: "g" top: "y" {WIDE} }}\n'
    text += 'layer { name: "r" type: "ReLU" bottom: "y" top: "y" }\n'
    return on_both(text, normalisation="n")


RELU = 'layer { name: "q" type: "ReLU" bottom: "g" top: "g" }'
SWISH = 'layer { name: "q" type: "HardSwish" bottom: "g" top: "g" }'


@pytest.mark.parametrize("more", ["", RELU, SWISH], ids=["", "relu", "swish"])
@pytest.mark.parametrize("groups", [8, 16])
def test_results_are_the_reference_s(device: Device, groups: int, more: str) -> None:
    """Also with NaN, infinities and overflow in one group, which do not reach the others, and with new weights."""
    nets = _nets(groups, more)
    rng = np.random.default_rng(1)
    for value in (1.0, np.nan, np.inf, 1e20, 1.0, 3e36, 1.0, 1.0):
        for net in nets:
            net.params["g"][0].data[...] *= -1
        x = rng.standard_normal((1, 16, 9, 8)).astype(np.float32)
        weight = nets[0].params["a"][0].peek().copy()
        weight[5] = value  # so that one channel of the grouped convolution's bottom is not finite, or large
        for net in nets:
            net.params["a"][0].data[...] = weight
        forward(nets, x)
        for top in ("a", "g", "y"):
            result, wanted = (net.blobs[top].peek() for net in nets)
            scale = np.abs(wanted[np.isfinite(wanted)]).max(initial=1)
            np.testing.assert_array_equal(np.isnan(result), np.isnan(wanted), f"{top} {value}")
            np.testing.assert_allclose(result / scale, wanted / scale, atol=2e-5, err_msg=f"{top} {value}")
    found = [note for note in notes(nets[0]).values() if "groups at a time" in note]
    assert len(found) == (0 if device.has_avx512 else 1)
