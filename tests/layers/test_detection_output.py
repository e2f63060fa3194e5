"""DetectionOutput, with its boxes and suppression, against loops."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dragon.bases.boxes import decode_boxes, overlaps, suppress
from dragon.errors import DataError, NumericError, PrototxtError, ShapeError
from dragon.files.detection_files import original_boxes
from dragon.proto import dragon_pb2 as pb
from tests.layers.helpers import One

RNG = np.random.default_rng(1)
N, P, CLASSES = 2, 12, 3
CORNERS = np.sort(RNG.uniform(0, 1, (P, 2, 2)), axis=1).reshape(P, 4)
PRIOR = np.stack([CORNERS, np.tile([0.1, 0.1, 0.2, 0.2], (P, 1))])
OFFSETS = RNG.standard_normal((N, P, CLASSES, 4)) * 0.3
SCORES = RNG.uniform(0, 1, (N, P, CLASSES))
CODES = {
    "CORNER": pb.PriorBoxParameter.CORNER,
    "CENTER_SIZE": pb.PriorBoxParameter.CENTER_SIZE,
    "CORNER_SIZE": pb.PriorBoxParameter.CORNER_SIZE,
}


def decoded(code: str, prior: Any, variance: Any, offset: Any) -> list[float]:
    w, h = prior[2] - prior[0], prior[3] - prior[1]
    d = [v * o for v, o in zip(variance, offset, strict=True)]
    if code == "CORNER":
        return [p + o for p, o in zip(prior, d, strict=True)]
    if code == "CORNER_SIZE":
        return [p + o * s for p, o, s in zip(prior, d, (w, h, w, h), strict=True)]
    x, y = prior[0] + w / 2 + d[0] * w, prior[1] + h / 2 + d[1] * h
    bw, bh = math.exp(d[2]) * w, math.exp(d[3]) * h
    return [x - bw / 2, y - bh / 2, x + bw / 2, y + bh / 2]


def iou(a: Any, b: Any) -> float:
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    both = w * h
    return float(both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both))


def greedy(boxes: Any, scores: Any, threshold: float, least: float, top_k: int, eta: float = 1.0) -> list[int]:
    order = sorted((i for i in range(len(scores)) if scores[i] > least), key=lambda i: -scores[i])[:top_k]
    kept: list[int] = []
    for i in order:
        if all(iou(boxes[i], boxes[k]) <= threshold for k in kept):
            kept.append(i)
            if eta < 1 and threshold > 0.5:
                threshold *= eta
    return kept


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("variance_in_target", [False, True])
def test_decoding(code: str, variance_in_target: bool) -> None:
    variance = np.ones((P, 4)) if variance_in_target else PRIOR[1]
    got = decode_boxes(CORNERS, None if variance_in_target else variance, OFFSETS[0, :, 0], CODES[code])
    expected = [decoded(code, CORNERS[i], variance[i], OFFSETS[0, i, 0]) for i in range(P)]
    np.testing.assert_allclose(got, expected)


def test_overlap() -> None:
    np.testing.assert_allclose(overlaps(CORNERS[0], CORNERS), [iou(CORNERS[0], box) for box in CORNERS])
    assert overlaps(np.array([0, 0, 1, 1.0]), np.array([[1, 1, 0, 0.0]])).tolist() == [0]


@pytest.mark.parametrize("eta", [1.0, 0.8])
@pytest.mark.parametrize("threshold", [0.1, 0.6, 0.9])
def test_suppression(threshold: float, eta: float) -> None:
    for top_k in (3, P):
        expected = greedy(CORNERS, SCORES[0, :, 0], threshold, 0.2, top_k, eta)
        assert suppress(CORNERS, SCORES[0, :, 0], threshold, top_k, eta, 0.2) == expected


@pytest.mark.parametrize("eta", [1.0, 0.8])
def test_suppression_of_many_boxes(eta: float) -> None:
    """More than are compared at once, with equal scores."""
    middle, half = RNG.uniform(0, 1, (400, 2)), RNG.uniform(0.02, 0.1, (400, 2))
    boxes, scores = np.concatenate([middle - half, middle + half], axis=1), RNG.integers(0, 50, 400) / 50
    for threshold in (0.1, 0.6):
        expected = greedy(boxes, scores, threshold, -1, 400, eta)
        assert 50 < len(expected) < 400
        assert suppress(boxes, scores, threshold, -1, eta) == expected


def make(setting: str, shared: bool = True) -> One:
    offsets = OFFSETS[:, :, :1] if shared else OFFSETS
    setting += f" share_location: {str(shared).lower()}"
    text = f'type: "DetectionOutput" detection_output_param {{ num_classes: 3 {setting} }}'
    return One(text, offsets.reshape(N, -1), SCORES.reshape(N, -1), PRIOR.reshape(1, 2, -1), dtype=np.float64)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("keep", [-1, 4])
def test_output(keep: int, shared: bool) -> None:
    setting = "nms_param { nms_threshold: 0.45 top_k: 8 } confidence_threshold: 0.3 code_type: CENTER_SIZE"
    y = make(f"{setting} keep_top_k: {keep}", shared).forward()
    rows: list[list[float]] = []
    for n in range(N):
        found: list[tuple[float, int, list[float]]] = []
        for label in (1, 2):
            boxes = [
                decoded("CENTER_SIZE", CORNERS[i], PRIOR[1, i], OFFSETS[n, i, 0 if shared else label]) for i in range(P)
            ]
            scores = SCORES[n, :, label]
            found += [(scores[i], label, boxes[i]) for i in greedy(boxes, scores, 0.45, float(np.float32(0.3)), 8)]
        if keep > 0:
            assert len(found) > keep
            found = sorted(found, key=lambda f: -f[0])[:keep]
        rows += [[n, label, score, *box] for score, label, box in sorted(found, key=lambda f: (f[1], -f[0]))]
    assert y.shape == (1, 1, len(rows), 7)
    np.testing.assert_allclose(y[0, 0], rows, rtol=1e-6)


def test_background_may_be_another_class() -> None:
    labels = make("background_label_id: 2").forward()[0, 0, :, 1]
    assert set(labels.tolist()) == {0, 1}


def test_nothing_found() -> None:
    y = make("confidence_threshold: 2").forward()
    assert y.tolist() == [[[[0, -1, -1, -1, -1, -1, -1], [1, -1, -1, -1, -1, -1, -1]]]]


def test_outputs_to_files_are_not_silently_dropped(caplog: pytest.LogCaptureFixture) -> None:
    make("visualize: true")
    assert "shows no pictures; its top holds the boxes" in caplog.text


def test_messages() -> None:
    with pytest.raises(PrototxtError, match="needs num_classes"):
        One('type: "DetectionOutput"', [[0]], [[0]], [[0]])
    with pytest.raises(PrototxtError, match="nms_threshold must not be negative"):
        make("nms_param { nms_threshold: -1 }")
    with pytest.raises(PrototxtError, match=r"eta must lie in \(0, 1\], got 2"):
        make("nms_param { eta: 2 }")
    with pytest.raises(ShapeError, match=r"bottom 0: expected shape \(2, 48\) for 12 default boxes, got \(2, 47\)"):
        One(
            'type: "DetectionOutput" detection_output_param { num_classes: 3 }',
            np.zeros((2, 47)), SCORES.reshape(N, -1), PRIOR.reshape(1, 2, -1),
        )  # fmt: skip
    with pytest.raises(ShapeError, match="must be a PriorBox top"):
        One('type: "DetectionOutput" detection_output_param { num_classes: 3 }', [[0]], [[0]], [[0]])


LABELS = """item { name: "none" label: 0 display_name: "nothing" }
item { name: "1" label: 1 } item { name: "cat" label: 2 }"""


def saving(folder: Path, form: str, more: str = "", sizes: str = "a 100 200\n000012 50 50\n") -> One:
    (folder / "labels.prototxt").write_text(LABELS)
    (folder / "sizes.txt").write_text(sizes)
    text = f"""type: "DetectionOutput" detection_output_param {{ num_classes: 3 confidence_threshold: 0.5
      save_output_param {{ output_directory: "{folder}/out" output_name_prefix: "p_" output_format: "{form}"
        label_map_file: "{folder}/labels.prototxt" name_size_file: "{folder}/sizes.txt" {more} }} }}"""
    prior = np.array([[[0.1, 0.2, 0.5, 0.8], [0.0, 0.0, 1.2, 0.25]], [[1.0] * 4] * 2])
    scores = np.array([[[0, 0.9, 0], [0, 0, 0.625]], [[0, 0, 0], [0, 0.75, 0]]])
    return One(text, np.zeros((2, 8)), scores.reshape(2, 6), prior.reshape(1, 2, 8), phase=1)


def test_files_for_voc(tmp_path: Path) -> None:
    one = saving(tmp_path, "VOC")
    for _ in range(2):  # the second pass over all images writes the files anew
        one.forward()
        assert {path.name for path in (tmp_path / "out").iterdir()} == {"p_1.txt", "p_cat.txt"}
        assert (tmp_path / "out" / "p_1.txt").read_text() == "a 0.9 20 20 100 80\n000012 0.75 0 0 50 12\n"
        assert (tmp_path / "out" / "p_cat.txt").read_text() == "a 0.625 0 0 200 25\n"
    assert one.top[0].shape == (1, 1, 3, 7)


def test_files_for_coco_and_ilsvrc(tmp_path: Path) -> None:
    saving(tmp_path, "COCO").forward()
    found = json.loads((tmp_path / "out" / "p_.json").read_text())
    assert [f["image_id"] for f in found] == ["a", "a", "000012"]
    assert [f["category_id"] for f in found] == [1, "cat", 1]
    assert [f["bbox"] for f in found] == [[20, 20, 80, 60], [0, 0, 200, 25], [0, 0, 50, 12.5]]
    saving(tmp_path, "ILSVRC").forward()
    lines = (tmp_path / "out" / "p_.txt").read_text().splitlines()
    assert lines == ["a 1 0.9 20 20 100 80", "a 2 0.625 0 0 200 25", "000012 1 0.75 0 0 50 12"]


def test_boxes_of_images_that_were_fitted_and_padded() -> None:
    resize = pb.ResizeParameter(resize_mode="FIT_LARGE_SIZE_AND_PAD", height=300, width=300)
    # 100 x 200 fills 150 x 300, with 75 rows above and below
    box = original_boxes(np.array([0.5, 0.25, 1.0, 0.75]), (100, 200), resize)
    np.testing.assert_allclose(box, [100, 0, 200, 100])
    box = original_boxes(np.array([0.0, 0.0, 0.5, 0.5]), (100, 200), resize)
    np.testing.assert_allclose(box, [0, 0, 100, 50])
    warp = pb.ResizeParameter(resize_mode="WARP", height=300, width=300)
    np.testing.assert_allclose(original_boxes(np.array([-1, 0.5, 0.5, 2]), (100, 200), warp), [0, 50, 100, 100])


def test_boxes_of_a_part_of_the_image() -> None:
    resize = pb.ResizeParameter(resize_mode="FIT_SMALL_SIZE", height=60, width=60, height_scale=50, width_scale=80)
    box = original_boxes(np.array([[0.5, 0.5, 1.5, 1.0], [-1, 0, 0.25, 9]]), (100, 100), resize)
    np.testing.assert_allclose(box, [[40, 25, 100, 50], [0, 0, 20, 100]])


@pytest.mark.parametrize("form", ["VOC", "COCO", "ILSVRC"])
def test_boxes_that_are_nan_are_not_written(form: str, tmp_path: Path) -> None:
    one = saving(tmp_path, form)
    offsets = np.zeros((2, 8))
    offsets[0, 0] = np.nan
    with pytest.raises(NumericError, match='a box found in image "a" is not finite'):
        one.forward(offsets)
    assert not list((tmp_path / "out").iterdir())


def test_files_that_cannot_be_written_say_why(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(PrototxtError, match=r'\(DetectionOutput\): output_format is one of .*"VOCC" \(did you mean'):
        saving(tmp_path, "VOCC")
    with pytest.raises(DataError, match=r'sizes.txt:2: expected "name height width", got "b"'):
        saving(tmp_path, "VOC", sizes="a 1 1\nb\n")
    for size in ("0 5", "5 -1"):
        with pytest.raises(DataError, match=f'sizes.txt:1: expected "name height width", got "a {size}"'):
            saving(tmp_path, "VOC", sizes=f"a {size}\nb 1 1\n")
    with pytest.raises(DataError, match="names 2 images, num_test_image is 3"):
        saving(tmp_path, "VOC", "num_test_image: 3")
    one = saving(tmp_path, "VOC", sizes="a 9 9\nb 9 9\nc 9 9\n")
    one.forward()
    one.layer.close()
    assert "wrote no files: only 2 of 3 images were seen" in caplog.text
    One(
        'type: "DetectionOutput" detection_output_param { num_classes: 3 save_output_param { output_directory: "x" } }',
        np.zeros((2, 8)), np.zeros((2, 6)), np.zeros((1, 2, 8)), phase=1,
    )  # fmt: skip
    assert "writes no files, since save_output_param has no label_map_file" in caplog.text
