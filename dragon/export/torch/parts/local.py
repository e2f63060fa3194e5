"""A convolution with weights of its own at each position."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LocallyConnected(nn.Module):
    """weight (outputs, 1, elements of a window, positions), bias (1, 1, outputs, positions); pad as in F.pad."""

    def __init__(
        self, shape: tuple[int, ...], bias: bool, kernel: tuple[int, ...], stride: tuple[int, ...], pad: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(shape))
        self.bias = nn.Parameter(torch.zeros(1, 1, shape[0], shape[3])) if bias else None
        self.kernel, self.stride, self.pad = kernel, stride, pad

    def forward(self, x: Tensor) -> Tensor:
        n = len(self.kernel)
        windows = F.pad(x, self.pad)
        for axis, (k, s) in enumerate(zip(self.kernel, self.stride, strict=True), 2):
            windows = windows.unfold(axis, k, s)
        positions = windows.shape[2 : 2 + n]
        windows = windows.permute(0, 1, *range(2 + n, 2 + 2 * n), *range(2, 2 + n))
        columns = windows.flatten(2 + n).flatten(1, 1 + n)  # (N, elements of a window, positions)
        y = torch.einsum("nkp,mkp->nmp", columns, self.weight[:, 0])
        return (y if self.bias is None else y + self.bias[0]).unflatten(2, positions)
