"""Fields and values of public forks that change what is computed and that Dragon does not support.

An error about one of them says which fork has it, what it does there, and what to use instead.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["about_field", "about_value"]

_NONE = "not offered"
_SIDES = "write pad_l, pad_r, pad_t and pad_b"
_OFFLINE = "prepare the images before training, or with a Python layer"
_AUGMENTS = "augments images"
_WINDOWS, _INTEL, _NVIDIA, _SYNOPSYS = "caffe-windows", "Intel Caffe", "NVCaffe", "Synopsys Caffe"
_YOLO = "MobileNet-YOLO"
_SEGMENTS, _DEEPLAB = "the temporal segment fork", "DeepLab and PSPNet"

_Known = Mapping[str, tuple[str, str, str]]  # name -> (fork, what it does there, what to use instead)


def _all(names: str, fork: str, what: str, instead: str = _NONE) -> _Known:
    return dict.fromkeys(names.split(), (fork, what, instead))


_FIELDS: Mapping[str, _Known] = {
    "ConvolutionParameter": {
        **_all("fusion_type coeff", _INTEL, "adds another bottom to the top", "write an Eltwise layer behind it"),
        **_all("pad_type", _SYNOPSYS, "pads so that the output has ceil(size / stride) places", _SIDES),
        **_all("pad_ratio", "a fork", "changes the padding"),
        **_all("dilation_h dilation_w", _SEGMENTS, "dilates along one axis", "write dilation twice: for h, then for w"),
        **_all("shape_offset", _WINDOWS, "changes the size of the top"),
    },
    "InnerProductParameter": {
        **_all("normalize", _WINDOWS, "scales each output's weights to length 1"),
    },
    "PoolingParameter": {
        **_all("pad_type", _SYNOPSYS, "pads so that the output has ceil(size / stride) places", _SIDES),
        **_all("pad_ratio", "a fork", "changes the padding"),
        **_all("torch_pooling", _NVIDIA, "rounds the output's size down", "write round_mode: FLOOR"),
        **_all("axis", _INTEL, "pools behind another axis"),
        **_all("blobs_lr blobs_a_min", _WINDOWS, "trains a deformable pooling"),
    },
    "FillerParameter": _all("scale", _INTEL, "scales the filled values"),
    "LossParameter": _all(
        "label_smoothing", f"{_INTEL} and {_NVIDIA}", "smooths the labels in the gradient, not in the loss"
    ),
    "SoftmaxParameter": {
        **_all("hard_ratio hard_mining_label", _WINDOWS, "lets SoftmaxWithLoss learn by the hardest examples alone"),
        **_all("class_weight", _WINDOWS, "weights the classes", "write loss_param { class_weighting: ... }"),
        **_all("cutting_point", _WINDOWS, "leaves examples out of the loss by their probability"),
        **_all("normalize_type", _WINDOWS, "replaces the exponential by another function"),
        **_all("label_smooth_factor", _WINDOWS, "smooths the labels"),
    },
    "BatchNormParameter": {
        **_all("disable_mean", _WINDOWS, "leaves the mean in the values"),
        **_all("disable_variance", _WINDOWS, "leaves out the division by the standard deviation"),
        **_all("use_weight_bias", _INTEL, "learns scale and shift in the layer", "write scale_bias: true"),
        **_all("bias_term", _INTEL, "learns a shift beside the scale", "write scale_bias: true"),
        **_all("filler", _INTEL, "is the start of the scale", "write scale_filler"),
        **_all("update_global_stats", _DEEPLAB, "says whether the running statistics follow the batches"),
    },
    "AccuracyParameter": _all("min_is_better", _WINDOWS, "counts the smallest score as the best"),
    "GroupNormParameter": _all(
        "group_num", "Spatio-Temporal-3D-CNN", "is the number of groups", "write num_groups"
    ),
    "ScaleParameter": _all("min_value max_value", _WINDOWS, "limits the scale while it is learned"),
    "DropoutParameter": {
        **_all("sqrt_scale", _WINDOWS, "makes up for what is dropped by the square root of the ratio"),
        **_all("sample_weights_test", "SegNet", "drops in TEST too", "set the net's phase to TRAIN"),
    },
    "EltwiseParameter": _all("axis", _SYNOPSYS, "places a smaller second bottom"),
    "ReLUParameter": _all("minimum maximum", _SYNOPSYS, "limits the values", "write a Clip layer"),
    "RecurrentParameter": _all("forget_bias", _SYNOPSYS, "is added to the forget gate"),
    "ArgMaxParameter": _all("min_first", _SYNOPSYS, "chooses among equal values"),
    "ReductionParameter": _all("k", _SEGMENTS, "is the number of values that the operation TOPK sums"),
    "ReshapeParameter": _all("pixelshuffler", _INTEL, "turns channels into pixels"),
    "ROIPoolingParameter": _all("pooled_size", _INTEL, "is the size of the output", "write pooled_h and pooled_w"),
    "AnnotatedDataParameter": {
        **_all(
            "single_class seg_scales seg_resize_width seg_resize_height", _YOLO,
            "is of label maps beside the boxes, a third top",
        ),
        **_all("difficult_label_warmup", _YOLO, "leaves out difficult boxes at the beginning of the training"),
    },
    "ParameterParameter": _all("blob_filler", _WINDOWS, "fills the blob at the start"),
    "MemoryDataParameter": _all("transpose", _WINDOWS, "exchanges height and width"),
    "DataParameter": _all("side", _INTEL, "is the grid of YOLO's labels"),
    "ImageDataParameter": {
        **_all("balance_class balance_by label_cut_start label_cut_end", _WINDOWS, "draws the images by their class"),
        **_all(
            "face_transform max_shear_ratio max_aspect_ratio max_rotate_angle min_random_scale max_random_scale "
            "max_random_shift face_mirror face_point_num", _WINDOWS, _AUGMENTS, _OFFLINE,
        ),
        **_all("min_height min_width", _INTEL, "enlarges small images", "write new_height and new_width"),
        **_all("short_side", _NVIDIA, "resizes images by their shorter side", "write new_height and new_width"),
        **_all("mean_value", "C3D", "is subtracted from frames", "write transform_param { mean_value: ... }"),
        **_all("dataset_share_per_node", _NVIDIA, "reads a part of the list"),
    },
    "TransformationParameter": {
        **_all(
            "img_rand_resize_lower img_rand_resize_upper rand_resize_ratio_lower rand_resize_ratio_upper "
            "vertical_stretch_lower vertical_stretch_upper horizontal_stretch_lower horizontal_stretch_upper "
            "interpolation_algo_down interpolation_algo_up allow_upscale",
            _NVIDIA, "resizes images at random", _OFFLINE,
        ),
        **_all("num_labels", _NVIDIA, "is the number of an image's labels"),
        **_all("random_resize_param random_aspect_ratio_param", _INTEL, "crops and resizes at random", _OFFLINE),
        **_all("flow", _INTEL, "reads optical flow"),
        **_all("bgr2rgb", _INTEL, "exchanges red and blue"),
        **_all("pad", _INTEL, "pads images before the crop", "write zero_pad, which pads with zeros after the mean"),
        **_all(
            "fix_crop more_fix_crop multi_scale scale_ratios max_distort original_image stride upper_size upper_height "
            "upper_width", _SEGMENTS, "crops and resizes at chosen places", _OFFLINE,
        ),
        **_all("is_flow", _SEGMENTS, "reads optical flow"),
        **_all("center_crop", _WINDOWS, "crops in the middle in TRAIN too"),
        **_all("erase_ratio scale_min scale_max aspect_min aspect_max", _WINDOWS, "erases a part of images", _OFFLINE),
        **_all(
            "enable_classf_aug min_scaling_factor max_scaling_factor max_rotation_angle contrast_brightness_adjustment "
            "smooth_filtering min_contrast max_contrast max_brightness_shift max_smooth max_color_shift min_side_min "
            "min_side_max min_side apply_probability debug_params", _YOLO, _AUGMENTS, _OFFLINE,
        ),
        **_all("cvt_bgr2rgb", _YOLO, "exchanges red and blue"),
    },
    "SolverParameter": {
        **_all(
            "rampup_interval rampup_lr", _NVIDIA,
            "lets the rate rise to base_lr, along a line in some releases and a square in others",
            "write warmup_iter and warmup_start_lr, a line",
        ),
        **_all("momentum_policy max_momentum momentum_power", _NVIDIA, "changes the momentum during training"),
        **_all(
            "weight_decay_policy weight_decay_power max_weight_decay", _NVIDIA, "changes weight_decay during training"
        ),
        **_all("larc_turbo", _NVIDIA, "changes the rates of larc"),
        **_all("local_lr_auto", _INTEL, "sets each blob's rate by its norm and its gradient's", "write larc: true"),
        **_all("local_gw_ratio", _INTEL, "is the factor of local_lr_auto", "write larc_eta"),
        **_all("disabled_update", _INTEL, "leaves the weights as they are", "write lr_mult: 0"),
        **_all("test_offset", _INTEL, "moves the iterations at which nets are tested"),
        **_all("test_and_snapshot_last_epochs", _NVIDIA, "tests and saves more often at the end"),
        **_all("clamp_weights_lower clamp_weights_upper clip_weights", _WINDOWS, "limits the weights"),
        **_all("group_id richness", _SEGMENTS, "divides the work over machines"),
    },
}  # fmt: skip

# message and field -> value -> (fork, what it means there, what there is instead)
_VALUES: Mapping[tuple[str, str], _Known] = {
    ("PoolingParameter", "pool"): {
        **_all("DEF DEF_ALL DEF_ALL2 DEF_ALL3 DEF_ALL4", _WINDOWS, "is a deformable pooling"),
        **_all("LOWRES", _WINDOWS, "is a pooling to a lower resolution"),
    },
    ("EltwiseParameter", "operation"): {
        **_all("STOCHASTIC_SUM", _SEGMENTS, "adds a random choice of the bottoms"),
        **_all("SORT", _WINDOWS, "sorts the bottoms"),
        **_all("DIV", _SYNOPSYS, "divides the bottoms"),
        **_all("MIN", _SYNOPSYS, "is the smallest of the bottoms", "write MAX of the negated bottoms, negated"),
    },
    ("ReductionParameter", "operation"): _all("TOPK", _SEGMENTS, "sums the k largest values"),
    ("AnnotatedDataParameter", "anno_type"): {
        **_all("BBOXandSeg", _YOLO, "adds label maps"),
        **_all("LANE", _YOLO, "is lanes in place of boxes"),
    },
    ("SolverParameter", "solver_type"): _all("SAG", _NVIDIA, "is the stochastic average gradient"),
}


def about_field(message: str, field: str) -> str:
    """What a field is in a fork, ` in NVCaffe it ...; not offered`; an empty string for one not known."""
    return _line(_FIELDS.get(message, {}), field)


def about_value(message: str, field: str, value: str) -> str:
    """What the value of an enum is in a fork, worded as in `about_field`."""
    return _line(_VALUES.get((message, field), {}), value)


def _line(known: _Known, name: str) -> str:
    if name not in known:
        return ""
    fork, what, instead = known[name]
    return f" in {fork} it {what}; {instead}"
