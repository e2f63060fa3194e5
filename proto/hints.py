"""Fields of public forks that say how a net is computed, not what: the reader skips them with a warning.

They choose a library, number types, caches, threads or the division over machines. Dragon decides these by its own
options, so the results are the same without them.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["ENGINES", "hint"]

ENGINES = frozenset({"MKL2017", "MKLDNN", "TENSORRT", "CUDNN", "CAFFE", "DEFAULT"})  # values of `engine` in forks

_LIBRARY = "chooses a library"
_PRECISION = "chooses number types"
_READING = "sets threads and caches of reading"
_MACHINES = "divides the work over machines"
_MEMORY = "arranges memory"

# message -> field -> (fork, what it does there)
_HINTS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "NetParameter": {
        **dict.fromkeys(
            ("default_forward_type", "default_backward_type", "default_forward_math", "default_backward_math"),
            ("NVCaffe", _PRECISION),
        ),
        **dict.fromkeys(("global_grad_scale", "global_grad_scale_adaptive"), ("NVCaffe", "scales gradients of fp16")),
        **dict.fromkeys(("default_conv_algos_override", "default_cudnn_math_override"), ("NVCaffe", _LIBRARY)),
        "reduce_buckets": ("NVCaffe", _MACHINES),
        "eltwise_mem_sharing": ("NVCaffe", _MEMORY),
        "engine": ("Intel Caffe", _LIBRARY),
        "compile_net_state": ("Intel Caffe", "notes what its own optimiser did"),
        "bn_stats_batch_size": ("Intel Caffe", _MACHINES),
        "multinode": ("Intel Caffe", _MACHINES),
        "optimize_mem": ("caffe-windows", _MEMORY),
        "mem_param": ("the temporal segment fork", _MEMORY),
        "quantization_param": ("Ristretto", "notes how numbers are quantised"),
    },
    "LayerParameter": {
        **dict.fromkeys(("forward_type", "backward_type", "forward_math", "backward_math"), ("NVCaffe", _PRECISION)),
        "cudnn_math_override": ("NVCaffe", _LIBRARY),
        "debug": ("NVCaffe", "prints figures"),
        "engine": ("Intel Caffe", _LIBRARY),
        "split_param": ("Intel Caffe", _LIBRARY),
        **dict.fromkeys(("multinode", "mn_activation_param", "mn_grad_compress_param"), ("Intel Caffe", _MACHINES)),
        "quantization_param": ("Intel Caffe and Ristretto", "notes how numbers are quantised"),
    },
    "SolverParameter": {
        "solver_data_type": ("NVCaffe", _PRECISION),
        "store_blobs_in_old_format": ("NVCaffe", "chooses how weights are stored"),
        "engine": ("Intel Caffe", _LIBRARY),
    },
    "TransformationParameter": {
        "use_gpu_transform": ("NVCaffe", _LIBRARY),
        "forward_packing": ("NVCaffe", _MEMORY),
        "display": ("NVCaffe", "shows images"),
        "random_seed": ("NVCaffe", "seeds the augmentation"),
    },
    "VideoDataParameter": {"show_data": ("C3D", "shows frames")},
    "DropoutParameter": {"random_seed": ("NVCaffe", "seeds the mask")},
    "ConvolutionParameter": {
        **dict.fromkeys(("cudnn_convolution_algo_seeker", "conv_algos_override"), ("NVCaffe", _LIBRARY)),
        "conv_algorithm": ("Intel Caffe", _LIBRARY),
    },
    "MultiBoxLossParameter": {"ignore_difficult_gt": ("NVCaffe", "is an option that nothing reads")},
    "AccuracyParameter": {"use_log": ("Tongcheng's fork", "writes a log")},
    "ConcatParameter": {"per_fla_fuse": ("Intel Caffe", _LIBRARY)},
    "ReLUParameter": {"fuse": ("Intel Caffe", _LIBRARY)},
    "BatchNormParameter": {"stats_batch_size": ("Intel Caffe", _MACHINES)},
    **dict.fromkeys(
        ("DataParameter", "ImageDataParameter", "WindowDataParameter", "HDF5DataParameter", "MemoryDataParameter"),
        dict.fromkeys(("threads", "parser_threads", "cache", "precache", "prefetch"), ("NVCaffe", _READING)),
    ),
}


def hint(message: str, field: str) -> str | None:
    """What a field of a message hints at, such as `chooses a library in NVCaffe`; None for a field that is no hint."""
    if field == "engine":  # any message may have one in some fork
        fork, what = _HINTS.get(message, {}).get(field, ("a fork", _LIBRARY))
    elif field in _HINTS.get(message, {}):
        fork, what = _HINTS[message][field]
    else:
        return None
    return f"{what} in {fork}"
