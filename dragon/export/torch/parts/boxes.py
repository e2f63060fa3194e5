"""Boxes of detectors."""

import torch
from torch import Tensor


def prior_boxes(
    x: Tensor,
    sizes: tuple[tuple[float, float], ...],
    image: tuple[int, int],
    step: tuple[float | None, ...],
    offset: float,
    clip: bool,
    variance: tuple[float, ...],
) -> Tensor:
    """The default boxes of every position of a feature map, and their variances: (1, 2, H * W * boxes * 4).

    sizes: (width, height) of each box in pixels of the image, whose (height, width) is `image`.
    """
    centres = []
    for axis, whole, given in zip((2, 3), image, step, strict=True):
        positions = torch.arange(x.shape[axis], dtype=torch.float64, device=x.device)
        centres.append((positions + offset) * (given or whole / x.shape[axis]))
    half = torch.tensor(sizes, dtype=torch.float64, device=x.device) / 2
    rows, columns = centres[0][:, None, None], centres[1][None, :, None]
    edges = (columns - half[:, 0], rows - half[:, 1], columns + half[:, 0], rows + half[:, 1])
    lengths = (image[1], image[0], image[1], image[0])
    grid = (x.shape[2], x.shape[3], len(sizes))
    boxes = torch.stack([(e / n).expand(grid) for e, n in zip(edges, lengths, strict=True)], -1).flatten()
    if clip:
        boxes = boxes.clamp(0, 1)
    spread = torch.tensor(variance, dtype=torch.float64, device=x.device).expand(boxes.numel() // 4, 4).flatten()
    return torch.stack([boxes, spread])[None].to(x.dtype)
