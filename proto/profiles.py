"""Forks of Caffe whose binary files number fields differently, or store blobs in another order.

A profile lists, for each message, the field numbers that mean something else in the fork than here, with the name of
that meaning in our schema, or None if it has none; and for each enum the values that the fork numbers differently.
Text is read by names and needs no profile, unless the profile is a dialect: a program in which a layer type means
something else than here (see dragon.proto.dialects).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dragon.errors import WeightsError, nearest
from dragon.proto import dragon_pb2 as pb

__all__ = ["NATIVE", "ONE", "PROFILES", "Profile", "find_profile"]

_Numbers = Mapping[int, str | None]
ONE = -1  # in a blob order: a blob that the fork lacks, an array with a single 1


@dataclass(frozen=True)
class Profile:
    """How the files of one fork differ from ours.

    numbers: field numbers by message. blobs: order of the blobs by layer type and their number. values: by message and
    field of an enum, the fork's values and ours; absent: those that have no meaning here. lost: by message, numbers
    and names of fields that change what is computed and that our schema lacks (see dragon.proto.refused). dialect:
    layer types that mean something else there, with the type that has this meaning as one of its forms. took_over: a
    fork whose numbers it took over, so that a file that fits both is read alike.
    """

    name: str
    numbers: Mapping[str, _Numbers] = field(default_factory=dict)
    blobs: Mapping[tuple[str, int], Sequence[int]] = field(default_factory=dict)
    values: Mapping[tuple[str, str], Mapping[int, int]] = field(default_factory=dict)
    lost: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    dialect: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[tuple[str, str], frozenset[int]] = field(default_factory=dict)
    took_over: str = ""

    def blob_order(self, kind: str, sizes: Sequence[int]) -> Sequence[int] | None:
        """For each of our blobs of a layer type, its position in the file, or ONE; None if the order is ours.

        sizes: number of elements of each blob in the file.
        """
        if self is NATIVE and kind == "BatchNorm" and len(sizes) == 5 and sizes[4] == 1 < sizes[2]:
            return _NVCAFFE_015  # a single value, but not at the position of the factor elsewhere
        if not self.blobs:
            return None
        from dragon.bases.registry import canonical  # layers import the schema, so not at the head of the file

        return self.blobs.get((canonical(kind), len(sizes)))

    def meaning(self, message: str, number: int) -> str | None:
        """The name in our schema for a field number of the fork; None if there is none."""
        numbers = self.numbers.get(message, {})
        if number in numbers:
            return numbers[number]
        own = pb.DESCRIPTOR.message_types_by_name[message].fields_by_number.get(number)
        return own.name if own is not None else None


# Fields of SSD and of the forks built on it, which our schema has too.
_SSD = {
    200: "annotated_data_param",
    201: "multibox_loss_param",
    202: "permute_param",
    203: "prior_box_param",
    204: "detection_output_param",
    205: "detection_evaluate_param",
    206: "norm_param",
    207: "video_data_param",
}
_SSD_VIDEO = {1: "video_type", 2: "device_id", 3: "video_file", 4: "skip_frames"}
# DeepLab's and PSPNet's settings of images with label maps
_MAPS_TRANSFORM = {8: "scale_factors", 9: "crop_width", 10: "crop_height"}
_MAPS = {15: "ignore_label", 16: "label_type"}
_NO_TRANSFORM = dict.fromkeys(range(8, 32))

NATIVE = Profile("dragon")

# Before 0.16 NVCaffe's BatchNorm held scale, shift, mean, variance and a reserved 1.
_NVCAFFE_015 = (2, 3, ONE, 0, 1)

PROFILES: Mapping[str, Profile] = {
    p.name: p
    for p in (
        NATIVE,
        Profile("ssd", {"LayerParameter": _SSD, "VideoDataParameter": _SSD_VIDEO}),
        Profile(
            "mobilenet-yolo",
            {
                "LayerParameter": _SSD | {211: "relu6_param", 149: "reorg_param", 150: "upsample_param"},
                "TransformationParameter": dict.fromkeys(range(15, 32)),
                "VideoDataParameter": _SSD_VIDEO,
            },
        ),
        Profile(
            "nvcaffe",
            {
                "LayerParameter": _SSD | dict.fromkeys((145, 146, 147, 148, 149, 150, 152)) | {151: "recurrent_param"},
                "TransformationParameter": _NO_TRANSFORM
                | {208: "resize_param", 209: "noise_param", 210: "emit_constraint"}
                | {211: "crop_h", 212: "crop_w", 213: "distort_param", 214: "expand_param"},
                "VideoDataParameter": _SSD_VIDEO,
                "LossParameter": {4: None},
                "ConvolutionParameter": {19: None, 20: None},
                "DataParameter": {11: None, 12: None, 13: None, 14: "shuffle", 16: None},
                "DropoutParameter": {2: None, 3: None},
            },
            lost={
                "LossParameter": {4: "label_smoothing"},
                "PoolingParameter": {40: "torch_pooling"},
                "ImageDataParameter": {13: "short_side"},
            },
        ),
        Profile("nvcaffe-0.15", blobs={("BatchNorm", 5): _NVCAFFE_015}),
        Profile(
            "intel",
            {
                "LayerParameter": _SSD
                | dict.fromkeys((149, 150, 151, 152, 156, 158, 207, 208, 209, 301))
                | {148: "smooth_l1_loss_param", 153: "psroi_pooling_param", 154: "roi_pooling_param"}
                | {155: "spatial_dropout_param", 159: "reorg_param"},
                "BatchNormParameter": {
                    4: None,
                    5: "scale_bias",
                    6: None,
                    7: "scale_filler",
                    8: "bias_filler",
                    9: None,
                    10: "relu",
                },
                "TransformationParameter": dict.fromkeys(range(15, 20)),
                "VideoDataParameter": _SSD_VIDEO,
                "LossParameter": {4: "pre_fixed_normalizer", 5: None},
                "ConvolutionParameter": dict.fromkeys((21, 23, 24)) | {19: "relu", 20: "negative_slope"},
                "InnerProductParameter": {7: None, 8: "relu", 9: "negative_slope"},
                "DataParameter": {11: "shuffle", 12: None},
                "PoolingParameter": {
                    13: "avg_include_pad",
                    14: None,
                    15: "pad_3d",
                    16: "kernel_size_3d",
                    17: "stride_3d",
                },
            },
            values={("LossParameter", "normalization"): {3: pb.LossParameter.PRE_FIXED, 4: pb.LossParameter.NONE}},
            lost={
                "LossParameter": {5: "label_smoothing"},
                "ConvolutionParameter": {23: "coeff", 24: "fusion_type"},
                "PoolingParameter": {14: "axis"},
                "FillerParameter": {9: "scale"},
                "ReshapeParameter": {4: "pixelshuffler"},
                "ROIPoolingParameter": {4: "pooled_size"},
                "DataParameter": {12: "side"},
                "ImageDataParameter": {13: "min_height", 14: "min_width"},
            },
        ),
        Profile(
            "yjxiong",
            {
                "LayerParameter": {
                    137: "bn_param",
                    140: "video_data_param",
                    141: None,
                    150: "roi_pooling_param",
                    160: "scale_param",
                    161: "bias_param",
                    162: None,
                },
                "TransformationParameter": _NO_TRANSFORM,
                "ConvolutionParameter": {16: "dilation", 17: None, 18: None},
                "DataParameter": {10: "shuffle"},
            },
        ),
        Profile(
            "pspnet",
            {
                "LayerParameter": dict.fromkeys(range(144, 152)) | {143: "interp_param", 152: "bn_param"},
                "BatchNormParameter": {4: None},
                "TransformationParameter": _NO_TRANSFORM | _MAPS_TRANSFORM,
                "ImageDataParameter": _MAPS,
            },
        ),
        Profile(
            "deeplab",
            {
                "LayerParameter": dict.fromkeys((147, 148, 149, 150, 151, 152, 154, 155)) | {153: "interp_param"},
                "BatchNormParameter": {4: None},
                "TransformationParameter": _NO_TRANSFORM | _MAPS_TRANSFORM,
                "ImageDataParameter": _MAPS,
            },
        ),
        Profile(
            "segnet",
            {
                "LayerParameter": {45: "bn_param", 137: "upsample_param", 138: "dense_image_data_param"},
                "BNParameter": {1: "scale_filler", 2: "shift_filler", 3: "bn_mode"},
                "LossParameter": {3: "weight_by_label_freqs", 4: "class_weighting"},
                "DropoutParameter": {2: None},
            },
        ),
        Profile(
            "happynear",
            {
                "LayerParameter": dict.fromkeys(range(201, 242))
                | {200: "bn_param", 204: "roi_pooling_param", 220: "psroi_pooling_param", 224: "permute_param"}
                | {203: "triplet_loss_param", 211: "center_loss_param", 212: "flip_param", 235: "focal_loss_param"}
                | {227: "largemargin_inner_product_param", 232: "margin_inner_product_param"}
                | {201: "local_param", 202: "insanity_param", 237: "channel_scale_param"}
                | {241: "label_specific_add_param"},
                "BatchNormParameter": {4: None, 5: None, 7: "scale_filler", 8: "bias_filler"},
                "TransformationParameter": _NO_TRANSFORM | {8: "crop_h", 9: "crop_w"},
                "FillerParameter": {9: "alpha"},
                "ConvolutionParameter": {19: None, 20: None},
                "DropoutParameter": {2: None},
                "InnerProductParameter": {7: None},
                "PoolingParameter": {13: None, 14: None},
            },
            lost={
                "BatchNormParameter": {4: "disable_mean", 5: "disable_variance"},
                "ConvolutionParameter": {20: "shape_offset"},
                "DropoutParameter": {2: "sqrt_scale"},
                "InnerProductParameter": {7: "normalize"},
                "AccuracyParameter": {4: "min_is_better"},
                "ScaleParameter": {6: "min_value", 7: "max_value"},
                "MemoryDataParameter": {5: "transpose"},
                "SoftmaxParameter": {
                    3: "hard_ratio",
                    4: "class_weight",
                    5: "hard_mining_label",
                    6: "cutting_point",
                    7: "normalize_type",
                    8: "label_smooth_factor",
                },
            },
        ),
        # Layers with quantised numbers, whose settings have the number of Parameter's here.
        Profile("ristretto", {"LayerParameter": {145: None}}),
        Profile(
            "synopsys",
            {
                "LayerParameter": _SSD
                | {45: "bn_param", 148: None, 151: "l1_loss_param", 163: "interp_param", 166: "shuffle_channel_param"}
                | {168: "dense_image_data_param", 177: "upsample_param", 197: "reorg_param", 248: "clip_param"}
                | {8266711: "roi_pooling_param", 8266712: "smooth_l1_loss_param"},
                "BatchNormParameter": {4: None, 6: None, 7: None},
                "BNParameter": {1: "scale_filler", 2: "shift_filler", 3: "bn_mode", 7: "slope_filler"}
                | {8: "bias_filler", 9: "momentum", 10: None},
                "LossParameter": {5: "weight_by_label_freqs", 6: "class_weighting"},
                "ConvolutionParameter": {19: None, 26: "pad_l", 27: "pad_r", 28: "pad_t", 29: "pad_b"},
                "PoolingParameter": {13: None, 14: "ceil_mode", 16: "pad_l", 17: "pad_r", 18: "pad_t", 19: "pad_b"},
                "TransformationParameter": {18: "scale_factors", 19: "crop_width", 20: "crop_height"},
                "VideoDataParameter": _SSD_VIDEO,
            },
            values={("PoolingParameter", "pool"): {3: pb.PoolingParameter.AVE_EXC_PAD}},
            took_over="segnet",
            lost={
                "ConvolutionParameter": {19: "pad_type"},
                "PoolingParameter": {13: "pad_type"},
                "RecurrentParameter": {6: "forget_bias"},
                "ArgMaxParameter": {4: "min_first"},
            },
        ),
        # C3D, which numbers layers of the V1 form and their settings anew; blobs in its way are recognised as they are.
        Profile(
            "c3d",
            {
                "V1LayerParameter": {},
                "ConvolutionParameter": {6: "kernel_depth", 7: "stride", 8: "temporal_stride", 9: "weight_filler"}
                | {10: "bias_filler", 11: "filter_group", 12: "temporal_pad"},
                "PoolingParameter": {5: "kernel_depth", 6: "temporal_stride"},
                "ImageDataParameter": {11: "new_length", 12: None, 13: "use_image", 14: "sampling_rate", 15: None}
                | {16: "use_temporal_jitter"},
            },
            values={
                ("V1LayerParameter", "type"): {
                    30: pb.V1LayerParameter.CONVOLUTION3D,
                    31: pb.V1LayerParameter.POOLING3D,
                    33: pb.V1LayerParameter.VIDEO_DATA,
                    34: pb.V1LayerParameter.DECONVOLUTION3D,
                }
            },
            absent={("V1LayerParameter", "type"): frozenset((25, 32, *range(35, 41)))},
        ),
        # The first Dragon. Its BatchNorm is the merged layer; the numbers of its message, put into Caffe's schema.
        Profile(
            "dragon-2016",
            {"BatchNormParameter": {2: "eps", 3: "decay"}},
            dialect={"BatchNorm": "BatchNorm"},
        ),
        # The Dragon of 2017. Its BN stores statistics first; the settings use BVLC's numbers.
        Profile(
            "neopenx",
            blobs={("BN", 4): (2, 3, 0, 1, ONE)},
            dialect={"BatchNorm": "BatchNorm", "BN": "BN", "FusedBatchNorm": "BN"},
        ),
    )
}


def find_profile(name: str | None) -> Profile:
    """A profile by name; None stands for our own numbers. Raises WeightsError, with the nearest name."""
    if name is None:
        return NATIVE
    if name not in PROFILES:
        known = ", ".join(PROFILES)
        raise WeightsError(f'unknown profile "{name}"{nearest(name, PROFILES)}; known are {known}')
    return PROFILES[name]
