"""Flags for engine and precision, shared by the commands that run a net."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from dragon.counting import how_many
from dragon.engines import ENGINES, Options, cuda_problem, default_engine, gpu_count
from dragon.errors import EngineError
from dragon.proto import dragon_pb2 as pb
from dragon.tools.common.logs import log
from dragon.tools.common.numbers import Count

__all__ = ["EngineChoice", "engine_option", "engine_options", "gpu_numbers", "named_gpus"]

PRECISIONS = {"fp32": pb.SolverParameter.FP32, "bf16": pb.SolverParameter.BF16, "fp16": pb.SolverParameter.FP16}
IN_TEST = "int8"  # in which nothing is trained

engine_option = click.option(
    "--engine",
    type=click.Choice(ENGINES),
    help="How nets are run; auto takes the fastest on the CPU, cuda a GPU.",
)


def _warn_of_shared_cores(threads: int) -> None:
    from dragon.compare.machine import usable_cores  # loads oneDNN's engine: a command without --threads need not

    if threads > (cores := usable_cores()):
        where = how_many(cores, "usable core")
        log.warning("--threads %d on %s: threads that share a core can be many times slower", threads, where)


@dataclass
class EngineChoice:
    """Values of the flags; `resolve` converts them to arguments of a net."""

    engine: str | None = None
    precision: str | None = None
    calibration: str | None = None
    fuse: bool = True
    winograd: bool = True
    threads: int | None = None
    gpu: str | None = None
    tf32: bool = False
    timed_plans: bool = True
    channels_last: bool = True

    def resolve(self, solver: pb.SolverParameter | None = None) -> tuple[str | None, Options]:
        """The name of the engine (None: the default) and its options; flags override settings of the solver.

        Raises EngineError for --gpu without a GPU, UsageError for contradictory flags.
        """
        options = Options(
            precision=self.precision or "fp32",
            calibration=self.calibration,
            fuse=self.fuse,
            winograd=self.winograd,
            threads=self.threads,
            tf32=self.tf32,
            timed_plans=self.timed_plans,
            channels_last=self.channels_last,
        )
        if self.threads is not None:
            _warn_of_shared_cores(self.threads)
        if solver is not None and self.precision is None:
            options.precision = pb.SolverParameter.Precision.Name(solver.precision).lower()
        if self.gpu is not None:
            options.device = _device(self.gpu)
            if self.engine not in (None, "auto", "cuda"):
                raise click.UsageError(f"--gpu {self.gpu} and --engine {self.engine} contradict each other")
            problem = cuda_problem()
            if problem:
                raise EngineError(f"--gpu {self.gpu}: {problem}; leave out --gpu to run on the CPU")
            return "cuda", options
        if self.engine is not None:
            return self.engine, options
        if solver is None or solver.engine:
            return (solver.engine if solver is not None else None), options
        if solver.solver_mode == pb.SolverParameter.GPU and default_engine() == "auto":
            problem = cuda_problem()
            if problem is None:
                options.device = solver.device_id
                return "cuda", options
            log.warning("solver_mode is GPU, but %s: the CPU is used", problem)
        return None, options


def gpu_numbers(text: str) -> list[int]:
    """The numbers in the value of --gpu, such as "0" or "0,1". Raises UsageError for other text."""
    parts = text.split(",")
    if not all(part.isascii() and part.isdecimal() and len(part) < 6 for part in parts):
        raise click.UsageError(f'--gpu takes the number of a GPU, got "{text}"')
    return [int(part) for part in parts]


def named_gpus(text: str) -> list[int]:
    """The GPUs of a machine that --gpu names, "all" those that it has. Raises UsageError, EngineError without one."""
    return list(range(gpu_count())) if text == "all" else gpu_numbers(text)


def _device(text: str) -> int:
    """The number of the GPU to run on. Raises UsageError unless there is exactly one."""
    numbers = [] if text == "all" else gpu_numbers(text)
    if len(numbers) != 1:
        raise click.UsageError(f"--gpu {text}: a net runs on one GPU, name it by its number")
    return numbers[0]


tf32_option = click.option(
    "--tf32", is_flag=True, help="On a GPU, multiply matrices in TF32: faster, with 10 bits of mantissa."
)


def engine_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: add the flags and hand them to the command as `choice`, an EngineChoice."""

    @engine_option
    @click.option(
        "--precision",
        type=click.Choice([*PRECISIONS, IN_TEST]),
        help="Of activations and products; fp32 by default. fp16 needs a GPU; int8 a CPU and --calibration, in TEST.",
    )
    @click.option(
        "--calibration",
        type=click.Path(dir_okay=False),
        metavar="FILE",
        help="Of --precision int8: the ranges of activations, which `dragon calibrate` has measured.",
    )
    @click.option("--no-fuse", is_flag=True, help="Run every layer by itself.")
    @click.option(
        "--no-winograd", is_flag=True, help="Convolve by the direct sum only: slower on a CPU, a little more exact."
    )
    @click.option("--threads", type=Count(1), help="At most this many; all cores by default.")
    @tf32_option
    @click.option(
        "--no-channels-last",
        is_flag=True,
        help="On a GPU, keep blobs in Caffe's order, (N, C, H, W), in 16 bits and with --tf32 too.",
    )
    @click.option(
        "--no-timed-plans",
        is_flag=True,
        help="On a GPU, convolve as cuDNN's heuristics say: the same bits in each process.",
    )
    @click.option("--gpu", metavar="N", help="Run on GPU N; an error where there is none.")
    @functools.wraps(function)
    def wrapper(
        *args: Any,
        engine: str | None,
        precision: str | None,
        calibration: str | None,
        no_fuse: bool,
        no_winograd: bool,
        threads: int | None,
        gpu: str | None,
        tf32: bool,
        no_timed_plans: bool,
        no_channels_last: bool,
        **kwargs: Any,
    ) -> Any:
        choice = EngineChoice(
            engine,
            precision,
            calibration,
            not no_fuse,
            not no_winograd,
            threads,
            gpu,
            tf32,
            not no_timed_plans,
            not no_channels_last,
        )
        return function(*args, choice=choice, **kwargs)

    return wrapper
