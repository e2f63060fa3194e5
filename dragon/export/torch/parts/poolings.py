"""Poolings that torch.nn cannot express: padding of one side, or of more than half a kernel; stochastic; regions."""

import torch
from torch import Tensor
from torch.nn import functional as F


def max_pool(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...], pad: tuple[int, ...]) -> Tensor:
    """The maximum of each window; pad as F.pad takes it, up to the end of the last window."""
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(kernel) - 1]
    return pool(F.pad(x, pad, value=float("-inf")), kernel, stride)


def average_pool(
    x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...], pad: tuple[int, ...], counted: tuple[int, ...]
) -> Tensor:
    """The sum of each window, divided by its elements on the image and on the part `counted` of its padding."""
    pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(kernel) - 1]
    ones = F.pad(torch.ones_like(x[:1, :1]), counted, value=1.0)
    ones = F.pad(ones, tuple(p - c for p, c in zip(pad, counted, strict=True)))
    return pool(F.pad(x, pad), kernel, stride) / pool(ones, kernel, stride)


def stochastic_pool(
    x: Tensor, kernel: tuple[int, int], stride: tuple[int, int], pad: tuple[int, ...], training: bool
) -> Tensor:
    """In training an element of each window with a probability in proportion to its value, else their mean."""
    x = F.pad(x, pad)
    columns = x.unfold(2, kernel[0], stride[0]).unfold(3, kernel[1], stride[1]).flatten(4)  # (N, C, H', W', kernel)
    if not training:
        total = columns.sum(-1)
        return columns.square().sum(-1) / torch.where(total > 0, total, torch.ones_like(total))
    running = columns.cumsum(-1)
    chosen = (running <= torch.rand_like(running[..., :1]) * running[..., -1:]).sum(-1, keepdim=True)
    return columns.gather(-1, chosen.clamp(max=columns.shape[-1] - 1))[..., 0]


def region_max_pool(x: Tensor, rois: Tensor, bins: tuple[int, int], scale: float) -> Tensor:
    """Each region (item, x1, y1, x2, y2) max-pooled into a grid; empty bins are 0."""
    found = []
    for roi in rois.reshape(rois.shape[0], -1).tolist():
        item, (left, top, right, bottom) = int(roi[0]), (int((v * scale + 0.5) // 1) for v in roi[1:5])
        height, width = max(bottom - top + 1, 1), max(right - left + 1, 1)
        for i in range(bins[0]):
            rows = slice(max(0, i * height // bins[0] + top), max(0, -(-(i + 1) * height // bins[0]) + top))
            for j in range(bins[1]):
                columns = slice(max(0, j * width // bins[1] + left), max(0, -(-(j + 1) * width // bins[1]) + left))
                window = x[item, :, rows, columns].flatten(1)
                found.append(window.max(1).values if window.numel() else x.new_zeros(x.shape[1]))
    return torch.stack(found).reshape(-1, *bins, x.shape[1]).permute(0, 3, 1, 2)


def position_sensitive_pool(x: Tensor, rois: Tensor, outputs: int, group: int, scale: float) -> Tensor:
    """Each bin of each region averaged over a channel of its own (R-FCN)."""
    channels = x.reshape(x.shape[0], outputs, group, group, *x.shape[2:])
    found = []
    for roi in rois.reshape(rois.shape[0], -1).tolist():
        item, (left, top, right, bottom) = int(roi[0]), ((v + 0.5) // 1 for v in roi[1:5])
        left, top, right, bottom = left * scale, top * scale, (right + 1) * scale, (bottom + 1) * scale
        height, width = max(bottom - top, 0.1) / group, max(right - left, 0.1) / group
        for i in range(group):
            rows = slice(max(0, int((i * height + top) // 1)), max(0, int(-(-((i + 1) * height + top) // 1))))
            for j in range(group):
                columns = slice(max(0, int((j * width + left) // 1)), max(0, int(-(-((j + 1) * width + left) // 1))))
                window = channels[item, :, i, j, rows, columns].flatten(1)
                found.append(window.mean(1) if window.numel() else x.new_zeros(outputs))
    return torch.stack(found).reshape(-1, group, group, outputs).permute(0, 3, 1, 2)
