"""The two steps of RefineDet: MultiBoxLoss and DetectionOutput whose default boxes another layer has moved."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dragon
from dragon.errors import DataError, PrototxtError, ShapeError
from dragon.gradient import check_gradient
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from tests.layers.helpers import One
from tests.layers.test_detection_output import decoded
from tests.layers.test_multi_box_loss import C, N, P, case, match

MINING = ["", "mining_type: HARD_EXAMPLE sample_size: 6", "mining_type: NONE"]


def loss(settings: str = "", classes: int = C) -> str:
    return (
        f'type: "MultiBoxLoss" loss_param {{ normalization: NONE }} multibox_loss_param '
        f"{{ num_classes: {classes} overlap_threshold: 0.3 {settings} }}"
    )


def moved_case(seed: int, code: str) -> tuple[Any, Any, Any, Any, Any, Any, Any]:
    """The bottoms of the second step, and the default boxes (N, P, 4) as the first step has moved them."""
    offsets, scores, prior, rows = case(seed)
    rng = np.random.default_rng(seed + 100)
    moves = rng.standard_normal((N, P, 4)) * (0.5 if code == "CENTER_SIZE" else 0.2)
    boxes = np.array([[decoded(code, prior[0, i], prior[1, i], moves[n, i]) for i in range(P)] for n in range(N)])
    objects = rng.uniform(0, 1, (N, P))
    return offsets[:, :, 0], scores, prior, rows, np.stack([1 - objects, objects], axis=2), moves, boxes


@pytest.mark.parametrize("mining", ["MAX_NEGATIVE", "NONE"])
@pytest.mark.parametrize("code", ["CORNER", "CENTER_SIZE"])
def test_the_loss_is_that_of_the_moved_boxes(code: str, mining: str) -> None:
    """Image by image; negatives whose objectness is low are as good as not there where negatives are chosen."""
    settings = f"code_type: {code} mining_type: {mining}"
    for seed in range(4):
        offsets, scores, prior, rows, objects, moves, boxes = moved_case(seed, code)
        total = 0.0
        for n in range(N):
            own = rows[rows[:, 0] == n].copy()
            own[:, 0] = 0
            kept = np.ones(P, bool)
            if mining != "NONE" and len(own):
                matched = np.array(match(boxes[n], own[:, 3:7], 0.3, False)[0]) >= 0
                kept = (objects[n, :, 1] >= 0.4) | matched
            labels = own if len(own) else np.full((1, 8), -1.0)
            here = np.stack([boxes[n], prior[1]])[:, kept]
            bottoms = [*_flat(offsets[n, kept], scores[n, kept], here), labels[None, None]]
            total += float(One(loss(settings), *bottoms, dtype=np.float64).forward())
        bottoms = second_step(offsets, scores, prior, rows, objects, moves)
        whole = One(loss(f"{settings} objectness_score: 0.4"), *bottoms, dtype=np.float64)
        assert whole.forward() == pytest.approx(total, rel=1e-9)


def second_step(*values: Any) -> list[Any]:
    """Offsets, scores, default boxes, labels, objectness and moves as the bottoms of the layer."""
    offsets, scores, prior, rows, objects, moves = values
    bottoms = [offsets.reshape(N, -1), scores.reshape(N, -1), prior.reshape(1, 2, -1), rows[None, None]]
    return [*bottoms, objects.reshape(N, -1), moves.reshape(N, -1)]


def _flat(offsets: Any, scores: Any, prior: Any) -> tuple[Any, Any, Any]:
    return offsets.reshape(1, -1), scores.reshape(1, -1), prior.reshape(1, 2, -1)


def test_hard_examples_show_objects() -> None:
    """Of all boxes, matched ones too, only those whose objectness suffices can be chosen."""
    offsets, scores, prior, rows, objects, moves, _ = moved_case(3, "CENTER_SIZE")
    bottoms = second_step(offsets, scores, prior, rows, objects, moves)
    settings = "code_type: CENTER_SIZE mining_type: HARD_EXAMPLE sample_size: 50 objectness_score: 0.4"
    one = One(loss(settings), *bottoms, dtype=np.float64)
    one.forward()
    one.top[0].diff[...] = 1
    one.layer.backward(one.top, [True, True] + [False] * 4, one.bottom)
    seen = (one.bottom[1].diff.reshape(N, P, C) != 0).any(axis=2)
    for n in (0, 2):
        np.testing.assert_array_equal(seen[n], objects[n, :, 1] >= 0.4)
    assert not seen[1].any()  # an image without labels adds nothing
    assert not one.bottom[0].diff.reshape(N, P, 4)[objects[:, :, 1] < 0.4].any()


@pytest.mark.parametrize("mining", MINING)
def test_gradient(mining: str) -> None:
    offsets, scores, prior, rows, objects, moves, _ = moved_case(2, "CENTER_SIZE")
    bottoms = second_step(offsets, scores, prior, rows, objects, moves)
    assert check_gradient(loss(f"code_type: CENTER_SIZE {mining} objectness_score: 0.4"), bottoms, most=60) == 120


def test_bottoms_without_a_gradient() -> None:
    offsets, scores, prior, rows, objects, moves, _ = moved_case(2, "CORNER")
    bottoms = second_step(offsets, scores, prior, rows, objects, moves)
    one = One(loss(), *bottoms)
    one.forward()
    for i, what in ((4, "probabilities"), (5, "offsets that move default boxes")):
        with pytest.raises(PrototxtError, match=f"bottom {i} holds {what} and has no gradient"):
            one.layer.backward(one.top, [j in (0, i) for j in range(6)], one.bottom)
    for i, count in ((4, 2 * P), (5, 4 * P)):
        wrong = [*bottoms]
        wrong[i] = wrong[i][:, 1:]
        with pytest.raises(ShapeError, match=rf"bottom {i}: expected shape \({N}, {count}\) for {P} default boxes"):
            One(loss(), *wrong)


def test_the_first_step_tells_objects_from_background() -> None:
    """With objectness_score and two classes all labels are class 1; without it a label of 2 is an error."""
    offsets, scores, prior, rows = case(1)
    bottoms = [
        offsets[:, :, 0].reshape(N, -1),
        scores[:, :, :2].reshape(N, -1),
        prior.reshape(1, 2, -1),
        rows[None, None],
    ]
    agnostic = One(loss("map_object_to_agnostic: true", 2), *bottoms, dtype=np.float64).forward()
    assert One(loss("objectness_score: 0.01", 2), *bottoms, dtype=np.float64).forward() == agnostic
    with pytest.raises(DataError, match=r"label \d of box \d+: expected 0 to 1 without the background, 0"):
        One(loss("", 2), *bottoms).forward()


def output(settings: str) -> str:
    shared = "confidence_threshold: 0.05 keep_top_k: 9 nms_param { nms_threshold: 0.5 top_k: 15 }"
    return f'type: "DetectionOutput" detection_output_param {{ num_classes: {C} {shared} {settings} }}'


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("code", ["CORNER", "CENTER_SIZE", "CORNER_SIZE"])
def test_boxes_that_are_found(code: str, shared: bool) -> None:
    offsets, scores, prior, _ = case(5)
    _, _, _, _, objects, moves, boxes = moved_case(5, code)
    offsets = offsets[:, :, :1] if shared else offsets
    scores = 1 / (1 + np.exp(-scores))
    settings = f"code_type: {code} share_location: {str(shared).lower()}"
    rows: list[Any] = []
    for n in range(N):
        own = np.where(objects[n, :, 1:] < 0.6, np.eye(C)[0], scores[n])
        here = np.stack([boxes[n], prior[1]])
        found = One(output(settings), *_flat(offsets[n], own, here), dtype=np.float64).forward().reshape(-1, 7)
        rows += [[n, *row[1:]] for row in found if row[1] != -1]
    bottoms = [offsets.reshape(N, -1), scores.reshape(N, -1), prior.reshape(1, 2, -1)]
    bottoms += [objects.reshape(N, -1), moves.reshape(N, -1)]
    whole = One(output(f"{settings} objectness_score: 0.6"), *bottoms, dtype=np.float64)
    np.testing.assert_allclose(whole.forward().reshape(-1, 7), rows, rtol=1e-9)
    assert len(rows) > 9
    still = One(output(f"{settings} objectness_score: 0"), *bottoms[:4], np.zeros((N, P * 4)), dtype=np.float64)
    plain = One(output(settings), *bottoms[:3], dtype=np.float64)
    np.testing.assert_allclose(still.forward(), plain.forward(), rtol=1e-12)


HEAD = """
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 1 dim: 1 dim: 3 dim: 8 } } }
layer { name: "arm_conf_reshape" type: "Reshape" bottom: "arm_conf" top: "arm_conf_reshape"
        reshape_param { shape { dim: 0 dim: -1 dim: 2 } } }
