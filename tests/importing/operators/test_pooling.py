from __future__ import annotations

from pathlib import Path

import pytest

from tests.importing.helpers import Case, case, run_case, x

A = x(2, 3, 9, 8)
ONE_SIDE = [0, 0, 1, 1]
CASES = [
    case("MaxPool", A, kernel_shape=[2, 2], strides=[2, 2]),
    case("MaxPool", A, kernel_shape=[3, 3], strides=[2, 2]),
    case("MaxPool", A, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, types="Pooling"),
    case("MaxPool", A, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    case("MaxPool", A, kernel_shape=[3, 2], strides=[1, 2], pads=[1, 0, 1, 0]),
    case("MaxPool", A, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    case("MaxPool", A, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_LOWER"),
    case("MaxPool", A, kernel_shape=[2, 2], pads=ONE_SIDE, bvlc="differs between two sides"),
    case("MaxPool", x(2, 3, 9), kernel_shape=[3], strides=[2]),
    case("MaxPool", x(2, 3, 6, 7, 8), kernel_shape=[1, 2, 2], strides=[1, 2, 2], types="Pooling"),
    case("MaxPool", x(2, 3, 6, 7, 8), kernel_shape=[3, 3, 2], strides=[2, 2, 1], pads=[1, 1, 0, 1, 1, 0]),
    case("AveragePool", x(2, 3, 6, 7, 8), kernel_shape=[3, 2, 2], strides=[2, 1, 2], pads=[1, 0, 0, 1, 0, 0]),
    case("AveragePool", x(2, 3, 6, 6, 8), kernel_shape=[2, 2, 2], strides=[2, 2, 2], types="Pooling"),
    case("MaxPool", x(2, 3, 6, 7, 8), kernel_shape=[2, 2, 2], strides=[2, 2, 2]),
    case("AveragePool", A, kernel_shape=[2, 2], strides=[2, 2]),
    case("AveragePool", A, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    case("AveragePool", A, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1),
    case("AveragePool", A, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    case("AveragePool", A, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1], types="Pooling"),
    case("AveragePool", A, kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1]),
    case("AveragePool", A, kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 2], count_include_pad=1),
    case("AveragePool", A, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    case("AveragePool", x(2, 3, 9), kernel_shape=[3], strides=[2], pads=[1, 1]),
    case("AveragePool", x(2, 3, 9), kernel_shape=[3], strides=[2], pads=[1, 1], count_include_pad=1),
    case("GlobalAveragePool", A, types="Pooling"),
    case("GlobalMaxPool", A, types="Pooling"),
    case("GlobalAveragePool", x(2, 3, 9)),
    case("GlobalMaxPool", x(2, 3, 4, 5, 6)),
]


@pytest.mark.parametrize("one", CASES, ids=lambda one: one.id)
def test_case(one: Case, tmp_path: Path) -> None:
    run_case(one, tmp_path)
