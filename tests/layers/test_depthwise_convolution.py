from __future__ import annotations

import numpy as np
import pytest

from dragon.gradient import check_gradient
from tests.layers.helpers import One

X = np.random.default_rng(1).standard_normal((2, 4, 5, 5))
SETTING = 'num_output: 8 kernel_size: 3 pad: 1 weight_filler { type: "gaussian" }'


@pytest.mark.parametrize("name", ["DepthwiseConvolution", "ConvolutionDepthwise"])
def test_is_a_convolution_with_a_group_per_channel(name: str) -> None:
    one = One(f'type: "{name}" convolution_param {{ {SETTING} }}', X)
    plain = One(f'type: "Convolution" convolution_param {{ {SETTING} group: 4 }}', X)
    assert one.blobs[0].shape == (8, 1, 3, 3)
    np.testing.assert_array_equal(one.forward(), plain.forward())
    check_gradient(f'type: "{name}" convolution_param {{ {SETTING} }}', [X], most=30)


def test_group_may_be_given() -> None:
    one = One(f'type: "DepthwiseConvolution" convolution_param {{ {SETTING} group: 2 }}', X)
    assert one.blobs[0].shape == (8, 2, 3, 3)
