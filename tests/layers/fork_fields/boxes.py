"""The layers of SSD, and those of RefineDet."""

from __future__ import annotations

import numpy as np

from dragon.bases.layer import TEST
from tests.layers.fork_fields.probe import LOSS, Probe

__all__ = ["PROBES"]

RNG = np.random.default_rng(3)
N, P, C = 2, 24, 4
_LOW = RNG.uniform(-0.1, 0.75, (P, 2))
PRIOR = np.stack([np.concatenate([_LOW, _LOW + RNG.uniform(0.15, 0.4, (P, 2))], axis=1), np.full((P, 4), 0.2)])
OFFSETS, SCORES = RNG.standard_normal((N, P, 4)), RNG.standard_normal((N, P, C)) * 2
OBJECTS = np.stack([1 - (share := RNG.uniform(0, 1, (N, P))), share], axis=2)
MOVES = RNG.standard_normal((N, P, 4)) * 0.3
LABELS = np.array(
    [[item, 1 + k % 3, k, *(PRIOR[0, 3 * k + item] + 0.03 * (-1) ** k), k % 2] for item in range(N) for k in range(5)]
)
_FLAT = [OFFSETS.reshape(N, -1), SCORES.reshape(N, -1), PRIOR.reshape(1, 2, -1)]
_LOSS = [*_FLAT, LABELS[None, None]]
_STEP = [OBJECTS.reshape(N, -1), MOVES.reshape(N, -1)]
_SHARP = np.exp(SCORES) / np.exp(SCORES).sum(axis=2, keepdims=True)
_FOUND = [_FLAT[0] * 0.2, _SHARP.reshape(N, -1), _FLAT[2]]
_EACH = [RNG.standard_normal((N, P * C * 4)), *_LOSS[1:]]
_SAVE = (
    'output_directory: "out" output_name_prefix: "p" output_format: "VOC" label_map_file: "labels.prototxt" '
    'name_size_file: "sizes.txt" num_test_image: 2'
)
_SAVED = f"save_output_param {{ {_SAVE} }}"
_FITTED = "{ height: 60 width: 60 resize_mode: FIT_LARGE_SIZE_AND_PAD }"
_RESIZED = f"image: 2 resize_param {_FITTED}"
_DETECTED = np.array(
    [[item, 1 + k % 3, 0.9 - 0.1 * k, *(LABELS[5 * item + k, 3:7] + 0.02)] for item in range(N) for k in range(5)]
)


def _saved_with(old: str, new: str) -> str:
    return _SAVED.replace(old, new)


