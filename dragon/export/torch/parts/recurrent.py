"""Recurrent layers over (T, N, ...) with a bottom that is 0 where a sequence begins."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def lstm_step(cell: Tensor, gates: Tensor, cont: Tensor) -> tuple[Tensor, Tensor]:
    """New cell and output from the gates i, f, o, g before their activation."""
    i, f, o, g = gates.chunk(4, dim=-1)
    cell = cont * torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
    return cell, torch.sigmoid(o) * torch.tanh(cell)


class Recurrent(nn.Module):
    """Base of LSTM and RNN. Without `exposed` a batch begins with the final states of the batch before."""

    def __init__(self, inputs: int, static: int, size: int, gates: int, states: int, exposed: bool) -> None:
        super().__init__()
        self.weight_x, self.bias = (
            nn.Parameter(torch.zeros(gates * size, inputs)),
            nn.Parameter(torch.zeros(gates * size)),
        )
        self.weight_static = nn.Parameter(torch.zeros(gates * size, static)) if static else None
        self.weight_h = nn.Parameter(torch.zeros(gates * size, size))
        self.size, self.states, self.exposed = size, states, exposed
        self.carried: list[Tensor] = []  # the final states of the batch before; clear() starts anew

    def start(self, x: Tensor, rest: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The contribution of the inputs to the gates (T, N, gates), and the states to begin with, (N, size)."""
        rows = x.flatten(2) if x.dim() > 2 else x[..., None]
        gates = F.linear(rows, self.weight_x, self.bias)
        if self.weight_static is not None:
            gates = gates + F.linear(rest[0].flatten(1), self.weight_static)
            rest = rest[1:]
        n = x.shape[1]
        if self.exposed:
            return gates, [state.reshape(n, self.size) for state in rest]
        if len(self.carried) != self.states or self.carried[0].shape[0] != n:
            self.carried = [x.new_zeros(n, self.size) for _ in range(self.states)]
        return gates, self.carried

    def finish(self, y: Tensor, states: list[Tensor]) -> Tensor | tuple[Tensor, ...]:
        """The tops: the outputs and, with `exposed`, the final states."""
        if self.exposed:
            return (y, *(state[None] for state in states))
        self.carried = [state.detach() for state in states]
        return y


class LSTM(Recurrent):
    """Long short-term memory with the gates in the order i, f, o, g."""

    def __init__(self, inputs: int, static: int, size: int, exposed: bool) -> None:
        super().__init__(inputs, static, size, 4, 2, exposed)

    def forward(self, x: Tensor, cont: Tensor, *rest: Tensor) -> Tensor | tuple[Tensor, ...]:
        gates, (h, c) = self.start(x, list(rest))
        outputs = []
        for gate, go in zip(gates, cont.to(x.dtype)[:, :, None], strict=True):
            c, h = lstm_step(c, gate + F.linear(h * go, self.weight_h), go)
            outputs.append(h)
        return self.finish(torch.stack(outputs), [h, c])


class RNN(Recurrent):
    """h = tanh(W_h cont h + W_x x + b), y = tanh(W_o h + b_o)."""

    def __init__(self, inputs: int, static: int, size: int, exposed: bool) -> None:
        super().__init__(inputs, static, size, 1, 1, exposed)
        self.weight_o, self.bias_o = nn.Parameter(torch.zeros(size, size)), nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor, cont: Tensor, *rest: Tensor) -> Tensor | tuple[Tensor, ...]:
        gates, (h,) = self.start(x, list(rest))
        outputs = []
        for gate, go in zip(gates, cont.to(x.dtype)[:, :, None], strict=True):
            h = torch.tanh(gate + F.linear(h * go, self.weight_h))
            outputs.append(h)
        return self.finish(torch.tanh(F.linear(torch.stack(outputs), self.weight_o, self.bias_o)), [h])


class RowLSTM(nn.Module):
    """LSTM over rows, step by step, `batch` sequences side by side; `clip` is 0 where a sequence begins.

    Without `batch` the second axis of x has them. With `clip` a batch begins with the final states of the batch before.
    limit: of the gates' gradients; 0: none.
    """

    def __init__(self, inputs: int, size: int, batch: int | None, limit: float) -> None:
        super().__init__()
        self.weight_x, self.weight_h = (
            nn.Parameter(torch.zeros(4 * size, inputs)),
            nn.Parameter(torch.zeros(4 * size, size)),
        )
        self.bias = nn.Parameter(torch.zeros(4 * size))
        self.size, self.batch, self.limit = size, batch, limit
        self.carried: list[Tensor] = []  # the final states of the batch before; clear() starts anew

    def forward(self, x: Tensor, clip: Tensor | None = None) -> Tensor:
        if self.batch is None:
            batch, gates = x.shape[1], F.linear(x, self.weight_x, self.bias)
        else:
            batch = self.batch
            gates = F.linear(x.flatten(1), self.weight_x, self.bias).unflatten(0, (-1, batch))
        cont = x.new_ones(gates.shape[:2]) if clip is None else (clip != 0).to(x.dtype)
        h = c = x.new_zeros(batch, self.size)
        if clip is not None and self.carried:
            h, c = self.carried
        outputs = []
        for gate, go in zip(gates, cont.reshape(-1, batch, 1), strict=True):
            total = gate + F.linear(h * go, self.weight_h)
            if self.limit and total.requires_grad:
                total.register_hook(lambda diff: diff.clamp(-self.limit, self.limit))
            c, h = lstm_step(c, total, go)
            outputs.append(h)
        if clip is not None:
            self.carried = [h.detach(), c.detach()]
        return torch.stack(outputs) if self.batch is None else torch.cat(outputs)
