"""The layers of Faster R-CNN, R-FCN and multi-task network cascades."""

from __future__ import annotations

import numpy as np

from tests.layers.fork_fields.probe import LOSS, Probe

__all__ = ["PROBES"]

RNG = np.random.default_rng(6)
INFO = np.array([[96.0, 128.0, 1.5]])
TRUE = np.array([[10, 12, 60, 70, 1], [50, 20, 110, 90, 2], [5, 50, 40, 95, 2]], float)
_CORNER = RNG.uniform(0, 60, (40, 2))
ROIS = np.concatenate([np.zeros((40, 1)), _CORNER, _CORNER + RNG.uniform(8, 50, (40, 2))], axis=1)
ROIS[:6, 1:] = TRUE[[0, 1, 2, 0, 1, 2], :4] + RNG.uniform(-8, 8, (6, 4))
FEATURES, SOME = RNG.standard_normal((1, 8, 12, 16)), ROIS[:5]
SCORES = RNG.uniform(0, 1, (1, 18, 6, 8))
_ANCHORS = "ratio: 0.5 ratio: 1 ratio: 2 scale: 2 scale: 4 scale: 6"

_SAMPLE = {
    "num_classes": "3 | 4",
    "batch_size": "12 | -1",
    "fg_fraction": "0.25 | 0.75",
    "fg_thresh": "0.5 | 0.9",
    "bg_thresh_hi": "0.5 | 0.2",
    "bg_thresh_lo": "0.1 | 0.3",
    "class_agnostic": "false | true",
    "normalize_targets": "false | true",
    "bbox_mean": "normalize_targets: true | normalize_targets: true bbox_mean: [1, 0, 0, 0]",
    "bbox_std": "normalize_targets: true | normalize_targets: true bbox_std: [1, 1, 1, 1]",
    "inside_weight": "- | 1 1 2 2",
}
_IMAGES = {
    "source": '"voc" | "lmdb"',
    "image_set": '"trainval" | "test"',
    "label_map_file": '- | "labels_voc.prototxt"',
    "num_classes": "0 | 9",
    "scale": "40 | 30",
    "max_size": "90 | 45",
    "use_flipped": "true | false",
    "shuffle": "true | false",
    "use_difficult": "false | true",
    "pixel_mean": "- | 1 2 3",
}


def _beside(values: str) -> str:
    """Values of a setting of ProposalTarget for a layer that has these settings as its second message."""
    return " | ".join(
        f"proposal_target_param {{ {value} }}" if ": " in value else value for value in values.split(" | ")
    )


