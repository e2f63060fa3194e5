"""Nets on the emulated GPU beside the same nets on NumPy."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf import text_format
from numpy.typing import DTypeLike

from dragon.bases.layer import TRAIN
from dragon.engines import Options
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb

Arrays = Mapping[str, np.ndarray[Any, Any]]


def parse(text: str) -> pb.NetParameter:
    param = pb.NetParameter()
    param.CopyFrom(_parsed(text))
    return param


@functools.lru_cache(128)  # a test makes the same net on several engines, and for several values
def _parsed(text: str) -> pb.NetParameter:
    return text_format.Parse(text, pb.NetParameter())


def inputs(shapes: Mapping[str, Sequence[int]]) -> str:
    """Input layers as prototxt."""
    return "".join(
        f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ '
        + " ".join(f"dim: {d}" for d in shape)
        + " } } }\n"
        for name, shape in shapes.items()
    )


def layer(kind: str, settings: str = "", bottom: str = "x", top: str = "y", name: str = "one") -> str:
    """One layer as prototxt."""
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{top}" {settings} }}\n'


def by_kernels(net: Net, *names: str) -> None:
    """These layers ran by kernels of ours, and a graph was captured."""
    notes = dict(zip(net.layer_names, net.executor.describe(), strict=True))
    for name in names:
        assert notes[name].startswith(("kernels", "in ")), notes
    assert any("graph" in note for note in net.executor.remarks())


def make(
    text: str, engine: str, phase: int = TRAIN, dtype: DTypeLike = np.float32, fuse: bool = True, seed: int = 5
) -> Net:
    return Net(parse(text), phase, engine=engine, dtype=dtype, seed=seed, options=Options(fuse=fuse))


def options_for(precision: str, **more: Any) -> Options:
    """The options of a precision, with "tf32" as one of them."""
    return Options(tf32=True, **more) if precision == "tf32" else Options(precision=precision, **more)


def fill(net: Net, values: Arrays) -> None:
    for name, value in values.items():
        net.blobs[name].reshape(value.shape)
        net.blobs[name].data[...] = value


def copy_weights(source: Net, target: Net) -> None:
    """Give the layers of a net the blobs of another one's."""
    for one, other in zip(source.layers, target.layers, strict=True):
        for a, b in zip(one.blobs, other.blobs, strict=True):
            b.data[...] = a.data


def close(what: str, ours: Any, expected: Any, tolerance: float) -> None:
    """Largest difference, over the largest value."""
    assert ours.shape == expected.shape, what
    if not expected.size:
        return
    error = np.abs(ours.astype(np.float64) - expected).max() / max(1e-2, float(np.abs(expected).max()))
    assert np.isfinite(ours).all(), what
    assert error <= tolerance, f"{what}: off by {error:.3g}"


def same(
    text: str,
    values: Arrays,
    *,
    phase: int = TRAIN,
    dtype: DTypeLike = np.float32,
    passes: int = 3,
    fuse: bool = True,
    tolerance: float = 2e-5,
    compare_diffs: bool = True,
    force: bool = True,
) -> Net:
    """Run the net both ways on both engines, `passes` times, and compare every blob; the net on the GPU.

    Three passes: as it is, the one that is captured, the replay. force: gradients of everything are computed.
    """
    text = f"force_backward: {str(force).lower()}\n{text}"
    nets = [make(text, engine, phase, dtype, fuse) for engine in ("numpy", "cuda")]
    copy_weights(*nets)
    random = np.random.default_rng(1)
    for number in range(passes):
        diffs: dict[str, Any] = {}
        losses = []
        for net in nets:
            fill(net, values)
            net.clear_param_diffs()
            losses.append(net.run_forward())
            for name in net.outputs:
                layer = next(i for i in range(len(net.layers)) if name in net.top_names_of(i))
                if any(net.layers[layer].loss_weights):
                    continue
                blob = net.blobs[name]
                diffs.setdefault(name, random.standard_normal(blob.shape))
                blob.diff[...] = diffs[name]
            net.run_backward()
        assert abs(losses[0] - losses[1]) <= tolerance * max(1, abs(losses[0]))
        compare(nets[1], nets[0], f"pass {number}", tolerance, compare_diffs)
    return nets[1]


def compare(ours: Net, expected: Net, when: str, tolerance: float, diffs: bool = True) -> None:
    """Every blob's data, the inputs' diffs (with `diffs`, all) and the layers' blobs."""
    for name, blob in expected.blobs.items():
        close(f"{when}: {name}", ours.blobs[name].peek(), blob.peek(), tolerance)
        if name in expected.inputs or diffs:
            close(f"{when}: diff of {name}", ours.blobs[name].peek_diff(), blob.peek_diff(), tolerance)
    for a, b in zip(ours.layers, expected.layers, strict=True):
        for j, (x, y) in enumerate(zip(a.blobs, b.blobs, strict=True)):
            close(f"{when}: blob {j} of {a.name}", x.peek(), y.peek(), tolerance)
            close(f"{when}: diff of blob {j} of {a.name}", x.peek_diff(), y.peek_diff(), tolerance)
