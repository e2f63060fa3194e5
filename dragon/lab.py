"""The laboratory from Python: experiments by name or file, their results, surgery and probes.

found = lab.run("lr_range", quick=True)
print(found["headline"])
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dragon.compare import compare
from dragon.compare.config import Experiment
from dragon.compare.contrasts import select
from dragon.compare.listing import Listed, find_experiment, list_experiments
from dragon.compare.reading import read_experiment
from dragon.errors import DataError, UsageError, nearest
from dragon.files.reading import read_text
from dragon.probes import probe_class, probe_names
from dragon.surgery import operations as registry
from dragon.surgery.model import Model, read_model

__all__ = ["Listed", "list_experiments", "metric", "operations", "probes", "read", "results", "run", "surgery"]

Results = dict[str, Any]


def read(name: str | Path, quick: bool = False, seeds: int | None = None) -> Experiment:
    """A checked experiment, by the name of one that ships or the path of a file. Raises UsageError.

    quick: in its short form. seeds: how many, in place of the file's.
    """
    return read_experiment(find_experiment(name), quick, seeds)


def run(name: str | Path, output: str | Path | None = None, **options: Any) -> Results:
    """Run an experiment, or what is not finished of it, and return its results (see `results`).

    options: those of `dragon.compare.compare`, such as quick, seeds, jobs, engine, dataset, store. Raises DragonError.
    """
    return results(compare(name, output, **options).parent)


def results(folder: str | Path) -> Results:
    """The results of an experiment in the folder that it was written to, as docs/file_formats.md describes them.

    Raises DataError where there are none.
    """
    path = Path(folder, "results.json")
    try:
        found = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or "cells" not in found:
        raise DataError(f"{path}: no results of an experiment")
    return found


def metric(found: Results, name: str, /, **of: Any) -> list[dict[str, Any]]:
    """A metric of the cells with these levels: variant, levels, seeds, values by seed, mean, low and high.

    of: "variant" and factors, such as variant="bn", base_lr=0.01; none of them takes all cells. Raises UsageError for a
    metric, variant or level that does not exist, and for what are no results.
    """
    if not isinstance(found, Mapping) or not {"cells", "factor_metrics"} <= set(found):
        raise UsageError(f"expected what lab.run or lab.results returns, got {str(found)[:40]!r}")
    over = [entry for entry in found["factor_metrics"] if entry["metric"] == name]
    if over:
        return select(over, of)
    chosen = []
    for cell in select(found["cells"], of):
        if name not in cell["metrics"]:
            known = dict.fromkeys([*cell["metrics"], *(entry["metric"] for entry in found["factor_metrics"])])
            raise UsageError(f'no metric "{name}"{nearest(name, known)}; known: {", ".join(known)}')
        named = {key: cell[key] for key in ("variant", "levels", "seeds")}
        chosen.append({**named, "metric": name, **cell["metrics"][name]})
    return chosen


def surgery(
    net: str | Path, steps: Sequence[str | Mapping[str, Mapping[str, Any] | None]], weights: str | Path | None = None
) -> Model:
    """A net (prototxt, perhaps with its weights) after some operations, each a name or {name: arguments}.

    `operations` shows them. Raises PrototxtError, WeightsError or UsageError.
    """
    return registry.apply_all(read_model(net, weights), steps)


def operations() -> dict[str, str]:
    """What surgery can do, each in one line, by name."""
    return {name: operation.summary for name, operation in registry.operations().items()}


def probes() -> dict[str, str]:
    """What can be measured along a training, each in one line, by name."""
    return {name: (inspect.getdoc(probe_class(name)) or "").partition("\n")[0] for name in probe_names()}
