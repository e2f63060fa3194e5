"""Kinds of text files: comparisons in YAML, metrics.jsonl, dataset.json, logs."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

from dragon.compare.plan import make_plan
from dragon.compare.probing import check_probes
from dragon.compare.questions import check_questions
from dragon.compare.reading import read_experiment
from dragon.data import dataset_label, write_synthetic
from dragon.files.caffe_log import write_tables
from dragon.tools.common.run_log import read_run
from tests.fuzz.kinds import Example, kind, survives
from tests.fuzz.mutate import damage, damage_text

_EVERYTHING = (Path(__file__).parents[2] / "docs" / "experiment.yaml").read_text(encoding="utf-8")
_YAML = """
name: &n Merged against split
description: |
  two lines
  of text
solver: solver.prototxt
seeds: [1, 2, 3]
learning_rates: [0.001, 1e-2]
iterations: 5000
scale_schedule: true
budget: 8 min
test_interval: 500
equal: [split, merged]
variants: &v
  - name: merged
    net: net.prototxt
    set: {weight_decay: 0.0005, type: "Adam"}
    layers: {BN: {batch_norm_param: {eps: 1e-10}}}
    averages: [CAFFE, CUMULATIVE]
  - &b {name: split, description: *n}
"""
_WORDS = [
    "*v",
    "*n",
    "*b",
    "&v",
    "&x",
    "!!int abc",
    "!!float x",
    "!!binary ?",
    "!!timestamp 1",
    "!!set {a}",
    "!!python/name:os",
    "<<: *b",
]
_WORDS += [
    "!!bool 7",
    "!!null x",
    "? [a, b] : c",
    "[[[[[[[[",
    "{{{{",
    "- - - -",
    "0x",
    "1e999",
    ".inf",
    ".nan",
    "-1",
    "9" * 5000,
    "~",
    "|",
    ">",
    "%YAML 9",
]
_RECORDS = [
    {"event": "start", "iteration": 0, "time": 1.5, "net": "n", "data": ["synthetic"], "seed": 1, "max_iter": 10},
    {"event": "display", "iteration": 0, "time": 2.5, "loss": 2.5, "lr": 0.1, "outputs": {"loss": 2.5, "b": [1, 2]}},
    {"event": "test", "iteration": 5, "time": 3.5, "net": 0, "outputs": {"accuracy": 0.5}, "seconds": 1.0},
    {"event": "end", "iteration": 10, "time": 9.5, "stopped": False, "seconds": 8.0},
]
_VALUES = ["null", "true", "[]", "{}", "NaN", "-Infinity", "1e999", "-1", "0.5", "1e-400", '"x"']
_VALUES += ["9" * 30, "9" * 5000, "[" * 3000, "[1, [2]]", '{"a": {}}']
_LOG = """I1121 10:54:00.000000 1 s.py:1] Solving x
I1121 10:54:01.000000 1 s.py:1] Iteration 0, loss = 2
I1121 10:54:01.000000 1 s.py:1]     Train net output #0: loss = 2.5 (* 1 = 2.5 loss)
I1121 10:54:01.000000 1 s.py:1] Iteration 0, lr = 0.5
I1121 10:54:02.000000 1 s.py:1] Iteration 0, Testing net (#0)
I1121 10:54:02.000000 1 s.py:1]     Test net output #0: accuracy = 0.125
"""


@kind
def yaml(folder: Path) -> tuple[Example, Callable[[bytes], None]]:
    """Experiments, read, planned and checked."""
    for name in ("solver", "net"):
        (folder / f"{name}.prototxt").write_text("")
    path = folder / "compare.yaml"
    data = str(write_synthetic(folder / "data", train=20, test=10).folder)

    def plan() -> None:
        for quick in (False, True):
            experiment = read_experiment(path, quick)
            check_probes(experiment.probes)
            if len(experiment.seeds) < 10 and sum(len(factor.levels) for factor in experiment.factors) < 10:
                check_questions(make_plan(experiment, "numpy", "fp32", data))

    def read(content: bytes) -> None:
        path.write_bytes(content)
        survives(plan)

    def example(chance: random.Random) -> bytes:
        whole = chance.choice((_YAML, _EVERYTHING))
        text = damage_text(whole, chance, whole)
        for _ in range(chance.choice((0, 1, 1, 3))):
            at = chance.randrange(len(text) + 1)
            text = text[:at] + chance.choice(_WORDS) + text[at:]
        return text.encode("utf-8", "surrogateescape")

    return example, read


@kind
def metrics(folder: Path) -> tuple[Example, Callable[[bytes], None]]:
    """metrics.jsonl, read, and written as tables."""
    path = folder / "metrics.jsonl"

    def read(content: bytes) -> None:
        path.write_bytes(b"{" + content)
        survives(lambda: write_tables(read_run(path), folder, "t"))

    def example(chance: random.Random) -> bytes:
        lines = [_odd(json.dumps(chance.choice(_RECORDS)), chance) for _ in range(4)]
        return ("\n" + "\n".join(lines)).encode("utf-8", "surrogateescape")

    return example, read


def _odd(text: str, chance: random.Random) -> str:
    """A JSON text with one of its values replaced."""
    at = [i for i, c in enumerate(text) if c == ":"]
    if chance.random() < 0.3:
        return damage_text(text, chance, text)
    start = chance.choice(at) + 2
    end = next((i for i in range(start, len(text)) if text[i] in ",}"), len(text))
    return text[:start] + chance.choice(_VALUES) + text[end:]


@kind
def description(folder: Path) -> tuple[Example, Callable[[bytes], None]]:
    """dataset.json, for the label beside results, and where a data set is asked for."""
    write_synthetic(folder, train=4, test=4)
    path = folder / "dataset.json"
    sound = path.read_text()

    def read(content: bytes) -> None:
        path.write_bytes(content)
        survives(lambda: dataset_label(folder / "synthetic_train_lmdb").encode())
        survives(lambda: write_synthetic(folder, train=4, test=4))

    return lambda chance: _odd(sound, chance).encode("utf-8", "surrogateescape"), read


@kind
def log(folder: Path) -> tuple[Example, Callable[[bytes], None]]:
    """Logs, read, and written as tables."""
    path = folder / "a.log"

    def read(content: bytes) -> None:
        path.write_bytes(b"I" + content)
        survives(lambda: write_tables(read_run(path), folder, "t"))

    def example(chance: random.Random) -> bytes:
        text = damage_text(_LOG, chance, _LOG)
        return (
            damage(text.encode("utf-8", "surrogateescape"), chance)
            if chance.random() < 0.4
            else text.encode("utf-8", "surrogateescape")
        )

    return example, read