layer { name: "arm_conf_softmax" type: "Softmax" bottom: "arm_conf_reshape" top: "arm_conf_softmax"
        softmax_param { axis: 2 } }
layer { name: "arm_conf_flatten" type: "Flatten" bottom: "arm_conf_softmax" top: "arm_conf_flatten"
        flatten_param { axis: 1 } }
layer { name: "arm_loss" type: "MultiBoxLoss" bottom: "arm_loc" bottom: "arm_conf" bottom: "arm_priorbox"
        bottom: "label" top: "arm_loss" include { phase: TRAIN }
        propagate_down: true propagate_down: true propagate_down: false propagate_down: false
        loss_param { normalization: VALID }
        multibox_loss_param { num_classes: 2 code_type: CENTER_SIZE objectness_score: 0.01 } }
layer { name: "odm_loss" type: "MultiBoxLoss" bottom: "odm_loc" bottom: "odm_conf" bottom: "arm_priorbox"
        bottom: "label" bottom: "arm_conf_flatten" bottom: "arm_loc" top: "odm_loss" include { phase: TRAIN }
        propagate_down: true propagate_down: true propagate_down: false propagate_down: false propagate_down: false
        propagate_down: false loss_param { normalization: VALID }
        multibox_loss_param { num_classes: 4 code_type: CENTER_SIZE objectness_score: 0.01 } }
