"""The nets that are measured, from the zoo: without data layers, and as descriptions that a peer builds them from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._harness import ROOT, BenchmarkError
from dragon.graph.definition import filter_net, run_state
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import read_net

__all__ = ["SOLVER", "describe", "export_arrays", "inputs", "multiply_adds", "net_for"]

MODELS = ROOT / "models"
# the same for every net, since only the arithmetic has to be that of the peer
SOLVER: dict[str, Any] = {"base_lr": 0.001, "lr_policy": "fixed", "momentum": 0.9, "weight_decay": 0.004}


def net_for(name: str, batch: int, phase: int, size: int | None = None) -> pb.NetParameter:
    """A net of the zoo with Input layers in place of its data: in TRAIN with the loss, in TEST as deployed.

    size: height and width instead of those of the model, for quick trials of nets without an inner product.
    """
    deploy = read_net(MODELS / name / "deploy.prototxt")
    shape = list(deploy.layer[0].input_param.shape[0].dim)
    shape = [batch, shape[1], *([size, size] if size else shape[2:])]
    if phase == pb.TEST:
        deploy.layer[0].input_param.shape[0].dim[:] = shape
        return deploy
    full = filter_net(read_net(MODELS / name / "train_val.prototxt"), run_state(pb.NetState(), pb.TRAIN, 0, []))
    net = pb.NetParameter(name=name)
    data = net.layer.add(name="data", type="Input", top=["data", "label"])
    data.input_param.shape.add(dim=shape)
    data.input_param.shape.add(dim=[batch])
    net.layer.extend(layer for layer in full.layer if layer.type != "Data")
    return net


def inputs(name: str, shape: Sequence[int]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Random images, scaled like those of the model, and labels of ten classes."""
    first = read_net(MODELS / name / "train_val.prototxt").layer[0]
    random = np.random.default_rng(0)
    images = random.standard_normal(shape) * 60 * first.transform_param.scale
    return images.astype(np.float32), random.integers(0, 10, shape[0])


def describe(net: pb.NetParameter) -> list[dict[str, Any]]:
    """The layers as plain data. Raises BenchmarkError for types and settings that cpu_torch does not support."""
    return [_describe(layer) for layer in net.layer if layer.type != "Input"]


def _describe(layer: pb.LayerParameter) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": layer.name, "type": layer.type, "bottom": list(layer.bottom), "top": list(layer.top),
        "lr": [spec.lr_mult for spec in layer.param], "decay": [spec.decay_mult for spec in layer.param],
    }  # fmt: skip
    match layer.type:
        case "Convolution":
            p = layer.convolution_param
            made |= {"out": p.num_output, "kernel": p.kernel_size[0], "bias": p.bias_term, "group": p.group}
            made |= {"stride": (list(p.stride) or [1])[0], "pad": (list(p.pad) or [0])[0]}
        case "InnerProduct":
            made |= {"out": layer.inner_product_param.num_output, "bias": layer.inner_product_param.bias_term}
        case "Pooling":
            q = layer.pooling_param
            made |= {"method": pb.PoolingParameter.PoolMethod.Name(q.pool), "global": q.global_pooling}
            made |= {"kernel": q.kernel_size, "stride": q.stride, "pad": q.pad}
        case "LRN":
            r = layer.lrn_param
            made |= {"size": r.local_size, "alpha": r.alpha, "beta": r.beta, "k": r.k}
            made |= {"within": r.norm_region == pb.LRNParameter.WITHIN_CHANNEL}
        case "BatchNorm" | "BN":
            made |= {"eps": layer.batch_norm_param.eps}
        case "Scale":
            made |= {"bias": layer.scale_param.bias_term}
        case "Eltwise":
            if layer.eltwise_param.operation != pb.EltwiseParameter.SUM or layer.eltwise_param.coeff:
                raise BenchmarkError(f'layer "{layer.name}": the peer knows only sums without coefficients')
        case "ReLU" | "Sigmoid" | "Softmax" | "SoftmaxWithLoss":
            pass
        case other:
            raise BenchmarkError(f'layer "{layer.name}": the peer has no "{other}"')
    return made


def export_arrays(net: Net, path: str | Path) -> None:
    """Write inputs, labels and all learned arrays to an .npz; running statistics as mean and variance."""
    arrays = {name: net.blobs[name].peek() for name in ("data", "label") if name in net.blobs}
    for name, layer in zip(net.layer_names, net.layers, strict=True):
        arrays |= {f"{name}/{i}": blob.peek() for i, blob in enumerate(layer.blobs) if i not in layer.buffers}
        if layer.type in ("BatchNorm", "BN"):
            mean, variance = layer.peek_running()  # type: ignore[attr-defined]
            arrays |= {f"{name}/mean": mean, f"{name}/variance": variance}
    np.savez(path, allow_pickle=False, **arrays)


def multiply_adds(net: Net) -> dict[str, int]:
    """Multiply-adds of one forward pass of each 2-D convolution and inner product.

    Taps on padding are left out: kernels skip them, and at 8 x 8 they are a quarter of a 5 x 5 window.
    """
    counts = {}
    for name, layer, bottoms, tops in zip(net.layer_names, net.layers, net.bottoms, net.tops, strict=True):
        if layer.type == "InnerProduct":
            counts[name] = tops[0].shape[0] * layer.blobs[0].count
        if layer.type == "Convolution":
            weights, p = layer.blobs[0].shape, layer.param.convolution_param
            stride, pad = (list(p.stride) or [1])[0], (list(p.pad) or [0])[0]
            taps = (_taps(*sizes, stride, pad) for sizes in zip(bottoms[0].shape[2:], weights[2:], strict=True))
            counts[name] = tops[0].shape[0] * weights[0] * weights[1] * math.prod(taps)
    return counts


def _taps(size: int, kernel: int, stride: int, pad: int) -> int:
    """Positions of a kernel along one axis that fall on the image, summed over all windows."""
    starts = range(-pad, size + pad - kernel + 1, stride)
    return sum(min(start + kernel, size) - max(start, 0) for start in starts)
