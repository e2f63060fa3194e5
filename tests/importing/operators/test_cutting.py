from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.importing.helpers import Case, c, case, ints, run_case, x

A = x(2, 6, 5, 4)
f = np.float32
CASES = [
    case("Split", A, axis=1, outputs=2, types="Slice"),
    case("Split", A, ints(1, 2, 3), axis=1, outputs=3),
    case("Split", A, opset=11, axis=2, split=[2, 3], outputs=2),
    case("Split", A, opset=18, axis=1, num_outputs=3, outputs=3),
    case("Split", x(2, 6, 5), opset=18, axis=2, num_outputs=2, outputs=2),
    case("Slice", A, ints(1), ints(3), ints(1), types="Slice Silence"),
    case("Slice", A, ints(0, 1), ints(1, 4), ints(1, 2)),
    case("Slice", A, ints(-2), ints(2**62), ints(1)),
    case("Slice", A, ints(0), ints(2**63 - 1), ints(1), ints(2)),
    case("Slice", A, ints(1), ints(5), ints(2), ints(2)),
    case("Slice", A, ints(0), ints(4), ints(3), ints(3)),
    case("Slice", A, ints(-1), ints(-(2**63)), ints(2), ints(-1)),
    case("Slice", A, ints(4), ints(0), ints(2), ints(-2)),
    case("Slice", A, opset=9, starts=[1], ends=[4], axes=[1]),
    case("Slice", A, opset=9, starts=[0, 1], ends=[2, 4]),
    case("Gather", A, np.array(2, np.int64), axis=1),
    case("Gather", A, ints(1, 2, 3), axis=1),
    case("Gather", A, ints(0, 2, 4), axis=2),
    case("Gather", A, ints(-1), axis=3),
    case("Gather", A, ints(2, 1, 0), axis=1, types="Convolution"),
    case("Gather", A, np.array([[0, 0], [1, -1]], np.int64), axis=3),
    case("GatherND", A, np.array([[1, 2], [0, 0], [-1, 1]], np.int64)),
    case("GatherND", A, np.array([[[1], [0]], [[0], [1]]], np.int64)),
    case("Gather", c(7, 3), x(2, 4, kind=onnx.TensorProto.INT64), types="Embed"),
    case("Pad", A, ints(0, 0, 1, 2, 0, 0, 3, 0), types="Pad"),
    case("Pad", A, ints(0, 0, 1, 1, 0, 0, 1, 1), np.array(2, f)),
    case("Pad", A, ints(0, 0, 1, 1, 0, 0, 1, 1), mode="reflect"),
    case("Pad", A, ints(0, 0, 1, 1, 0, 0, 1, 1), mode="edge"),
    case("Pad", A, ints(0, 0, 1, 1, 0, 0, 1, 1), mode="wrap", opset=19),
    case("Pad", A, ints(0, 1, 1, 1, 0, 0, 1, 1), mode="reflect"),
    case("Pad", x(2, 3, 9), ints(0, 0, 4, 0, 0, 2), mode="reflect", types="InnerProduct"),
    case("Pad", x(2, 9), ints(0, 1, 0, 2), np.array(-2, f)),
    case("Pad", A, ints(0, 1, 0, 0, 0, 2, 0, 0), types="Convolution"),
    case("Pad", A, ints(0, 1, 1, 0, 0, 2, 0, 3)),
    case("Pad", A, ints(0, 0, -1, 1, 0, 0, 1, -2)),
    case("Pad", A, ints(1, 2), None, ints(2), opset=18),
    case("Pad", A, opset=9, pads=[0, 0, 1, 1, 0, 0, 1, 1]),
    case("Pad", x(2, 3, 5), ints(0, 0, 1, 0, 0, 1)),
]


@pytest.mark.parametrize("one", CASES, ids=lambda one: one.id)
def test_case(one: Case, tmp_path: Path) -> None:
    run_case(one, tmp_path)