PROBES = [
    Probe(
        "PriorBox", "min_size: 9", [np.zeros((1, 1, 3, 4)), np.zeros((1, 3, 30, 40))],
        {
            "min_size": "9 | 12",
            "max_size": "- | 16",
            "aspect_ratio": "- | 2 3",
            "flip": "aspect_ratio: 2 flip: true | aspect_ratio: 2 flip: false",
            "clip": "min_size: 25 clip: false | min_size: 25 clip: true",
            "variance": "0.1 | 0.1 0.1 0.2 0.2",
            "img_size": "- | 60",
            "img_h": "img_h: 50 img_w: 80 | img_h: 60 img_w: 80",
            "img_w": "img_h: 50 img_w: 80 | img_h: 50 img_w: 90",
            "step": "- | 5",
            "step_h": "step_h: 5 step_w: 6 | step_h: 7 step_w: 6",
            "step_w": "step_h: 5 step_w: 6 | step_h: 5 step_w: 7",
            "offset": "0.5 | 0.25",
        },
    ),
    Probe(
        "Permute", "order: 0 order: 2 order: 1", [RNG.standard_normal((2, 3, 4))], {"order": "0 2 1 | 1"},
        gradient=True,
    ),
    Probe(
        "Normalize", "", [RNG.standard_normal((2, 3, 2, 2))],
        {
            "across_spatial": "true | false",
            "scale_filler": "- | scale_filler { value: 3 }",
            "channel_shared": "true | false",
            "eps": "1e-10 | 0.5",
        },
        gradient=True,
    ),
    Probe(
        "Flatten", "", [RNG.standard_normal((2, 3, 4, 2))],
        {"axis": "1 | 2", "end_axis": "-1 | 2"},
    ),
    Probe(
        "MultiBoxLoss", f"num_classes: {C} overlap_threshold: 0.3 neg_pos_ratio: 1", _LOSS,
        {
            "loc_loss_type": "SMOOTH_L1 | L2",
            "conf_loss_type": "SOFTMAX | LOGISTIC",
            "loc_weight": "1 | 2",
            "num_classes": f"{C} | 5",
            "share_location": "mining_type: NONE | mining_type: NONE share_location: false",
            "match_type": "PER_PREDICTION | BIPARTITE",
            "overlap_threshold": "0.3 | 0.6",
            "use_prior_for_matching": "true | false",
            "background_label_id": "0 | 3",
            "use_difficult_gt": "true | false",
            "do_neg_mining": "- | false",
            "neg_pos_ratio": "1 | 0.5",
            "neg_overlap": "0.5 | 0.1",
            "code_type": "CORNER | CENTER_SIZE",
            "encode_variance_in_target": "false | true",
            "map_object_to_agnostic": "false | true",
            "ignore_cross_boundary_bbox": "false | true",
            "bp_inside": "false | true",
            "mining_type": "MAX_NEGATIVE | HARD_EXAMPLE",
            "nms_param.nms_threshold": (
                "mining_type: HARD_EXAMPLE nms_param { nms_threshold: 0.9 } | "
                "mining_type: HARD_EXAMPLE nms_param { nms_threshold: 0.1 }"
            ),
            "nms_param.top_k": (
                "mining_type: HARD_EXAMPLE nms_param { nms_threshold: 0.5 } | "
                "mining_type: HARD_EXAMPLE nms_param { nms_threshold: 0.5 top_k: 3 }"
            ),
            "nms_param.eta": (
                "= mining_type: HARD_EXAMPLE nms_param { nms_threshold: 0.7 eta: 1 } | "
                "mining_type: HARD_EXAMPLE nms_param { nms_threshold: 0.7 eta: 0.5 }"
            ),
            "sample_size": "mining_type: HARD_EXAMPLE sample_size: 3 | mining_type: HARD_EXAMPLE sample_size: 9",
            "use_prior_for_nms": (
                "mining_type: HARD_EXAMPLE nms_param { nms_threshold: 0.2 } use_prior_for_nms: true | "
                "mining_type: HARD_EXAMPLE nms_param { nms_threshold: 0.2 } use_prior_for_nms: false"
            ),
            "objectness_score": "= 0.01 | 0.6",
            **LOSS,
        },
        gradient=True,
    ),
    Probe(
        "MultiBoxLoss", f"num_classes: {C} overlap_threshold: 0.3", [*_LOSS, *_STEP],
        {"objectness_score": "0.01 | 0.6"}, gradient=True,
    ),
    Probe(
        "DetectionOutput", f"num_classes: {C} nms_param {{ nms_threshold: 0.45 }} confidence_threshold: 0.2", _FOUND,
        {
            "num_classes": f"{C} | 5",
            "share_location": "true | false",
            "background_label_id": "0 | 1",
            "nms_param.nms_threshold": "0.45 | 0.1",
            "nms_param.top_k": "- | 2",
            "nms_param.eta": "nms_param { nms_threshold: 0.9 eta: 1 } | nms_param { nms_threshold: 0.9 eta: 0.2 }",
            "save_output_param.output_directory": f"- | {_SAVED}",
            "save_output_param.output_name_prefix": _SAVED + " | " + _saved_with('"p"', '"q"'),
            "save_output_param.output_format": f"{_SAVED} | {_saved_with('VOC', 'COCO')}",
            "save_output_param.label_map_file": f"{_SAVED} | {_saved_with('labels', 'others')}",
            "save_output_param.name_size_file": f"{_SAVED} | {_saved_with('sizes', 'more')}",
            "save_output_param.num_test_image": f"{_SAVED} | {_saved_with('image: 2', 'image: 1')}",
            "save_output_param.resize_param": f"{_SAVED} | {_saved_with('image: 2', _RESIZED)}",
            "code_type": "CORNER | CENTER_SIZE",
            "variance_encoded_in_target": "false | true",
            "keep_top_k": "-1 | 2",
            "confidence_threshold": "0.2 | 0.6",
            "visualize": "~ true",
            "visualize_threshold": "= - | 0.5",
            "save_file": '~ "film.avi"',
            "objectness_score": "= 0.01 | 0.6",
        },
        phase=TEST,
    ),
    Probe(
        "DetectionOutput", f"num_classes: {C} nms_param {{ nms_threshold: 0.45 }} confidence_threshold: 0.2",
        [*_FOUND, *_STEP], {"objectness_score": "0.01 | 0.6"}, phase=TEST,
    ),
    Probe(
        "DetectionEvaluate", f"num_classes: {C}", [_DETECTED[None, None], LABELS[None, None]],
        {
            "num_classes": f"{C} | 6",
            "background_label_id": "0 | 9",
            "overlap_threshold": "0.5 | 0.95",
            "evaluate_difficult_gt": "true | false",
            "name_size_file": 'overlap_threshold: 0.85 | overlap_threshold: 0.85 name_size_file: "tiny.txt"',
            "resize_param": (
                'overlap_threshold: 0.85 name_size_file: "tiny.txt" | '
                f'overlap_threshold: 0.85 name_size_file: "tiny.txt" resize_param {_FITTED}'
            ),
        },
        phase=TEST,
    ),
]  # fmt: skip
