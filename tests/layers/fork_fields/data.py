"""AnnotatedData, and the settings of transform_param that it has for itself."""

from __future__ import annotations

from tests.layers.fork_fields.probe import Probe

__all__ = ["PROBES", "SHARED"]

# settings that other data layers do not have
SHARED = [
    f"transform_param.{name}"
    for name in (
        "resize_param", "noise_param", "emit_constraint", "distort_param", "expand_param", "crop_h", "crop_w",
    )
]  # fmt: skip
_DATA = 'data_param { source: "scenes" backend: LMDB batch_size: 3 }'
_SIZE = "height: 24 width: 32"


def _sampler(text: str) -> str:
    return f"batch_sampler {{ {text} }}"


def _windows(text: str) -> str:
    return _sampler(f"sampler {{ {text} }} max_sample: 1")


def _met(text: str) -> str:
    return _sampler(f"sampler {{ min_scale: 0.3 max_scale: 0.9 }} max_sample: 1 sample_constraint {{ {text} }}")


def _transform(text: str) -> str:
    return f"transform_param {{ {text} }}"


def _resized(one: str, other: str, base: str = _SIZE) -> str:
    return " | ".join(_transform(f"resize_param {{ {base} {more} }}") for more in (one, other))


def _noise(one: str, other: str) -> str:
    return " | ".join(_transform(f"noise_param {{ {more} }}") for more in (one, other))


def _distorted(name: str, one: str, other: str) -> str:
    return " | ".join(_transform(f"distort_param {{ {more} }}") for more in (one, other))


_SALT = "saltpepper: true saltpepper_param {{ fraction: {} value: {} }}"
_FITTED = "resize_mode: FIT_LARGE_SIZE_AND_PAD"
_SMALL = "resize_mode: FIT_SMALL_SIZE"
_ONE = 'data_param { source: "scenes" backend: LMDB batch_size: 1 }'
_SCALED = f"height: 30 width: 30 {_SMALL}"
_EMIT = "batch_sampler { sampler { min_scale: 0.3 max_scale: 0.3 } max_sample: 1 }"