layer { name: "odm_prob" type: "Reshape" bottom: "odm_conf" top: "odm_prob"
        reshape_param { shape { dim: 0 dim: -1 dim: 4 } } }
layer { name: "odm_softmax" type: "Softmax" bottom: "odm_prob" top: "odm_softmax" softmax_param { axis: 2 } }
layer { name: "odm_flatten" type: "Flatten" bottom: "odm_softmax" top: "odm_flatten" flatten_param { axis: 1 } }
layer { name: "detection_out" type: "DetectionOutput" bottom: "odm_loc" bottom: "odm_flatten" bottom: "arm_priorbox"
        bottom: "arm_conf_flatten" bottom: "arm_loc" top: "detection_out" include { phase: TEST }
        detection_output_param { num_classes: 4 background_label_id: 0 nms_param { nms_threshold: 0.45 top_k: 1000 }
          code_type: CENTER_SIZE keep_top_k: 500 confidence_threshold: 0.01 objectness_score: 0.01 } }
"""


def refinedet(phase: int) -> dragon.Net:
    """The published head on a map of 4 x 4 positions, with three boxes for each."""
    text = """
    layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 32 dim: 32 } } }
    layer { name: "map" type: "Convolution" bottom: "data" top: "map" convolution_param {
            num_output: 8 kernel_size: 8 stride: 8 weight_filler { type: "xavier" } } }
    layer { name: "relu" type: "ReLU" bottom: "map" top: "map" }
    layer { name: "arm_priorbox" type: "PriorBox" bottom: "map" bottom: "data" top: "arm_priorbox" prior_box_param {
            min_size: 12 aspect_ratio: 2 flip: true clip: false variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2
            step: 8 offset: 0.5 } }
    """
    for name, outputs in (("arm_loc", 12), ("arm_conf", 6), ("odm_loc", 12), ("odm_conf", 12)):
        text += f"""
        layer {{ name: "{name}_map" type: "Convolution" bottom: "map" top: "{name}_map" convolution_param {{
                 num_output: {outputs} kernel_size: 1 weight_filler {{ type: "xavier" }} }} }}
        layer {{ name: "{name}_perm" type: "Permute" bottom: "{name}_map" top: "{name}_perm"
                 permute_param {{ order: 0 order: 2 order: 3 order: 1 }} }}
        layer {{ name: "{name}" type: "Flatten" bottom: "{name}_perm" top: "{name}" flatten_param {{ axis: 1 }} }}
        """
    return dragon.Net(parse_text(text + HEAD, pb.NetParameter()), phase=phase, seed=1)


def test_the_published_head_learns() -> None:
    """Both losses fall, and the net finds what it was shown."""
    net = refinedet(dragon.TRAIN)
    x = np.random.default_rng(1).standard_normal((2, 3, 32, 32))
    labels = np.array(
        [[0, 1, 0, 0.1, 0.1, 0.5, 0.5, 0], [0, 3, 0, 0.6, 0.5, 0.95, 0.9, 0], [1, 2, 0, 0.3, 0.2, 0.8, 0.6, 0]]
    )
    history = []
    for _ in range(300):
        net.clear_param_diffs()
        found = net.forward(data=x, label=labels[None, None])
        history.append(float(found["arm_loss"]) + float(found["odm_loss"]))
        net.backward()
        for blobs in net.params.values():
            for blob in blobs:
                blob.data[...] -= 0.02 * np.clip(blob.diff, -1, 1)
    assert history[-1] < history[0] / 4
    use = refinedet(dragon.TEST)
    use.share_with(net)
    rows = use.forward(data=x, label=labels[None, None])["detection_out"].reshape(-1, 7)
    for label in labels:
        own = rows[(rows[:, 0] == label[0]) & (rows[:, 1] == label[1])]
        best = own[own[:, 2].argmax()]
        assert best[2] > 0.5
        np.testing.assert_allclose(best[3:], label[3:7], atol=0.15)
