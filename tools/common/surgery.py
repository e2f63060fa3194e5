"""Flags and reports shared by merge, split and fold: files, and the proof that both nets compute the same."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from dragon.bases.layer import TEST, TRAIN
from dragon.counting import how_many
from dragon.errors import NumericError, UsageError
from dragon.models import zoo
from dragon.proto.assign import Assignment
from dragon.surgery.builds import check_builds, prove_others
from dragon.surgery.model import Model, read_model, write_model
from dragon.surgery.prove import check_runs, prove
from dragon.tools.common.json_output import json_option
from dragon.tools.common.logs import warnings_once
from dragon.tools.common.models import TRAIN_VAL, WEIGHTS, WeightsOption
from dragon.tools.common.numbers import Count, input_shape
from dragon.tools.common.outputs import check_outputs
from dragon.tools.common.profile import profile_option
from dragon.tools.common.progress import progress_bar
from dragon.tools.common.python_layers import allow_python
from dragon.tools.common.set_option import set_net_option
from dragon.tools.common.state_options import state_options

__all__ = ["SurgeryChoice", "surgery_options"]

_PHASES = {TEST: "TEST", TRAIN: "TRAIN"}


@dataclass
class SurgeryChoice:
    """Values of the flags."""

    model: str
    weights: str | None
    out_model: str | None
    out_weights: str | None
    shape: tuple[int, ...] | None
    batches: int
    profile: str | None
    level: int
    stages: list[str]
    assignments: tuple[Assignment, ...] = ()

    def read(self) -> Model:
        """The net with its weights. Raises DragonError."""
        return read_model(self.model, self.weights, self.profile, self.assignments, self.level, self.stages)

    def _run_new(self, old: Model, new: Model, batches: int) -> list[str]:
        """Run the new net, and return its phases. Raises DragonError, which says where the old one failed alike."""
        with progress_bar() as progress:
            try:
                return check_runs(new, batches, self.shape, progress)
            except NumericError as error:
                try:
                    check_runs(old, batches, self.shape, progress)
                except NumericError as before:
                    error.hint = f"in the net as it was, {before.message}"
                raise

    def finish(
        self,
        old: Model,
        new: Model,
        phases: tuple[int, ...],
        runs: bool = False,
        trains: bool = False,
        differs: str = "",
    ) -> dict[str, Any]:
        """Prove the models equal, then write the new one; it must build wherever the old one does.

        runs: without weights, run the new one. trains: with weights, run it in TRAIN too. differs: why they are not
        equal; then the new one is run as well.
        Returns the document of --json: the proof, None where nothing was proved, and the files that were written.
        """
        proof: dict[str, Any] | None = None
        check_builds(old, new)
        if differs or (runs and not old.arrays):
            found_phases = self._run_new(old, new, self.batches)
            why = differs or "without weights there is nothing to compare"
            click.echo(f"runs in {' and '.join(found_phases)}, forward and backward; not proved equal: {why}")
        elif old.arrays:
            if trains:
                self._run_new(old, new, 1)
            warnings: list[str] = []
            with progress_bar() as progress:
                found = prove(old, new, phases, self.batches, self.shape, progress=progress, note=warnings.append)
                others = prove_others(old, new, phases, self.batches, self.shape, progress, warnings.append)
            for line in warnings:
                click.echo(f"{self.model}: {line}")
            worst = max(found, key=lambda d: d.relative)
            names = {d.blob for d in found}
            proof = {"phases": [_PHASES[p] for p in phases], "blobs": len(names), "worst": worst}
            what = " and ".join(_PHASES[p] for p in phases)
            click.echo(
                f"proved: {how_many(len(names), 'blob')} {'agrees' if len(names) == 1 else 'agree'} in {what}; "
                f"the largest difference is {worst.difference:.2g}"
                f' of {worst.largest:.3g}, in "{worst.blob}"'
            )
            if others:
                click.echo(f"proved too: {'; '.join(others)}")
        else:
            click.echo("not proved: without weights there is nothing to run")
        if self.out_model and new.source is not None and not new.text()[1]:
            click.echo(
                f"{self.model}: its text is of an older form: {self.out_model} is written anew, without comments"
            )
        if old.dialect:
            click.echo(f"{self.model}: its layers of profile {old.dialect} become layers of today")
        write_model(new, self.out_model, self.out_weights)
        for path in (self.out_model, self.out_weights):
            if path:
                click.echo(f"written: {path}")
        if old.arrays and not self.out_weights:
            click.echo("the new weights are not written: give --out-weights for a file that fits the new net")
        return {"proof": proof, "written": [path for path in (self.out_model, self.out_weights) if path]}


def surgery_options(needs_weights: bool, changes: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: add the flags and hand them to the command as `files`, a SurgeryChoice.

    changes: add `--set`, by which the net is changed before the command works on it and is written so.
    """
    set_option: Callable[[Callable[..., Any]], Callable[..., Any]] = set_net_option if changes else _no_option

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @click.option(
            "--model",
            type=TRAIN_VAL,
            required=True,
            metavar="FILE|NAME",
            help="The net's prototxt, or a net of the zoo.",
        )
        @click.option(
            "--weights",
            type=WEIGHTS,
            cls=WeightsOption if needs_weights else click.Option,
            required=needs_weights,
            metavar="FILE,...",
            help="Its .caffemodel, HDF5 or .safetensors files; those of the zoo by default, where they are needed.",
        )
        @click.option("--out-model", metavar="FILE", help="Write the new prototxt here.")
        @click.option(
            "--out-weights", metavar="FILE", help="Write the new .caffemodel, HDF5 or .safetensors file here."
        )
        @click.option("--shape", metavar="N,C,H,W", help="Prove on noise of this shape instead of the net's own data.")
        @click.option("--batches", type=Count(1), default=2, show_default=True, help="Batches of the proof.")
        @state_options()
        @set_option
        @profile_option
        @allow_python
        @json_option
        @functools.wraps(function)
        def wrapper(
            *args: Any,
            model: str,
            weights: str | None,
            out_model: str | None,
            out_weights: str | None,
            shape: str | None,
            batches: int,
            profile: str | None,
            level: int,
            stages: list[str],
            assignments: tuple[Assignment, ...] = (),
            **more: Any,
        ) -> Any:
            if out_weights and not weights:
                weights = _weights_of_the_zoo(model)
            if not (out_model or out_weights):
                raise UsageError("nothing to write: give --out-model, --out-weights or both")
            inputs = [model, *(weights or "").split(",")]
            check_outputs(inputs, {"--out-model": out_model, "--out-weights": out_weights})
            noise = input_shape(shape, least=2)
            files = SurgeryChoice(
                model, weights, out_model, out_weights, noise, batches, profile, level, stages, assignments
            )
            with warnings_once():
                return function(*args, files=files, **more)

        return wrapper

    return decorate


def _weights_of_the_zoo(model: str) -> str:
    name = zoo.name_of(model)
    if name is None:
        raise UsageError("--out-weights needs --weights")
    return str(zoo.require_weights(name))


def _no_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return function
