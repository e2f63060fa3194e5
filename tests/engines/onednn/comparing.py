"""Run one net on oneDNN in float32 and on the reference in float64, and compare every blob."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import dragon
from dragon.engines import Options
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text

Array = NDArray[Any]


def make_net(text: str, engine: str, phase: int = dragon.TRAIN, dtype: Any = np.float32, **options: Any) -> dragon.Net:
    """A net from its prototxt; `options` are those of the engine."""
    param = pb.NetParameter()
    parse_text(text, param)
    return dragon.Net(param, phase, engine=engine, dtype=dtype, seed=3, options=Options(threads=1, **options))


def on_both(text: str, phase: int = dragon.TEST, normalisation: str = "") -> tuple[dragon.Net, dragon.Net]:
    """A net on oneDNN and on the reference, both in float32. normalisation: a BatchNorm that gets statistics."""
    made = parse_text(text, pb.NetParameter())
    ours, theirs = (dragon.Net(made, phase=phase, engine=engine, seed=5) for engine in ("onednn", "numpy"))
    for net in (ours, theirs) if normalisation else ():
        for blob, value in zip(net.params[normalisation], (0.5, 0.1, 1), strict=True):
            blob.data[...] = value
    return ours, theirs


def forward(nets: Iterable[dragon.Net], x: Array) -> None:
    """Run the nets with the input "x"; it may make NaN and infinities."""
    for net in nets:
        net.blobs["x"].data[...] = x
        with np.errstate(all="ignore"):
            net.forward()


def inputs(*shapes: tuple[int, ...], force: bool = True) -> str:
    """Head of a net with inputs x0, x1, ...; gradients go down to them."""
    text = "force_backward: true\n" if force else ""
    for i, shape in enumerate(shapes):
        dims = " ".join(f"dim: {dim}" for dim in shape)
        text += f'layer {{ name: "x{i}" type: "Input" top: "x{i}" input_param {{ shape {{ {dims} }} }} }}\n'
    return text


def conv(top: str, bottom: str, outputs: int) -> str:
    """A convolution, named after its top, that keeps the size."""
    settings = f"convolution_param {{ num_output: {outputs} kernel_size: 3 pad: 1 }}"
    return f'layer {{ name: "{top}" type: "Convolution" bottom: "{bottom}" top: "{top}" {settings} }}\n'


def notes(net: dragon.Net) -> dict[str, str]:
    """Where each layer runs."""
    return dict(zip(net.layer_names, net.executor.describe(), strict=True))


def fill(nets: tuple[dragon.Net, ...], seed: int, values: Mapping[str, Array] | None = None) -> None:
    """The same inputs, parameters and gradients of outputs for all nets: odd multiples of 2^-11: exact, never 0."""
    rng = np.random.default_rng(seed)

    def draw(shape: tuple[int, ...]) -> Array:
        return np.asarray((np.round(rng.standard_normal(shape) * 1024) + 0.5) / 1024)

    first = nets[0]
    for name in first.inputs:
        value = (values or {}).get(name)
        put([net.blobs[name] for net in nets], draw(first.blobs[name].shape) if value is None else value)
    for name, blobs in first.params.items():
        for i, blob in enumerate(blobs):
            value = draw(blob.shape)
            if blob.ndim > 1:
                value = (value * np.sqrt(blob.shape[0] / blob.count)).astype(np.float32)
            layer = first.layers[first.layer_index(name)]
            if i in layer.buffers:
                value = np.abs(value) + 0.5
            put([net.params[name][i] for net in nets], value)


def put(blobs: list[Any], value: Array) -> None:
    for blob in blobs:
        blob.data[...] = value


def set_output_diffs(nets: tuple[dragon.Net, ...], seed: int) -> None:
    """Random gradients for outputs that are no loss."""
    rng = np.random.default_rng((seed, 1))  # not the numbers of the inputs
    first = nets[0]
    losses = {
        name
        for i, layer in enumerate(first.layers)
        for name, weight in zip(first.top_names_of(i), layer.loss_weights, strict=True)
        if weight
    }
    for name in first.outputs:
        if name not in losses:
            value = np.round(rng.standard_normal(first.blobs[name].shape) * 64) / 64
            for net in nets:
                net.blobs[name].diff[...] = value


def clear(nets: tuple[dragon.Net, ...]) -> None:
    for net in nets:
        net.clear_param_diffs()


LEAST = 1e-2  # of smaller values the difference itself counts


def compare(
    reference: dragon.Net,
    other: dragon.Net,
    tolerance: float,
    diffs: bool = True,
    least_diff: float = LEAST,
    least_sum: float = LEAST,
) -> None:
    """All blobs and parameters, with their diffs, in relation to the largest value of each.

    least_diff, least_sum: smaller diffs of blobs, and of parameters, which are sums, count by themselves.
    """
    for name, blob in reference.blobs.items():
        close(other.blobs[name].peek(), blob.peek(), tolerance, f"data of {name}")
        if diffs:
            close(other.blobs[name].peek_diff(), blob.peek_diff(), tolerance, f"diff of {name}", least_diff)
    for name, blobs in reference.params.items():
        for i, blob in enumerate(blobs):
            what = f"blob {i} of {name}"
            close(other.params[name][i].peek(), blob.peek(), tolerance, what)
            if diffs:
                mine = other.params[name][i].peek_diff()
                close(mine, blob.peek_diff(), tolerance, f"diff of {what}", least_sum)


def close(actual: Array, expected: Array, tolerance: float, what: str, least: float = LEAST) -> None:
    assert actual.shape == expected.shape, f"{what}: {actual.shape}, expected {expected.shape}"
    if not expected.size:
        return
    assert np.isfinite(actual).all(), f"{what}: not finite"
    error = np.abs(actual - expected).max() / max(least, float(np.abs(expected).max()))
    assert error <= tolerance, f"{what}: off by {error:g}"


def agree(
    text: str,
    *,
    phase: int = dragon.TRAIN,
    values: Mapping[str, Array] | None = None,
    tolerance: float = 2e-5,
    seed: int = 0,
    backward: bool = True,
    passes: int = 1,
    **options: Any,
) -> dragon.Net:
    """Forward and backward of both; the net on oneDNN."""
    nets = make_net(text, "numpy", phase, np.float64), make_net(text, "onednn", phase, **options)
    for n in range(passes):
        fill(nets, seed + n, values)
        losses = [net.run_forward() for net in nets]
        assert abs(losses[1] - losses[0]) <= tolerance * max(1, abs(losses[0]))
        compare(*nets, tolerance, diffs=False)
        if backward:
            set_output_diffs(nets, seed + n)
            clear(nets)
            for net in nets:
                net.run_backward()
            compare(*nets, tolerance)
    return nets[1]


def agree_after_changes(text: str, layer: str, tolerance: float, **options: Any) -> None:
    """Data and weights that a script changes between forward and backward count in the gradients of `layer` and x0.

    tolerance: of the gradients of the layer's blobs, relative to the largest; that of x0 has 2e-5.
    """
    nets = make_net(text, "numpy", dtype=np.float64), make_net(text, "onednn", **options)
    fill(nets, 0)
    for net in nets:
        net.run_forward()
    set_output_diffs(nets, 0)
    for net in nets:
        net.blobs["x0"].data[...] *= 3
        net.params[layer][0].data[...] *= 2
        net.run_backward()
    for mine, right in zip(nets[1].params[layer], nets[0].params[layer], strict=True):
        np.testing.assert_allclose(mine.diff, right.diff, atol=tolerance * np.abs(right.diff).max())
    right_diff = nets[0].blobs["x0"].diff
    np.testing.assert_allclose(nets[1].blobs["x0"].diff, right_diff, atol=2e-5 * np.abs(right_diff).max())
