"""Forward and backward of nets of the zoo against PyTorch: `python -m benchmarks.zoo_training [--net NAME ...]`.

PyTorch gets the module that `dragon export --torch` writes, as it is and with channels last; the faster of the two
counts. The loss is the sum of all outputs of the deployed net, without its softmax and dropout. Losses and the norms of
all gradients have to agree, or the net is left out with a line. One thread, and its own time, unless asked otherwise:
such ratios are worth something on a busy machine too.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._harness import (
    BenchmarkError,
    Candidate,
    Worker,
    add_peer_options,
    check_clock,
    exit_status,
    interleave,
    machine,
    ratio,
    table,
    thread_settings,
)

__all__ = ["NETS", "main"]

# with the images of a batch
NETS = {
    "lenet": 64, "mnist_autoencoder": 100, "mnist_sigmoid_3x100": 60, "deep_relu": 32, "nin_cifar10": 32,
    "densenet40_cifar10": 16, "mobilenet_cifar10": 32, "dcgan_generator": 32, "dcgan_discriminator": 32, "fsrcnn": 4,
    "caffenet": 8, "googlenet": 4, "squeezenet_v1.0": 4, "squeezenet_v1.1": 4, "mobilenet_v1": 4, "mobilenet_v2": 4,
    "mobilenet_v3": 4, "shufflenet_v1": 4, "shufflenet_v2": 4, "efficientnet_b0": 4, "resnet18": 4, "resnet50": 2,
    "se_resnet50": 2, "densenet121": 2, "crnn": 8, "vdsr": 1,
}  # fmt: skip
_FORMS = {"PyTorch": False, "channels last": True}
_TOLERANCE = 1e-2  # of losses and norms, relative


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; the exit status."""
    options = _parser().parse_args(arguments)
    return exit_status("zoo_training.py", lambda: _run(options), OSError)


def _run(options: argparse.Namespace) -> None:
    check_clock(options.clock, options.threads)
    unknown = [name for name in options.net or () if name not in NETS]
    if unknown:
        raise BenchmarkError(f"unknown net {unknown[0]}; known are {', '.join(NETS)}")
    with Worker("benchmarks.zoo_training_torch", options.peer_python) as peer:
        peer.ask("peak")  # an error here if there is no such interpreter, or no PyTorch
    print(machine())
    rows = []
    for name in options.net or NETS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                rows.append(_measure(name, Path(folder), options))
            except BenchmarkError as error:
                print(f"{name} is left out: {error}", flush=True)
    if not rows:
        raise BenchmarkError("no net was measured")
    print(table(["net", "batch", "Dragon ms", *(f"{name} ms" for name in _FORMS), "best PyTorch / Dragon"], rows))


def _measure(name: str, folder: Path, options: argparse.Namespace) -> list[Any]:
    batch = options.batch or NETS[name]
    env = thread_settings(options.threads)
    with (
        Worker("benchmarks.zoo_training_ours", env=env) as ours,
        Worker("benchmarks.zoo_training_torch", options.peer_python, env) as theirs,
    ):
        ours.ask("write", net=name, batch=batch, folder=str(folder))
        ours.ask("make", candidate="Dragon", folder=str(folder), threads=options.threads)
        expected = ours.ask("answer")
        for form, last in _FORMS.items():
            theirs.ask("make", candidate=form, folder=str(folder), threads=options.threads, channels_last=last)
            for what, mine, other in zip(("losses", "norms of gradients"), expected, theirs.ask("answer"), strict=True):
                if not abs(mine - other) <= _TOLERANCE * max(abs(mine), abs(other)):
                    raise BenchmarkError(f"{what} differ: {mine:g}, {form} {other:g}")
        candidates = [Candidate("Dragon", ours, clock=options.clock)]
        candidates += [Candidate(form, theirs, clock=options.clock) for form in _FORMS]
        series = interleave(candidates, options.rounds, options.block_ms)
    best = min(_FORMS, key=lambda form: series[form].median)
    middle, least = ratio(series[best], series["Dragon"])
    return [name, batch, *(series[each.name].median for each in candidates), f"{middle:.2f} ({least:.2f})"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="zoo_training.py", description=__doc__)
    parser.add_argument("--net", action="append", metavar="NAME", help=f"by default all: {', '.join(NETS)}")
    parser.add_argument("--batch", type=int, metavar="N", help="images, by default as many as suit the net")
    add_peer_options(parser, block_ms=300)
    return parser


if __name__ == "__main__":
    sys.exit(main())
