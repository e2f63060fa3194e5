"""Numbers of oneDNN's C interface (3.x), under the names of its headers without the ``dnnl_`` prefix.

A test compares each number with the name that the loaded library has for it, where the library has one (algorithms,
propagation kinds, data types, format tags, statuses).
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

__all__ = ["MAX_NDIMS", "Alg", "Arg", "DataType", "FormatKind", "Norm", "Prop", "Query", "Status", "Tag"]

MAX_NDIMS = 12


class Status(IntEnum):
    """The status that every call returns."""

    success = 0
    out_of_memory = 1
    invalid_arguments = 2
    unimplemented = 3
    last_impl_reached = 4
    runtime_error = 5
    not_required = 6
    invalid_graph = 7
    invalid_graph_op = 8
    invalid_shape = 9
    invalid_data_type = 10


class DataType(IntEnum):
    """Element types; NumPy has no bf16, so those elements are seen as uint16."""

    undef = 0
    f16 = 1
    bf16 = 2
    f32 = 3
    s32 = 4
    s8 = 5
    u8 = 6


class FormatKind(IntEnum):
    """Kinds of layouts."""

    undef = 0
    any = 1
    blocked = 2


class Tag(IntEnum):
    """The only layouts Dragon names: "you choose", common channel blocks, and blocked weights and stacks of them."""

    any = 1
    aBc16b = 56
    ABcd16a16b = 75
    aBcd16b = 78
    ABcd16b16a = 79
    ABcd8a16b2a = 98
    ABcd8a8b = 100
    aBcd8b = 102
    ABcd8b16a2b = 104
    ABcd8b8a = 107
    aBcde16b = 121
    aBCde16b16c = 123
    aBCde16c16b = 124
    aBCde8b16c2b = 144
    aBCde8b8c = 149
    aBCde8c16b2c = 161
    aBCde8c8b = 162


class Prop(IntEnum):
    """Propagation kinds."""

    forward_training = 64
    forward_inference = 96
    backward = 128
    backward_data = 160
    backward_weights = 192


class Alg(IntEnum):
    """Algorithms, of all families."""

    convolution_direct = 1
    convolution_auto = 3
    deconvolution_direct = 10
    eltwise_relu = 32
    eltwise_tanh = 33
    eltwise_elu = 34
    eltwise_square = 35
    eltwise_abs = 36
    eltwise_sqrt = 37
    eltwise_linear = 38
    eltwise_soft_relu = 39
    eltwise_hardsigmoid = 40
    eltwise_logistic = 41
    eltwise_exp = 42
    eltwise_swish = 44
    eltwise_log = 45
    eltwise_clip = 46
    eltwise_clip_v2 = 47
    eltwise_pow = 48
    eltwise_mish = 51
    eltwise_hardswish = 52
    eltwise_relu_use_dst_for_bwd = 256
    eltwise_tanh_use_dst_for_bwd = 257
    eltwise_elu_use_dst_for_bwd = 258
    eltwise_sqrt_use_dst_for_bwd = 259
    eltwise_logistic_use_dst_for_bwd = 260
    eltwise_exp_use_dst_for_bwd = 261
    eltwise_clip_v2_use_dst_for_bwd = 262
    pooling_max = 511
    pooling_avg_include_padding = 767
    pooling_avg_exclude_padding = 1023
    lrn_across_channels = 2815
    lrn_within_channel = 3071
    binary_add = 131056
    binary_mul = 131057
    binary_max = 131058
    binary_min = 131059
    binary_div = 131060
    binary_sub = 131061
    binary_gt = 131063
    reduction_sum = 196596
    reduction_mean = 196598
    resampling_nearest = 196592
    softmax_accurate = 196608
    softmax_log = 196609


class Norm(IntFlag):
    """Flags of batch normalisation."""

    none = 0
    use_global_stats = 1
    use_scale = 2
    use_shift = 4
    fuse_relu = 8


class Arg:
    """Numbers of execution arguments; plain integers, because some are computed."""

    SRC = 1
    SRC_1 = 2
    DST = 17
    WEIGHTS = 33
    BIAS = 41
    MEAN = 49
    VARIANCE = 50
    SCALE = 51
    SHIFT = 52
    WORKSPACE = 64
    SCRATCHPAD = 80
    DIFF_SRC = 129
    DIFF_DST = 145
    DIFF_WEIGHTS = 161
    DIFF_BIAS = 169
    DIFF_SCALE = 255
    DIFF_SHIFT = 256
    MULTIPLE_SRC = 1024
    ATTR_SCALES = 4096
    POST_OP = 32768

    @staticmethod
    def post_op(index: int) -> int:
        """The second source of the binary post-op at ``index`` in the chain."""
        return Arg.POST_OP * (index + 1) | Arg.SRC_1

    @staticmethod
    def runtime_scale(arg: int) -> int:
        """The float32 memory, one axis of at least one element, that scales ``arg`` when the primitive runs."""
        return Arg.ATTR_SCALES | arg


class Query(IntEnum):
    """What a descriptor can be asked for."""

    impl_info_str = 8
    strides = 14
    src_md = 129
    workspace_md = 135
    scratchpad_md = 136
    exec_arg_md = 255
    ndims_s32 = 256
    dims = 257
    data_type = 258
    submemory_offset_s64 = 259
    padded_dims = 260
    format_kind = 262
    inner_nblks_s32 = 263
    inner_blks = 264
    inner_idxs = 265
