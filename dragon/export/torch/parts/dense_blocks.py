"""Blocks of DenseNets."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DenseStage(nn.Module):
    """Batch normalisation, scale, shift and ReLU, then a convolution whose kernels are stored mirrored."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs, kernel, kernel))
        self.scale, self.shift = nn.Parameter(torch.ones(inputs)), nn.Parameter(torch.zeros(inputs))
        self.register_buffer("running_mean", torch.zeros(inputs))
        self.register_buffer("running_var", torch.ones(inputs))

    def forward(self, x: Tensor, newest: float, weight: Tensor) -> Tensor:
        mean, var = self.running_mean, self.running_var
        if not self.training:
            mean, var = mean / weight, var / weight
        y = F.batch_norm(x, mean, var, self.scale, self.shift, self.training, newest, 1e-5)
        return F.conv2d(F.relu(y), self.weight.flip(2, 3), padding=self.weight.shape[2] // 2)


class DenseBlock(nn.Module):
    """Each layer adds `growth` channels to those before it; `narrow`: by way of a 1 x 1 convolution.

    `average_weight` divides the running averages where it is not 0, as files of the fork's code for the CPU have it.
    """

    def __init__(self, channels: int, growth: int, layers: int, narrow: bool, dropout: float, newest: float) -> None:
        super().__init__()
        self.newest, self.dropout = newest, dropout
        self.register_buffer("average_weight", torch.zeros(1))
        self.stages = nn.ModuleList()
        for i in range(layers):
            inputs = channels + i * growth
            if narrow:
                self.stages.append(DenseStage(inputs, 4 * growth, 1))
            self.stages.append(DenseStage(4 * growth if narrow else inputs, growth, 3))

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.where(self.average_weight == 0, 1, self.average_weight)
        if self.training:
            for stage in self.stages:
                stage.running_mean /= weight
                stage.running_var /= weight
            self.average_weight.zero_()
        added = x
        for stage in self.stages:
            added = stage(added, self.newest, weight)
            if stage.weight.shape[2] > 1:  # the last one of a layer
                x = torch.cat([x, F.dropout(added, self.dropout, self.training)], dim=1)
                added = x
        return x
