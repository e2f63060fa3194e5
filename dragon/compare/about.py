"""How an experiment was run: command, machine, software, and what its variants are."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from dragon.compare.config import Change, Experiment, Variant
from dragon.compare.executors.remote_pool import RemotePool
from dragon.compare.plan import Plan
from dragon.compare.pool import Pool
from dragon.engines import gpu_name
from dragon.version import __version__

__all__ = ["about", "command_line"]

Record = dict[str, Any]


def about(plan: Plan, pool: Pool | RemotePool, command: str, seconds: float) -> Record:
    """The entry "about" of results.json. seconds: what this call took."""
    c = plan.comparison
    jobs = min(pool.jobs, len(plan.runs))
    return {
        "name": c.name,
        "description": c.description,
        "claim": c.claim,
        "source": c.source,
        "expected": c.expected,
        "quick": c.quick,
        "file": c.file,
        "text": c.text,
        "command": command,
        "dataset": plan.dataset,
        "synthetic": plan.synthetic,
        "engine": plan.engine,
        "precision": plan.precision,
        "executor": pool.executor,
        "jobs": jobs,
        "threads": pool.threads(len(plan.runs)),
        "cores": pool.cores,
        "seconds": seconds,
        "budget": f"{c.budget_s:.0f} s" if c.budget_s else "",
        "machine": f"{gpu_name(0)}; {pool.machine}" if plan.engine == "cuda" else pool.machine,
        "software": f"Dragon {__version__}, Python {platform.python_version()}, NumPy {np.__version__}, "
        f"{platform.system()} {platform.machine()}",
        "finished": datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
        "variants": [{"name": v.name, "what": _definition(c, v)} for v in c.variants],
    }


def _definition(c: Experiment, v: Variant) -> str:
    parts = [v.description] if v.description else []
    parts.append(str(v.net or v.solver))
    for change in v.changes:
        parts += _change(change)
    if v.averages:
        parts.append(f"running averages: {', '.join(average.name for average in v.averages)}")
    start = next((a for a, b in c.equal if b == v.name), None)
    if start:
        parts.append(f"starts from the weights of {start}, except where the two nets name different fillers")
    return "; ".join(parts)


def _change(change: Change) -> list[str]:
    parts = []
    if change.surgery:
        parts.append("surgery: " + ", ".join(_step(step.name, step.arguments) for step in change.surgery))
    for section, what in ((change.set, "solver"), (change.layers, "layers")):
        if section is not None:
            parts.append(f"{what}: {json.dumps(section.plain())}")
    return parts


def _step(name: str, arguments: Mapping[str, Any]) -> str:
    return f"{name} {json.dumps(arguments)}" if arguments else name


def command_line(file: str | Path, options: Mapping[str, Any]) -> str:
    """The command that runs the same again. options: by flag without dashes; None or false are left out."""
    words = ["dragon", "compare", str(file)]
    for flag, value in options.items():
        if value is True:
            words.append(f"--{flag}")
        elif isinstance(value, list):
            words += [word for one in value for word in (f"--{flag}", str(one))]
        elif value is not None and value is not False:
            words += [f"--{flag}", str(value)]
    return shlex.join(words)
