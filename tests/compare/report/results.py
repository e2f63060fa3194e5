"""Results of an experiment as results.json has them, made up: two variants at four learning rates, five seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from dragon.compare.contrasts import conclude, evaluate_contrasts
from dragon.compare.stats import interval

HOSTILE = "<b onclick='x'>&\"plain\""  # a name from a file, for which HTML has a meaning
RATES = (0.001, 0.01, 0.1, 1.0)
BEST = {HOSTILE: (0.60, 0.70, 0.40, 0.10), "bn": (0.62, 0.72, 0.75, 0.70)}
SEEDS = (1, 2, 3, 4, 5)
ITERATIONS = (0, 500, 1000)
LAYERS = ("conv1", "conv2", "ip1")
Record = dict[str, Any]


def entry(values: Sequence[float]) -> Record:
    return {"values": list(values), **asdict(interval(values))}


def curve(finals: Sequence[float], start: float) -> list[Record]:
    points = []
    for k, iteration in enumerate(ITERATIONS):
        share = k / (len(ITERATIONS) - 1)
        found = asdict(interval([start + (final - start) * share for final in finals]))
        points.append({"iter": iteration, **{key: found[key] for key in ("mean", "low", "high", "n")}})
    return points


def cell(variant: str, rate: float, final: float) -> Record:
    finals = [final + 0.002 * (seed - 3) * (2 if variant == "bn" else 1) for seed in SEEDS]
    norms = [10.0 * (k + 1) for k in range(len(LAYERS))]
    batch = variant == "bn"
    return {
        "variant": variant,
        "levels": {"base_lr": rate},
        "seeds": list(SEEDS),
        "runs": [],
        "diverged": 5 if final <= 0.1 else 0,
        "stopped": 0,
        "chance": {"accuracy": 0.1, "loss": 2.302585},
        "what": "net.prototxt; insert",
        "iterations": ITERATIONS[-1],
        "metrics": {
            "accuracy": entry(finals),
            "train_loss": entry([2 - 2 * f for f in finals]),
            **({"accuracy@batch": entry([f - 0.01 for f in finals])} if batch else {}),
        },
        "curves": {
            "test/accuracy": curve(finals, 0.1),
            "train/loss": curve([2 - 2 * f for f in finals], 2.3),
            **({"test/accuracy@batch": curve([f - 0.01 for f in finals], 0.1)} if batch else {}),
            **{f"probe/weight_norm/{name}": curve([norm] * 5, 1.0) for name, norm in zip(LAYERS, norms, strict=True)},
        },
        "ms_per_iteration": 20.0,
        "images_per_s": 5000.0,
    }


METRICS = {"range": {"of": "accuracy", "over": "base_lr", "take": "span", "within": 0.08}}
CONTRASTS: list[Record] = [
    {"name": "range of rates", "primary": True, "metric": "range", "of": {"variant": "bn"},
     "against": {"variant": HOSTILE}, "scale": "ratio", "expect": ">= 5"},
    {"metric": "accuracy", "of": {"variant": "bn", "base_lr": 0.1}, "against": {"variant": HOSTILE, "base_lr": 0.01},
     "expect": "> 0"},
    {"metric": "accuracy", "of": {"variant": HOSTILE, "base_lr": 1.0}, "expect": "> 0.45"},
]  # fmt: skip


def make_results() -> Record:
    cells = [
        cell(variant, rate, final)
        for variant, finals in BEST.items()
        for rate, final in zip(RATES, finals, strict=True)
    ]
    spans = {HOSTILE: [3.0, 3.0, 4.0, 3.0, 3.0], "bn": [100.0, 100.0, 100.0, 30.0, 100.0]}
    over = [{"variant": v, "metric": "range", "seeds": list(SEEDS), **entry(values)} for v, values in spans.items()]
    contrasts = evaluate_contrasts(CONTRASTS, cells, over, METRICS)
    return {
        "about": {
            "name": "rates", "claim": "BN widens the range of workable rates", "source": "Ioffe & Szegedy 2015",
            "expected": "at least five times", "file": "rates.yaml", "text": "name: <script>alert(1)</script>\n",
            "command": "dragon compare rates.yaml", "machine": "a machine", "software": "Dragon", "finished": "today",
            "quick": False, "dataset": "CIFAR-10", "synthetic": False, "engine": "numpy", "precision": "fp32",
            "jobs": 2, "threads": 1, "executor": "local",
        },
        "metrics": METRICS,
        "picture": {"metric": "accuracy", "over": "base_lr", "log": True},
        "cells": cells,
        "factor_metrics": over,
        "contrasts": contrasts,
        **conclude(contrasts),
        "pairs": [],
        "memory": {"bn": {"process_mib": 120.0}, HOSTILE: {"process_mib": 100.0}},
        "tuning": [
            {"variant": "bn", "levels": {}, "chosen": {"base_lr": 0.1, "weight_decay": 0.0005},
             "grid": [{"base_lr": r, "weight_decay": 0.0005, "score": [0.7], "mean": 0.7} for r in (0.01, 0.1, 1.0)]},
        ],
    }  # fmt: skip
