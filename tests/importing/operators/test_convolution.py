from __future__ import annotations

from pathlib import Path

import pytest

from tests.importing.helpers import Case, c, case, run_case, x

A = x(2, 4, 9, 8)
CASES = [
    case("Conv", A, c(6, 4, 3, 3), c(6), pads=[1, 1, 1, 1], types="Convolution"),
    case("Conv", A, c(6, 4, 3, 2), strides=[2, 1], pads=[1, 0, 1, 0]),
    case("Conv", A, c(6, 2, 3, 3), c(6), group=2, dilations=[2, 2], pads=[2, 2, 2, 2]),
    case("Conv", A, c(4, 1, 3, 3), group=4),
    case("Conv", A, c(6, 4, 3, 3), c(6), strides=[2, 2], pads=[0, 0, 1, 1], types="Pad Convolution"),
    case("Conv", A, c(6, 4, 3, 3), c(6), strides=[2, 2], pads=[2, 1, 0, 0]),
    case("Conv", A, c(6, 4, 3, 3), c(6), strides=[2, 2], auto_pad="SAME_UPPER"),
    case("Conv", A, c(6, 4, 3, 3), c(6), strides=[2, 2], auto_pad="SAME_LOWER"),
    case("Conv", A, c(6, 4, 3, 3), c(6), auto_pad="VALID"),
    case("Conv", A, c(6, 4, 2, 2), dilations=[2, 2], pads=[0, 0, 2, 2]),
    case("Conv", A, c(6, 4, 2, 2), dilations=[2, 2], pads=[0, 0, 1, 1]),
    case("Conv", x(2, 4, 9), c(6, 4, 3), c(6), pads=[1, 1], types="Convolution"),
    case("Conv", x(2, 4, 9), c(6, 4, 3), c(6), pads=[0, 2], strides=[2]),
    case("Conv", x(2, 4, 5, 6, 7), c(6, 4, 3, 2, 3), c(6), pads=[1, 0, 1, 1, 0, 1], strides=[2, 1, 1]),
    case("ConvTranspose", A, c(4, 6, 2, 2), c(6), strides=[2, 2], types="Deconvolution"),
    case("ConvTranspose", A, c(4, 3, 4, 3), c(6), strides=[2, 2], group=2, pads=[1, 1, 1, 1]),
    case("ConvTranspose", A, c(4, 6, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]),
    case("ConvTranspose", A, c(4, 6, 3, 3), c(6), strides=[2, 2], pads=[0, 1, 1, 0]),
    case("ConvTranspose", A, c(4, 6, 3, 3), c(6), strides=[2, 2], pads=[2, 1, 0, 0], output_padding=[0, 1]),
    case("ConvTranspose", A, c(4, 6, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER"),
    case("ConvTranspose", A, c(4, 6, 3, 3), strides=[2, 2], output_shape=[18, 17]),
    case("ConvTranspose", x(2, 4, 9), c(4, 6, 4), c(6), strides=[2], pads=[1, 1]),
]


@pytest.mark.parametrize("one", CASES, ids=lambda one: one.id)
def test_case(one: Case, tmp_path: Path) -> None:
    run_case(one, tmp_path)
