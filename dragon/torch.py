"""A net inside PyTorch: a torch.nn.Module whose forward and backward Dragon computes. Needs the package torch.

import dragon.torch
module = dragon.torch.NetModule("net.prototxt", weights="net.caffemodel")
y = module.eval()(x)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from dragon.bases.layer import TEST, TRAIN
from dragon.counting import how_many
from dragon.errors import UsageError, nearest
from dragon.extras import install_command
from dragon.graph.net import Net
from dragon.memory.blob import Blob
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition

try:
    import torch
except ImportError:
    raise UsageError(f"dragon.torch needs a package: {install_command('torch')}") from None

__all__ = ["NetModule"]


class NetModule(torch.nn.Module):
    """A net as a torch.nn.Module, to train in a loop of PyTorch's or to use as a part of another module.

    model: a prototxt with Inputs, or a Net. Inputs come in the order of `net.inputs`, or by name; their shapes may
    change from call to call. A single output is returned as a tensor, several as a dict by name; a loss is returned
    without its loss_weight. train() and eval() set the phase of the layers. What the net contains is decided once, by
    `phase`: the layers of that phase.

    Parameters and running statistics are called LAYER/INDEX ("." in a name becomes "_") and share the memory of the
    net, so that an optimizer of PyTorch's changes the net, and net.save() stores what it learned. Tensors that were
    moved, for instance to a GPU, are copied before each run. Blobs with lr_mult 0 do not require a gradient. The net
    holds one pass: backward through an older one runs it forward once more.

    Raises UsageError for a net with layers that read data, and DragonError for what Net raises.
    """

    def __init__(
        self,
        model: str | Path | pb.NetParameter | Net,
        weights: str | Path | None = None,
        *,
        phase: int = TEST,
        dtype: DTypeLike = np.float32,
        engine: str | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self.net = model if isinstance(model, Net) else _net(model, phase, dtype, engine, seed)
        readers = [node.name for node in self.net.nodes if node.layer.reads_data and not node.layer.is_input]
        if readers:
            raise UsageError(
                f'layer "{readers[0]}" reads data, which a module is given: put an Input in its place, or take the '
                "deploy prototxt"
            )
        if weights is not None:
            self.net.copy_from(weights)
        self._shared: list[tuple[str, Blob]] = []
        self._runs = 0  # forward passes so far
        seen: set[int] = set()
        for node in self.net.nodes:
            for i, blob in enumerate(node.layer.blobs):
                if id(blob.data_storage) not in seen:
                    seen.add(id(blob.data_storage))
                    self._share(f"{node.name}/{i}".replace(".", "_"), blob, _is_learned(node.layer, i))
        self.train(self.net.phase == TRAIN if isinstance(model, Net) else phase == TRAIN)

    def _share(self, name: str, blob: Blob, learned: bool | None) -> None:
        """Register a tensor that has the memory of a blob. learned: None for a running statistic."""
        tensor = torch.from_numpy(blob.data)
        if learned is None:
            self.register_buffer(name, tensor)
        else:
            self.register_parameter(name, torch.nn.Parameter(tensor, requires_grad=learned))
        self._shared.append((name, blob))

    def train(self, mode: bool = True) -> NetModule:
        """Set the phase of the layers: TRAIN, or TEST with False, as eval() does."""
        super().train(mode)
        for node in self.net.nodes:
            node.layer.phase = TRAIN if mode else TEST
        return self

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Run the net. Raises UsageError for missing or unknown inputs, ShapeError for shapes that do not fit."""
        given = self._inputs(inputs, named)
        tensors = [tensor for _, tensor in self._tensors()]
        found = _Run.apply(self, len(given), *given, *tensors)
        return found[0] if len(found) == 1 else dict(zip(self.net.outputs, found, strict=True))

    def _inputs(self, inputs: tuple[Any, ...], named: dict[str, Any]) -> list[Any]:
        names = self.net.inputs
        given = dict(zip(names, inputs, strict=False))
        if len(inputs) > len(names):
            raise UsageError(f"the net has {how_many(len(names), 'input')}, got {how_many(len(inputs), 'tensor')}")
        for name, tensor in named.items():
            if name in given:
                raise UsageError(f'got input "{name}" twice')
            if name not in names:
                raise UsageError(f'the net has no input "{name}"{nearest(name, names)}')
            given[name] = tensor
        missing = [name for name in names if name not in given]
        if missing:
            raise UsageError(f'input "{missing[0]}" is missing: the net has {", ".join(names)}')
        return [given[name] for name in names]

    def _tensors(self) -> Iterator[tuple[Blob, Any]]:
        """The blobs with their parameters and statistics."""
        for name, blob in self._shared:
            yield blob, self._parameters[name] if name in self._parameters else self._buffers[name]

    def _run(self, inputs: Sequence[Any]) -> int:
        """Run the net forward; the number of the pass."""
        self._bring()
        for name, tensor in zip(self.net.inputs, inputs, strict=True):
            blob, shape = self.net.blobs[name], tuple(tensor.shape)
            if blob.shape != shape:
                blob.reshape(*shape)
            blob.data[...] = tensor.detach().cpu().numpy()
        self.net.reshape()
        self.net.run_forward()
        self._take()
        self._runs += 1
        return self._runs

    def _state(self) -> tuple[list[int], list[Any]]:
        """What a forward pass changes besides blobs: draws of the random streams, running statistics."""
        statistics = [np.array(blob.peek()) for name, blob in self._shared if name in self._buffers]
        return [node.layer.rng.draws for node in self.net.nodes], statistics

    def _set_state(self, state: tuple[list[int], list[Any]]) -> None:
        for node, draws in zip(self.net.nodes, state[0], strict=True):
            node.layer.rng.draws = draws
        blobs = [blob for name, blob in self._shared if name in self._buffers]
        for blob, value in zip(blobs, state[1], strict=True):
            blob.data[...] = value
        self._take()

    def _bring(self) -> None:
        """Copy the values of tensors that no longer share the memory of their blobs."""
        for blob, tensor in self._tensors():
            if tensor.data_ptr() != blob.peek().ctypes.data and tensor.numel():
                blob.data[...] = tensor.detach().cpu().numpy()

    def _take(self) -> None:
        """Copy running statistics to buffers that do not share the memory of their blobs."""
        for name, blob in self._shared:
            buffer = self._buffers.get(name)
            if buffer is not None and buffer.data_ptr() != blob.peek().ctypes.data:
                buffer.copy_(torch.from_numpy(np.array(blob.peek())))


