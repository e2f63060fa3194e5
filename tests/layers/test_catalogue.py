"""The catalogue, which the tests of engines go through, names every layer type."""

from __future__ import annotations

from dragon.bases.layer import layer_types
from tests.layers.catalogue import CASES

# read files or run code that is given to them; they are tested where they stand
FROM_OUTSIDE = {
    "AnnotatedData", "Data", "DenseImageData", "HDF5Data", "HDF5Output", "ImageData", "ImageSegData", "Input",
    "MemoryData", "MultiLabelImageData", "Python", "RegionData", "RoIData",
    "VideoData", "WindowData",
}  # fmt: skip


def test_no_type_is_missing() -> None:
    listed, expected = {case.kind for case in CASES.values()}, set(layer_types()) - FROM_OUTSIDE
    missing = sorted(expected - listed)
    assert not missing, f"{', '.join(missing)}: add a row to CATALOGUE in the layer's test, tests/layers/test_NAME.py"
    assert listed == expected
