"""A minute on a GPU: a few training steps in each precision beside NumPy: python -m benchmarks.smoke.

Runs cifar10_quick without and with batch normalisation (split and merged) and a bottleneck block of a ResNet, each in
float32, TF32, bfloat16 and float16, for a few steps with new images in each. Checks that losses and the change of every
learned blob agree with the NumPy engine, and that a whole iteration is one CUDA graph. One line each; exit status 1 if
something is wrong, 2 if nothing could run.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks._harness import BenchmarkError
from benchmarks.cpu_nets import SOLVER, inputs, net_for
from dragon.bases.layer import TRAIN
from dragon.engines import Options, cuda_problem
from dragon.errors import DragonError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.solver.types import get_solver

__all__ = ["BLOCK", "NETS", "PRECISIONS", "Limits", "check", "main"]

STEPS = 6  # as usual, captured, replayed four times
RATE = 0.01  # large enough that the changes stand out from the rounding of the weights
BLOCK = "bottleneck"
NETS = ("cifar10_quick", "cifar10_quick_bn_split", "cifar10_quick_bn_merged", BLOCK)


@dataclass(frozen=True)
class Limits:
    """A precision, and the largest relative errors that its rounding explains: of a loss, of a blob's change."""

    options: Options
    loss: float
    change: float


PRECISIONS = {
    "fp32": Limits(Options(precision="fp32"), 1e-4, 5e-3),
    # cifar10_quick begins with weights of 1e-4, so its gradients are mostly rounding: on the emulation 0.18 in fp16
    "tf32": Limits(Options(precision="fp32", tf32=True), 0.01, 0.3),
    "bf16": Limits(Options(precision="bf16"), 0.04, 0.4),
    "fp16": Limits(Options(precision="fp16"), 0.01, 0.3),
}


@dataclass(frozen=True)
class Run:
    """Losses of the steps, and the change of each learned blob, both of one engine."""

    losses: list[float]
    changes: dict[str, np.ndarray[Any, Any]]
    remarks: list[str]


def train(param: pb.NetParameter, engine: str, options: Options | None = None, dtype: Any = np.float32) -> Run:
    """Train `param` for STEPS steps on random images that differ from step to step."""
    solver = get_solver(
        pb.SolverParameter(net_param=param, **{**SOLVER, "base_lr": RATE}),
        engine=engine,
        options=options,
        seed=1,
        dtype=dtype,
    )
    net = solver.net
    try:
        images, labels = inputs("cifar10_quick", net.blobs["data"].shape)
        blobs = {
            f"{name}[{i}]": blob
            for name, layer in zip(net.layer_names, net.layers, strict=True)
            for i, blob in enumerate(layer.blobs)
            if i not in layer.buffers
        }
        before = {name: blob.peek().astype(np.float64) for name, blob in blobs.items()}
        losses = []
        for step in range(STEPS):
            net.blobs["data"].data[...] = np.roll(images, step, axis=-1)
            net.blobs["label"].data[...] = labels
            solver.step(1)
            losses.append(float(net.blobs["loss"].peek().item()))
        changes = {name: blob.peek().astype(np.float64) - before[name] for name, blob in blobs.items()}
        return Run(losses, changes, net.executor.remarks())
    finally:
        solver.close()


def errors(ours: Run, expected: Run) -> tuple[float, float, str]:
    """The largest error of a loss over the first one, and the largest relative error of a blob's change with its name.

    A change is compared with the blob's own and a hundredth of the net's, since a bias before a batch normalisation
    changes by rounding alone.
    """
    loss = max(abs(a - b) / abs(expected.losses[0]) for a, b in zip(ours.losses, expected.losses, strict=True))
    whole = float(np.sqrt(sum(np.square(change).sum() for change in expected.changes.values())))
    found = {
        name: float(np.linalg.norm(ours.changes[name] - change) / (np.linalg.norm(change) + 0.01 * whole))
        for name, change in expected.changes.items()
    }
    worst = max(found, key=lambda name: (not np.isfinite(found[name]), found[name]))  # NaN is the worst of all
    return loss, found[worst], worst