class _Run(torch.autograd.Function):
    """One forward pass of a net, and its backward pass."""

    @staticmethod
    def forward(ctx: Any, module: NetModule, count: int, *tensors: Any) -> tuple[Any, ...]:
        net = module.net
        ctx.module, ctx.count, ctx.start = module, count, module._state()
        ctx.save_for_backward(*tensors)
        ctx.run = module._run(tensors[:count])
        like = tensors[0] if tensors else torch.zeros(())
        return tuple(torch.from_numpy(np.array(net.blobs[name].peek())).to(like.device) for name in net.outputs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
        module, net = ctx.module, ctx.module.net
        if ctx.run != module._runs:  # the net holds one pass, and this is no longer it: make it again
            newest = module._state()
            module._set_state(ctx.start)
            ctx.run = module._run(ctx.saved_tensors[: ctx.count])
            module._set_state(newest)
        for name, gradient in zip(net.outputs, gradients, strict=True):
            blob = net.blobs[name]
            blob.diff[...] = 0 if gradient is None else gradient.cpu().numpy()
        net.clear_param_diffs()
        net.run_backward()
        read = {id(b) for n in net.nodes for b, down in zip(n.bottoms, n.propagate_down, strict=False) if down}
        found: list[Any] = []
        for name in net.inputs:
            blob = net.blobs[name]
            found.append(blob.peek_diff() if id(blob) in read else None)
        found += [blob.peek_diff() if tensor.requires_grad else None for blob, tensor in module._tensors()]
        device = gradients[0].device
        return None, None, *(None if d is None else torch.from_numpy(np.array(d)).to(device) for d in found)


def _is_learned(layer: Any, index: int) -> bool | None:
    return None if index in layer.buffers else bool(layer.param_propagate_down[index])


def _net(
    model: str | Path | pb.NetParameter, phase: int, dtype: DTypeLike, engine: str | None, seed: int | None
) -> Net:
    """The net with gradients for its inputs."""
    from dragon.proto.text import read_net_definition

    definition = Definition(model) if isinstance(model, pb.NetParameter) else read_net_definition(model)
    message = pb.NetParameter()
    message.CopyFrom(definition.message)
    message.force_backward = True
    return Net(Definition(message, folder=definition.folder), phase=phase, dtype=dtype, engine=engine, seed=seed)
