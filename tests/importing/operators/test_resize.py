from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from dragon.errors import PrototxtError
from tests.importing.helpers import Array, Case, case, ints, load, model, run_case, x

A = x(2, 3, 5, 4)


def scales(*values: float) -> Array:
    return np.array(values, np.float32)


CASES = [
    case("Resize", A, None, scales(1, 1, 2, 2), mode="nearest", nearest_mode="floor",
         coordinate_transformation_mode="asymmetric", types="Upsample"),
    case("Resize", A, None, scales(1, 1, 2, 3), mode="nearest"),
    case("Resize", A, None, None, ints(2, 3, 10, 8), mode="nearest"),
    case("Resize", A, None, scales(1, 1, 0.5, 0.5), mode="nearest"),
    case("Resize", A, None, scales(1, 1, 1.5, 1.7), mode="nearest"),
    case("Resize", A, None, None, ints(2, 3, 9, 9), mode="linear", coordinate_transformation_mode="align_corners",
         types="Interp"),
    case("Resize", A, None, scales(1, 1, 2, 2), mode="linear", coordinate_transformation_mode="half_pixel",
         types="Pad Deconvolution"),
    case("Resize", A, None, scales(1, 1, 3, 2), mode="linear", coordinate_transformation_mode="pytorch_half_pixel"),
    case("Resize", A, None, None, ints(2, 3, 7, 9), mode="linear", types="Reshape Convolution Reshape InnerProduct"),
    case("Resize", A, None, scales(1, 1, 2, 2), mode="linear", coordinate_transformation_mode="asymmetric"),
    case("Resize", A, None, scales(1, 1, 2, 2), mode="cubic", cubic_coeff_a=-0.75),
    case("Resize", A, None, scales(2, 2), opset=18, mode="linear", axes=[2, 3]),
    case("Resize", A, None, scales(1, 1, 0.5, 0.6), opset=18, mode="linear", antialias=1),
    case("Resize", x(2, 3, 5), None, scales(1, 1, 2), mode="linear"),
    case("Resize", x(1, 2, 3, 4, 5), None, scales(1, 1, 2, 2, 2), mode="linear"),
    case("Resize", A, scales(1, 1, 2, 2), opset=10, mode="nearest", types="Upsample"),
    case("Resize", A, scales(1, 1, 2, 2), opset=10, mode="linear"),
    case("Upsample", A, scales(1, 1, 2, 2), opset=9, mode="nearest", types="Upsample"),
    case("Upsample", A, opset=7, mode="nearest", scales=[1.0, 1.0, 2.0, 3.0]),
]  # fmt: skip


@pytest.mark.parametrize("one", CASES, ids=lambda one: one.id)
def test_case(one: Case, tmp_path: Path) -> None:
    run_case(one, tmp_path)


def test_absurd_sizes(tmp_path: Path) -> None:
    node = helper.make_node("Resize", ["x", "", "", "size"], ["y"], name="r", mode="nearest")
    made = model([node], {"x": (1, 1, 4, 4)}, ["y"], {"size": ints(1, 1, 4, 1 << 24)})
    with pytest.raises(PrototxtError, match="it makes 16,777,216 pixels of 4 along an axis, more than 32,768"):
        load(made, tmp_path)
