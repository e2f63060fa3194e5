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
