"""Nets of the catalogue with random weights, and their modules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from dragon.export.torch.module import Exported
from dragon.graph.net import Net
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text

__all__ = ["learned_gradients", "make_net", "run_source"]


def make_net(text: str, phase: int, seed: int = 1) -> Net:
    """The float64 reference of a net, with random values where its fillers put zeros."""
    net = Net(parse_text(text, pb.NetParameter()), phase=phase, dtype=np.float64, engine="numpy", seed=3)
    rng = np.random.default_rng(seed)
    for node in net.nodes:
        for i, blob in enumerate(node.layer.blobs):
            if i in node.layer.buffers:
                blob.data[...] = rng.uniform(0.5, 1.5, blob.shape)
            elif not blob.peek().any():
                blob.data[...] = rng.normal(size=blob.shape)
    return net


def run_source(exported: Exported) -> Any:
    """A module of the exported source, in float64, with the values of the net."""
    import torch

    names: dict[str, Any] = {"__name__": "exported", "__file__": "exported.py"}
    exec(compile(exported.source, "exported.py", "exec"), names)
    made = [v for v in names.values() if isinstance(v, type) and v.__module__ == "exported"]
    module = made[-1]().double()  # the class of the net is the last one
    state = {key: torch.from_numpy(np.array(value, np.float64)) for key, value in exported.state().items()}
    module.load_state_dict(state)
    return module


def learned_gradients(module: Any, exported: Exported) -> Iterator[tuple[str, Array, Array]]:
    """Of each parameter with a gradient its key, the module's gradient and that of the net's blob, both flat."""
    learned = dict(module.named_parameters())
    for layer, entry in exported.entries:
        for key in entry.keys:
            if key in learned and learned[key].grad is not None:
                (index,) = entry.indices
                gradient = entry.to_blobs({key: learned[key].grad.numpy()})[index]
                yield key, gradient.reshape(-1), layer.blobs[index].peek_diff().reshape(-1)
