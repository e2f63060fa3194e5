"""Updates of all weights of a net by each rule against PyTorch's optimisers: `python -m benchmarks.updates [--rule R]`.

Weights and gradients are equal at first, and the weights after one step have to agree. PyTorch's forms: as it is, with
all tensors at once (foreach), and fused, where the optimiser has that. The last columns compare with the default form
and with the fastest one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
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

__all__ = ["NETS", "RULES", "main"]

NETS = ("caffenet", "resnet50", "lenet")
RULES = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam", "AdamW")
_FORMS = ("default", "foreach", "fused")
_TOLERANCE = 1e-4


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; the exit status."""
    options = _parser().parse_args(arguments)
    return exit_status("updates.py", lambda: _run(options), OSError)


def _run(options: argparse.Namespace) -> None:
    check_clock(options.clock, options.threads)
    print(machine())
    rows = [_measure(net, rule, options) for net in options.net or NETS for rule in options.rule or RULES]
    print(
        table(
            ["net", "rule", "Dragon ms", *(f"{form} ms" for form in _FORMS), "default / Dragon", "best / Dragon"], rows
        )
    )


def _measure(net: str, rule: str, options: argparse.Namespace) -> list[Any]:
    env = thread_settings(options.threads)
    with (
        Worker("benchmarks.updates_ours", env=env) as ours,
        Worker("benchmarks.updates_torch", options.peer_python, env) as theirs,
    ):
        shapes = ours.ask("shapes", net=net)
        ours.ask("make", candidate="Dragon", shapes=shapes, rule=rule, threads=options.threads)
        expected = ours.ask("answer")
        candidates = [Candidate("Dragon", ours, clock=options.clock)]
        for form in theirs.ask("forms", rule=rule):
            theirs.ask("make", candidate=form, shapes=shapes, rule=rule, threads=options.threads, form=form)
            if max(abs(a - b) for a, b in zip(expected, theirs.ask("answer"), strict=True)) > _TOLERANCE:
                raise BenchmarkError(f"{net}, {rule}: weights after a step differ from those of PyTorch, {form}")
            candidates.append(Candidate(form, theirs, clock=options.clock))
        series = interleave(candidates, options.rounds, options.block_ms)
    best = min((one.name for one in candidates[1:]), key=lambda form: series[form].median)
    times = [series[form].median if form in series else "" for form in ("Dragon", *_FORMS)]
    ratios = [ratio(series[form], series["Dragon"]) for form in (_FORMS[0], best)]
    return [net, rule, *times, *(f"{middle:.2f} ({least:.2f})" for middle, least in ratios)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="updates.py", description=__doc__)
    parser.add_argument("--net", action="append", choices=NETS, help="whose weights; by default all")
    parser.add_argument("--rule", action="append", choices=RULES, help="by default all")
    add_peer_options(parser, block_ms=200)
    return parser


if __name__ == "__main__":
    sys.exit(main())
