"""The configuration of py-faster-rcnn and py-R-FCN: names and defaults of all settings, also of those not used here."""

from __future__ import annotations

from typing import Any

__all__ = ["DEFAULTS"]

_BOTH: dict[str, Any] = {
    "SCALES": [600],
    "MAX_SIZE": 1000,
    "BBOX_REG": True,
    "HAS_RPN": False,
    "PROPOSAL_METHOD": "selective_search",
    "RPN_NMS_THRESH": 0.7,
    "RPN_MIN_SIZE": 16,
    "AGNOSTIC": False,
    "AGONISTIC": False,
}

DEFAULTS: dict[str, Any] = {
    "TRAIN": {
        **_BOTH,
        "IMS_PER_BATCH": 2,
        "BATCH_SIZE": 128,
        "FG_FRACTION": 0.25,
        "FG_THRESH": 0.5,
        "BG_THRESH_HI": 0.5,
        "BG_THRESH_LO": 0.1,
        "USE_FLIPPED": True,
        "BBOX_THRESH": 0.5,
        "SNAPSHOT_ITERS": 10000,
        "SNAPSHOT_INFIX": "",
        "USE_PREFETCH": False,
        "BBOX_NORMALIZE_TARGETS": True,
        "BBOX_INSIDE_WEIGHTS": [1.0, 1.0, 1.0, 1.0],
        "BBOX_NORMALIZE_TARGETS_PRECOMPUTED": False,
        "BBOX_NORMALIZE_MEANS": [0.0, 0.0, 0.0, 0.0],
        "BBOX_NORMALIZE_STDS": [0.1, 0.1, 0.2, 0.2],
        "ASPECT_GROUPING": True,
        "RPN_POSITIVE_OVERLAP": 0.7,
        "RPN_NEGATIVE_OVERLAP": 0.3,
        "RPN_CLOBBER_POSITIVES": False,
        "RPN_FG_FRACTION": 0.5,
        "RPN_BATCHSIZE": 256,
        "RPN_PRE_NMS_TOP_N": 12000,
        "RPN_POST_NMS_TOP_N": 2000,
        "RPN_BBOX_INSIDE_WEIGHTS": [1.0, 1.0, 1.0, 1.0],
        "RPN_POSITIVE_WEIGHT": -1.0,
    },
    # Dragon's own: where the images are
    "DATA": {"source": "", "image_set": "trainval", "label_map_file": "", "use_difficult": False, "region_file": ""},
    "TEST": {**_BOTH, "NMS": 0.3, "SVM": False, "RPN_PRE_NMS_TOP_N": 6000, "RPN_POST_NMS_TOP_N": 300},
    "DEDUP_BOXES": 1 / 16,
    "PIXEL_MEANS": [102.9801, 115.9465, 122.7717],
    "RNG_SEED": 3,
    "EPS": 1e-14,
    "DATA_DIR": "",
    "ROOT_DIR": "",
    "MODELS_DIR": "",
    "MATLAB": "matlab",
    "EXP_DIR": "default",
    "USE_GPU_NMS": True,
    "GPU_ID": 0,
}