def check(net: str, expected: Run, precision: str, batch: int, engine: str = "cuda") -> tuple[bool, str]:
    """Whether a net is right in a precision, and a line about it."""
    limits, begin = PRECISIONS[precision], time.perf_counter()
    try:
        ours = train(definition(net, batch), engine, limits.options)
    except (DragonError, RuntimeError, MemoryError) as error:
        why = " ".join((str(error) or repr(error)).split())
        return False, f"WRONG: {net}, {precision}: does not run: {why}"
    loss, change, worst = errors(ours, expected)
    faults = []
    if not loss <= limits.loss:
        faults.append("losses differ")
    if not change <= limits.change:
        faults.append("gradients differ")
    whole = next((r for r in ours.remarks if r.startswith("whole iteration: ")), "there is no graph of an iteration")
    if whole != "whole iteration: graph":
        faults.append(whole)
    measured = (
        f"loss off by {loss:.1e} (limit {limits.loss:g}), {worst} by {change:.1e} (limit {limits.change:g}), "
        f"{time.perf_counter() - begin:.1f} s"
    )
    return not faults, f"{'WRONG' if faults else 'right'}: {net}, {precision}: {'; '.join([*faults, measured])}"


def definition(net: str, batch: int) -> pb.NetParameter:
    """A net of the zoo with Input layers, or the block."""
    if net != BLOCK:
        return net_for(net, batch, TRAIN)
    return parse_text(_BLOCK.replace("BATCH", str(batch)), pb.NetParameter(name=BLOCK))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.smoke", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--net", action="append", choices=NETS, help="only these; may be repeated")
    parser.add_argument("--precision", action="append", choices=list(PRECISIONS), help="only these; may be repeated")
    args = parser.parse_args(arguments)
    problem = cuda_problem()
    if problem:
        print(f"nothing ran: {problem}", flush=True)
        return 2
    passed = True
    for net in args.net or NETS:
        try:
            expected = train(definition(net, args.batch), "numpy", dtype=np.float64)
        except (BenchmarkError, DragonError) as error:
            print(f"WRONG: {net}: NumPy does not run it: {error}", flush=True)
            passed = False
            continue
        for precision in args.precision or PRECISIONS:
            right, line = check(net, expected, precision, args.batch)
            print(line, flush=True)
            passed = passed and right
    return 0 if passed else 1


def _convolution(name: str, bottom: str, out: int, kernel: int = 1, stride: int = 1, relu: bool = True) -> str:
    text = (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" convolution_param {{ '
        f"num_output: {out} kernel_size: {kernel} pad: {kernel // 2} stride: {stride} bias_term: false "
        'weight_filler { type: "msra" } } }\n'
        f'layer {{ name: "bn_{name}" type: "BN" bottom: "{name}" top: "bn_{name}" }}\n'
    )
    if relu:
        text += f'layer {{ name: "relu_{name}" type: "ReLU" bottom: "bn_{name}" top: "bn_{name}" }}\n'
    return text


def _sum(name: str, bottoms: Sequence[str]) -> str:
    listed = " ".join(f'bottom: "{bottom}"' for bottom in bottoms)
    return (
        f'layer {{ name: "{name}" type: "Eltwise" {listed} top: "{name}" }}\n'
        f'layer {{ name: "relu_{name}" type: "ReLU" bottom: "{name}" top: "{name}" }}\n'
    )


# a bottleneck with a projection and one without, as in ResNet-50, at a tenth of its size
_BLOCK = (
    'layer { name: "data" type: "Input" top: "data" top: "label" input_param {'
    " shape { dim: BATCH dim: 3 dim: 16 dim: 16 } shape { dim: BATCH } } }\n"
    + _convolution("conv1", "data", 16, 3)
    + _convolution("a1", "bn_conv1", 8)
    + _convolution("a2", "bn_a1", 8, 3, 2)
    + _convolution("a3", "bn_a2", 32, relu=False)
    + _convolution("shortcut", "bn_conv1", 32, 1, 2, relu=False)
    + _sum("a", ["bn_a3", "bn_shortcut"])
    + _convolution("b1", "a", 8)
    + _convolution("b2", "bn_b1", 8, 3)
    + _convolution("b3", "bn_b2", 32, relu=False)
    + _sum("b", ["bn_b3", "a"])
    + 'layer { name: "pool" type: "Pooling" bottom: "b" top: "pool" pooling_param {'
    " pool: AVE global_pooling: true } }\n"
    'layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" inner_product_param { num_output: 10'
    ' weight_filler { type: "xavier" } } }\n'
    'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }\n'
)


if __name__ == "__main__":
    sys.exit(main())