PROBES = [
    Probe(
        "AnnotatedData", "", [],
        {
            "batch_sampler.use_original_image": (
                f"{_windows('min_scale: 0.5')} | {_sampler('use_original_image: false sampler { min_scale: 0.5 }')}"
            ),
            "batch_sampler.sampler.min_scale": f"{_windows('min_scale: 0.5')} | {_windows('min_scale: 0.9')}",
            "batch_sampler.sampler.max_scale": (
                f"{_windows('min_scale: 0.5')} | {_windows('min_scale: 0.5 max_scale: 0.6')}"
            ),
            "batch_sampler.sampler.min_aspect_ratio": (
                f"{_windows('min_scale: 0.5 max_scale: 0.5')} | "
                f"{_windows('min_scale: 0.5 max_scale: 0.5 min_aspect_ratio: 0.5')}"
            ),
            "batch_sampler.sampler.max_aspect_ratio": (
                f"{_windows('min_scale: 0.5 max_scale: 0.5')} | "
                f"{_windows('min_scale: 0.5 max_scale: 0.5 max_aspect_ratio: 2')}"
            ),
            "batch_sampler.sample_constraint.min_jaccard_overlap": (
                f"{_met('min_jaccard_overlap: 0.01')} | {_met('min_jaccard_overlap: 0.3')}"
            ),
            "batch_sampler.sample_constraint.max_jaccard_overlap": (
                f"{_met('max_jaccard_overlap: 0.9')} | {_met('max_jaccard_overlap: 0.01')}"
            ),
            "batch_sampler.sample_constraint.min_sample_coverage": (
                f"{_met('min_sample_coverage: 0.01')} | {_met('min_sample_coverage: 0.3')}"
            ),
            "batch_sampler.sample_constraint.max_sample_coverage": (
                f"{_met('max_sample_coverage: 0.9')} | {_met('max_sample_coverage: 0.01')}"
            ),
            "batch_sampler.sample_constraint.min_object_coverage": (
                f"{_met('min_object_coverage: 0.01')} | {_met('min_object_coverage: 0.9')}"
            ),
            "batch_sampler.sample_constraint.max_object_coverage": (
                f"{_met('max_object_coverage: 0.99')} | {_met('max_object_coverage: 0.1')}"
            ),
            "batch_sampler.max_sample": (
                f"{_sampler('sampler { min_scale: 0.5 }')} | {_sampler('sampler { min_scale: 0.5 } max_sample: 1')}"
            ),
            "batch_sampler.max_trials": (
                f"{_sampler('sampler { min_scale: 0.5 } max_trials: 2')} | "
                f"{_sampler('sampler { min_scale: 0.5 } max_trials: 3')}"
            ),
            "label_map_file": '= - | "labels.prototxt"',
            "anno_type": "= - | BBOX",  # all records have it
            "yolo_data_type": "0 | 1",
            "yolo_data_jitter": "yolo_data_type: 1 | yolo_data_type: 1 yolo_data_jitter: 0.9",
            "train_diffcult": "yolo_data_type: 1 | yolo_data_type: 1 train_diffcult: false",
            "transform_param.resize_param.prob": (
                f"{_transform(f'resize_param {{ {_SIZE} prob: 1 }} resize_param {{ height: 9 width: 9 prob: 0 }}')} | "
                f"{_transform(f'resize_param {{ {_SIZE} prob: 0 }} resize_param {{ height: 9 width: 9 prob: 1 }}')}"
            ),
            "transform_param.resize_param.resize_mode": _resized("resize_mode: WARP", _FITTED, "height: 24 width: 24"),
            "transform_param.resize_param.height": _resized("height: 24", "height: 25", "width: 32"),
            "transform_param.resize_param.width": _resized("width: 32", "width: 33", "height: 24"),
            "transform_param.resize_param.height_scale": (
                f"{_ONE} transform_param {{ resize_param {{ {_SCALED} height_scale: 20 width_scale: 20 }} }} | "
                f"{_ONE} transform_param {{ resize_param {{ {_SCALED} height_scale: 25 width_scale: 20 }} }}"
            ),
            "transform_param.resize_param.width_scale": (
                f"{_ONE} transform_param {{ resize_param {{ {_SCALED} height_scale: 20 width_scale: 20 }} }} | "
                f"{_ONE} transform_param {{ resize_param {{ {_SCALED} height_scale: 20 width_scale: 25 }} }}"
            ),
            "transform_param.resize_param.pad_mode": _resized(
                "pad_mode: CONSTANT", "pad_mode: MIRRORED", f"height: 24 width: 24 {_FITTED}"
            ),
            "transform_param.resize_param.pad_value": _resized("", "pad_value: 9", f"height: 24 width: 24 {_FITTED}"),
            "transform_param.resize_param.interp_mode": _resized("interp_mode: LINEAR", "interp_mode: AREA"),
            "transform_param.noise_param.prob": _noise("inverse: true", "inverse: true prob: 0.4"),
            "transform_param.noise_param.hist_eq": _noise("", "hist_eq: true"),
            "transform_param.noise_param.inverse": _noise("", "inverse: true"),
            "transform_param.noise_param.decolorize": _noise("", "decolorize: true"),
            "transform_param.noise_param.gauss_blur": _noise("", "gauss_blur: true"),
            "transform_param.noise_param.jpeg": _noise("", "jpeg: 5"),
            "transform_param.noise_param.posterize": _noise("", "posterize: true"),
            "transform_param.noise_param.erode": _noise("", "erode: true"),
            "transform_param.noise_param.saltpepper": _noise(
                "saltpepper_param { fraction: 0.2 value: 9 }", _SALT.format(0.2, 9)
            ),
            "transform_param.noise_param.saltpepper_param.fraction": _noise(_SALT.format(0.2, 9), _SALT.format(0.4, 9)),
            "transform_param.noise_param.saltpepper_param.value": _noise(_SALT.format(0.2, 9), _SALT.format(0.2, 99)),
            "transform_param.noise_param.clahe": _noise("", "clahe: true"),
            "transform_param.noise_param.convert_to_hsv": _noise("", "convert_to_hsv: true"),
            "transform_param.noise_param.convert_to_lab": f"! {_transform('noise_param { convert_to_lab: true }')}",
            "transform_param.emit_constraint.emit_type": (
                f"annotated_data_param {{ {_EMIT} }} transform_param {{ emit_constraint {{ emit_type: CENTER }} }} | "
                f"annotated_data_param {{ {_EMIT} }} "
                "transform_param { emit_constraint { emit_type: MIN_OVERLAP emit_overlap: 0.01 } }"
            ),
            "transform_param.emit_constraint.emit_overlap": (
                f"annotated_data_param {{ {_EMIT} }} "
                "transform_param { emit_constraint { emit_type: MIN_OVERLAP emit_overlap: 0.01 } } | "
                f"annotated_data_param {{ {_EMIT} }} "
                "transform_param { emit_constraint { emit_type: MIN_OVERLAP emit_overlap: 0.99 } }"
            ),
            **{
                f"transform_param.distort_param.{name}_{end}": _distorted(name, one, other)
                for name, end, one, other in (
                    ("brightness", "prob", "brightness_delta: 30", "brightness_delta: 30 brightness_prob: 1"),
                    ("brightness", "delta", "brightness_prob: 1", "brightness_prob: 1 brightness_delta: 30"),
                    ("contrast", "prob", "contrast_upper: 2", "contrast_upper: 2 contrast_prob: 1"),
                    (
                        "contrast", "lower", "contrast_prob: 1 contrast_upper: 2",
                        "contrast_prob: 1 contrast_lower: 0.9 contrast_upper: 2",
                    ),
                    ("contrast", "upper", "contrast_prob: 1 contrast_upper: 2", "contrast_prob: 1 contrast_upper: 3"),
                    ("hue", "prob", "hue_delta: 30", "hue_delta: 30 hue_prob: 1"),
                    ("hue", "delta", "hue_prob: 1", "hue_prob: 1 hue_delta: 30"),
                    ("saturation", "prob", "saturation_upper: 1", "saturation_upper: 1 saturation_prob: 1"),
                    (
                        "saturation", "lower", "saturation_prob: 1 saturation_upper: 0.9",
                        "saturation_prob: 1 saturation_lower: 0.8 saturation_upper: 0.9",
                    ),
                    (
                        "saturation", "upper", "saturation_prob: 1 saturation_upper: 0.1",
                        "saturation_prob: 1 saturation_upper: 0.9",
                    ),
                    ("random_order", "prob", "random_order_prob: 0", "random_order_prob: 1"),
                )
            },
            "transform_param.expand_param.prob": (
                f"{_transform('expand_param { max_expand_ratio: 2 prob: 1 }')} | "
                f"{_transform('expand_param { max_expand_ratio: 2 prob: 0.3 }')}"
            ),
            "transform_param.expand_param.max_expand_ratio": (
                f"{_transform('expand_param { max_expand_ratio: 2 }')} | "
                f"{_transform('expand_param { max_expand_ratio: 4 }')}"
            ),
            "transform_param.crop_h": (
                f"{_transform('crop_h: 20 crop_w: 20')} | {_transform('crop_h: 21 crop_w: 20')}"
            ),
            "transform_param.crop_w": (
                f"{_transform('crop_h: 20 crop_w: 20')} | {_transform('crop_h: 20 crop_w: 21')}"
            ),
        },
        more=f"{_DATA} transform_param {{ resize_param {{ height: 60 width: 80 }} }}", tops=2, runs=2,
    ),
    Probe("AnnotatedData", "", [], {"anno_type": "- | BBOX"}, more=_DATA.replace("scenes", "plain"), tops=2),
]  # fmt: skip
