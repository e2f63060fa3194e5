"""Pooling of regions by kernels of ours."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import DataError
from tests.engines.cuda.running import by_kernels, fill, inputs, layer, make, same

pytestmark = pytest.mark.usefixtures("cuda")

RANDOM = np.random.default_rng(91)
# whole images, tiny ones, parts outside, turned around
ROIS = np.array(
    [[0, 0, 0, 30, 22], [1, 3, 2, 17, 9], [1, 8, 8, 8, 8], [0, -9, -7, 5, 6], [2, 20, 15, 60, 50], [2, 9, 9, 3, 2],
     [0, 31, 40, 90, 95]], np.float32
)  # fmt: skip
KINDS = {
    "ROIPooling": (6, "roi_pooling_param { pooled_h: 3 pooled_w: 4 spatial_scale: 0.5 }"),
    "ROIAlign": (6, "roi_align_param { pooled_h: 3 pooled_w: 4 spatial_scale: 0.5 }"),
    "ROIAlign 3": (6, "roi_align_param { pooled_h: 2 pooled_w: 1 spatial_scale: 0.25 sampling_ratio: 3 }"),
    "PSROIPooling": (18, "psroi_pooling_param { spatial_scale: 0.5 output_dim: 2 group_size: 3 }"),
}
DOWN = 'bottom: "rois" propagate_down: true propagate_down: false'


@pytest.mark.parametrize("kind", KINDS)
def test_regions(kind: str) -> None:
    channels, settings = KINDS[kind]
    x = RANDOM.standard_normal((3, channels, 11, 15)).astype(np.float32)
    text = inputs({"x": x.shape, "rois": ROIS.shape}) + layer(kind.split()[0], f"{DOWN} {settings}")
    by_kernels(same(text, {"x": x, "rois": ROIS}), "one")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 3e9, -3e9, 1e30, -1e30])
def test_a_corner_that_is_no_place(kind: str, wrong: float) -> None:
    """In each corner by itself, and in both of an axis: what is pooled and its gradient are those of the reference."""
    channels, settings = KINDS[kind]
    x = RANDOM.standard_normal((1, channels, 11, 15)).astype(np.float32)
    rois = np.repeat(np.array([[0, 2, 3, 17, 12]], np.float32), 6, axis=0)
    for row, corners in enumerate([[1], [2], [3], [4], [1, 3], [2, 4]]):
        rois[row, corners] = wrong
    text = inputs({"x": x.shape, "rois": rois.shape}) + layer(kind.split()[0], f"{DOWN} {settings}")
    nets = [make(f"force_backward: true {text}", engine) for engine in ("numpy", "cuda")]
    found = []
    for net in nets:
        fill(net, {"x": x, "rois": rois})
        net.run_forward()
        net.blobs["y"].diff[...] = np.random.default_rng(2).standard_normal(net.blobs["y"].shape)
        net.run_backward()
        found.append((net.blobs["y"].peek(), net.blobs["x"].peek_diff()))
    for expected, ours in zip(*found, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_region_of_no_item(kind: str) -> None:
    channels, settings = KINDS[kind]
    text = inputs({"x": (2, channels, 4, 4), "rois": (7, 5)}) + layer(kind.split()[0], f"{DOWN} {settings}")
    messages = []
    for engine in ("numpy", "cuda"):
        net = make(text, engine)
        fill(net, {"rois": ROIS})
        with pytest.raises(DataError) as caught:
            net.run_forward()
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
