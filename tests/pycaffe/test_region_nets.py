"""Boxes of nets that read the size of the image: Faster R-CNN, in the zoo's form and in py-faster-rcnn's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from dragon.data.resize import scaled_size
from dragon.errors import PrototxtError
from dragon.proto.text import read_net_definition
from dragon.pycaffe.detector import Detector
from dragon.pycaffe.region_nets import with_boxes
from tests.layers.rcnn_nets import end_to_end

HEIGHT, WIDTH = 60, 90


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    PIL.Image.fromarray(pixels).save("a.png")
    return tmp_path


def as_the_authors_write(regions: str = "rois") -> str:
    """A net for testing, with inputs of a size that does not count."""
    head = (
        'input: "data" input_shape { dim: 1 dim: 3 dim: 24 dim: 24 } input: "im_info" input_shape { dim: 1 dim: 3 }\n'
    )
    whole = end_to_end("").replace('top: "rpn_rois"', f'top: "{regions}"').replace("'rpn_rois'", f"'{regions}'")
    kept = [
        line for line in whole.split("layer {") if not any(name in line for name in ("rpn-data", "loss_", "roi-data"))
    ]
    answer = 'layer { name: "cls_prob" type: "Softmax" bottom: "cls_score" top: "cls_prob" }'
    return head + "layer {".join(kept) + answer


@pytest.mark.parametrize(
    ("size", "limits", "expected"),
    [
        ((300, 400), (600, 1000), (600, 800, 2)),
        ((300, 600), (600, 1000), (500, 1000, 5 / 3)),
        ((2, 900), (10, 90), (1, 90, 0.1)),
    ],
)
def test_scaled_size(size: tuple[int, int], limits: tuple[int, int], expected: tuple[float, ...]) -> None:
    assert scaled_size(*size, *limits) == pytest.approx(expected)


def test_a_net_of_py_faster_rcnn_gets_its_last_layer_and_its_size(folder: Path) -> None:
    (folder / "test.prototxt").write_text(as_the_authors_write())
    found = with_boxes(read_net_definition("test.prototxt")).message
    assert found.layer[-1].type == "RCNNDetectionOutput"
    assert list(found.layer[-1].bottom) == ["rois", "cls_prob", "bbox_pred", "im_info"]
    shapes = [list(shape.dim) for layer in found.layer for shape in layer.input_param.shape]
    assert shapes == [[1, 3, 600, 1000], [1, 3]]
    (folder / "rcnn.yml").write_text("TEST: {SCALES: [30], MAX_SIZE: 40, NMS: 0.4}")
    found = with_boxes(read_net_definition("test.prototxt")).message
    assert list(found.layer[0].input_param.shape[0].dim) == [1, 3, 30, 40]
    assert found.layer[-1].rcnn_detection_output_param.nms_threshold == pytest.approx(0.4)
    (folder / "rcnn.yml").write_text("TEST: {SCALE: 30}")
    with pytest.raises(PrototxtError, match='TEST has no setting "SCALE"'):
        with_boxes(read_net_definition("test.prototxt"))


def test_another_net_stays_as_it_is(folder: Path) -> None:
    (folder / "test.prototxt").write_text(as_the_authors_write("other"))
    definition = read_net_definition("test.prototxt")
    assert with_boxes(definition) is definition


def test_images_keep_their_shape_and_boxes_are_those_of_the_image(folder: Path) -> None:
    (folder / "test.prototxt").write_text(as_the_authors_write())
    (folder / "rcnn.yml").write_text("TEST: {SCALES: [30], MAX_SIZE: 40, RPN_MIN_SIZE: 1}")
    net = Detector(with_boxes(read_net_definition("test.prototxt")), seed=1)
    assert net.finds_boxes
    found = net.find_boxes([("a.png", None)])
    assert net.blobs["data"].shape == (1, 3, 27, 40)  # 30 x 45 would exceed MAX_SIZE
    np.testing.assert_allclose(net.blobs["im_info"].data, [[27, 40, 40 / 90]], rtol=1e-6)
    assert found
    rows = net.blobs["detection_out"].data.reshape(-1, 7)
    best = rows[rows[:, 2].argmax()]
    expected = best[[4, 3, 6, 5]] * [HEIGHT, WIDTH, HEIGHT, WIDTH]
    np.testing.assert_allclose(found[0]["window"], expected, rtol=1e-5)
    assert found[0]["score"] == pytest.approx(best[2])
    for box in found:
        top, left, bottom, right = box["window"]
        assert 0 <= top < bottom <= HEIGHT
        assert 0 <= left < right <= WIDTH