PROBES = [
    Probe(
        "Proposal", f"{_ANCHORS} post_nms_topn: 20", [SCORES, RNG.standard_normal((1, 36, 6, 8)) * 0.3, INFO],
        {
            "feat_stride": "16 | 12",
            "base_size": "16 | 12",
            "min_size": "16 | 40",
            "ratio": "0.5 1 2 | 0.4 1 2",
            "scale": "2 4 6 | 3 4 6",
            "pre_nms_topn": "6000 | 10",
            "post_nms_topn": "20 | 5",
            "nms_thresh": "0.7 | 0.2",
        },
        tops=2,
    ),
    Probe(
        "AnchorTarget", f"{_ANCHORS} batch_size: 12", [SCORES, TRUE, INFO],
        {
            "feat_stride": "16 | 12",
            "base_size": "16 | 12",
            "ratio": "0.5 1 2 | 0.4 1 2",
            "scale": "2 4 6 | 3 4 6",
            "allowed_border": "0 | 20",
            "batch_size": "12 | 30",
            "fg_fraction": "0.5 | 0.1",
            "positive_overlap": "0.7 | 0.3",
            "negative_overlap": "0.3 | 0.05",
            "clobber_positives": "negative_overlap: 0.8 | negative_overlap: 0.8 clobber_positives: true",
            "positive_weight": "-1 | 0.3",
            "inside_weight": "- | 1 1 2 2",
        },
        tops=4,
    ),
    Probe("ProposalTarget", "num_classes: 3 batch_size: 12", [ROIS, TRUE], _SAMPLE, tops=5),
    Probe(
        "RoIData", 'source: "voc" scale: 40 max_size: 90', [], _IMAGES | {"region_file": '! "regions.h5"'},
        tops=3, runs=8,
    ),
    Probe(
        "RegionData", 'source: "voc" scale: 40 max_size: 90 region_file: "regions.h5"', [],
        {
            **_IMAGES,
            "source": 'source: "voc" region_file: "regions.h5" | source: "lmdb" region_file: "records.h5"',
            "region_file": '"regions.h5" | "others.h5"',
            **{f"proposal_target_param.{name}": _beside(values) for name, values in _SAMPLE.items()},
            "proposal_target_param.num_classes": "21 | 22",
        },
        more="proposal_target_param { num_classes: 21 batch_size: 12 bg_thresh_lo: 0 }", tops=6, runs=8,
    ),
    Probe(
        "RCNNDetectionOutput", "",
        [ROIS, RNG.dirichlet([1, 1, 1], 40), RNG.standard_normal((40, 12)) * 0.2, INFO],
        {
            "confidence_threshold": "0.05 | 0.7",
            "nms_threshold": "0.3 | 0.8",
            "keep_top_k": "100 | 3",
            "bbox_mean": "- | 1 0 0 0",
            "bbox_std": "- | 2 2 2 2",
        },
    ),
    Probe(
        "ROIPooling", "pooled_h: 2 pooled_w: 3 spatial_scale: 0.125", [FEATURES, SOME],
        {"pooled_h": "2 | 3", "pooled_w": "3 | 2", "spatial_scale": "0.125 | 0.0625"}, gradient=True,
    ),
    Probe(
        "ROIAlign", "pooled_h: 2 pooled_w: 3 spatial_scale: 0.125", [FEATURES, SOME],
        {
            "pooled_h": "2 | 3", "pooled_w": "3 | 2", "spatial_scale": "0.125 | 0.0625", "sampling_ratio": "1 | 2",
        },
        gradient=True,
    ),
    *(
        Probe(
            kind, "output_dim: 2 group_size: 2 spatial_scale: 0.125", [FEATURES, SOME],
            {
                "spatial_scale": "0.125 | 0.0625",
                "output_dim": "2 | 3",
                "group_size": "output_dim: 2 group_size: 2 | output_dim: 8 group_size: 1",
            },
            gradient=True,
        )
        for kind in ("PSROIPooling", "PSROIAlign")
    ),
    Probe(
        "BoxAnnotatorOHEM", "roi_per_img: 3",
        [ROIS, RNG.uniform(0, 1, 40), RNG.integers(0, 3, 40), RNG.uniform(0, 1, (40, 8))],
        {"roi_per_img": "3 | 9", "ignore_label": "-1 | 255"}, tops=2,
    ),
    Probe(
        "SoftmaxWithLossOHEM", "", [RNG.standard_normal((6, 3, 2, 2)), RNG.integers(0, 3, (6, 1, 2, 2))],
        {
            **LOSS,
            "loss_param.ignore_label": "- | 1",
            "loss_param.weight_by_label_freqs": (
                "- | loss_param { weight_by_label_freqs: true class_weighting: [1, 2, 3] }"
            ),
            "loss_param.class_weighting": (
                "loss_param { weight_by_label_freqs: true class_weighting: [1, 1, 1] } | "
                "loss_param { weight_by_label_freqs: true class_weighting: [1, 2, 3] }"
            ),
        },
        tops=3,
    ),
    Probe(
        "SmoothL1LossOHEM", "", [RNG.standard_normal((6, 3, 2, 2)), RNG.standard_normal((6, 3, 2, 2))], LOSS, tops=2,
    ),
    Probe(
        "SmoothL1Loss", "", [RNG.standard_normal((4, 8)), RNG.standard_normal((4, 8))], {"sigma": "1 | 3"},
        gradient=True,
    ),
    Probe(
        "MaskResize", "output_width: 5 output_height: 4", [RNG.uniform(0, 1, (2, 1, 7, 6))],
        {"output_width": "5 | 9", "output_height": "4 | 3"}, gradient=True,
    ),
]  # fmt: skip
