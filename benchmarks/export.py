"""A table for all nets of the zoo: export to ONNX, then ONNX Runtime and OpenVINO beside the net itself.

    python -m benchmarks.export [--net NAME ...] [--write docs/export.md]
    python -m benchmarks.export --exact --net enet segnet

The weights are random (`dragon.export.samples.random_weights`), the input is that of deploy.prototxt, and the net
itself runs on its default engine. Time is that of forms, check and writing, for a net that has been read and folded.
`--write` puts each row into the table between the two marks of a document. `--exact` prints how far the net and
the other programs are from the net in float64, on the NumPy engine: for outputs that depend on choices between nearly
equal values.
"""

from __future__ import annotations

import argparse
import gc
import re
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from dragon.bases.layer import TEST
from dragon.errors import DragonError, UsageError
from dragon.export.deployed import read_deployed
from dragon.export.onnx.file import write_onnx
from dragon.export.onnx.model import model_of
from dragon.export.onnx.verify import RUNTIMES, difference, runtime, verify
from dragon.export.samples import random_weights
from dragon.graph.net import Net
from dragon.surgery.samples import sample_inputs

MODELS = Path(__file__).resolve().parent.parent / "models"
Values = NDArray[Any]
HEAD = ("net", "input", "operators", "seconds", "MB", "ONNX Runtime", "OpenVINO")
BEGIN, END = "<!-- table of nets: make export-table -->", "<!-- end of the table -->"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", nargs="+", default=[], help="only these")
    parser.add_argument("--write", type=Path, help="a document with the two marks")
    parser.add_argument("--exact", action="store_true", help="compare all with float64 instead")
    chosen = parser.parse_args(arguments)
    if chosen.exact and chosen.write:
        parser.error("--write takes the rows without --exact")
    names = chosen.net or sorted((path.parent.name for path in MODELS.glob("*/deploy.prototxt")), key=_learned)
    rows: dict[str, str] = {}
    for name in names:
        try:
            rows[name] = exact_row(name) if chosen.exact else row(name)
        except DragonError as error:
            rows[name] = f"| {name} | {error} |" + " |" * (len(HEAD) - 2)
        print(rows[name], flush=True)
        gc.collect()
        if chosen.write:  # after each net: a run over all of them takes long
            put(chosen.write, {name: rows[name]})
    return 0


def _learned(name: str) -> tuple[int, str]:
    """Small nets first, so that an interrupted run has most of the rows."""
    found = re.search(r"^params: (\d+)", (MODELS / name / "readme.md").read_text(encoding="utf-8"), re.MULTILINE)
    return int(found[1]) if found else 0, name


def row(name: str) -> str:
    """The row of one net."""
    deployed = read_deployed(MODELS / name / "deploy.prototxt")
    net = deployed.net(engine="auto")
    random_weights(net)
    with deployed.fold(net) as net, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        before = time.perf_counter()
        write_onnx(model_of(net), path)
        seconds = time.perf_counter() - before
        shape = "x".join(map(str, net.blobs[net.inputs[0]].shape))
        operators = len(onnx.load(path).graph.node)
        size = sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6
        differences = []
        for peer in RUNTIMES:
            try:
                runtime(peer)
            except UsageError:
                differences.append("not installed")
                continue
            largest = max(one.largest for one in verify(path, net, peer, scales=(1.0,)).values())
            differences.append("other boxes" if np.isinf(largest) else f"{largest:.1e}")  # not as many of them
        return f"| {name} | {shape} | {operators} | {seconds:.2f} | {size:.2f} | {' | '.join(differences)} |"


def exact_row(name: str) -> str:
    """The net in float32 and each program, beside float64: an output's largest difference, and the share above FAR."""
    deployed = read_deployed(MODELS / name / "deploy.prototxt")
    made = deployed.net(engine="auto")
    random_weights(made)
    with deployed.fold(made) as net, tempfile.TemporaryDirectory() as folder:
        inputs = sample_inputs(net)  # those of random_weights, whose values stay of the order of 1
        with Net(deployed.definition, phase=TEST, engine="numpy", dtype=np.float64) as exact:
            for layer, blobs in net.params.items():
                for blob, theirs in zip(exact.params[layer], blobs, strict=True):
                    blob.data[...] = theirs.peek()
            expected = _outputs(exact, inputs)
        cells = [name, _far(_outputs(net, inputs), expected)]
        path = str(Path(folder) / "net.onnx")
        write_onnx(model_of(net), path)
        for peer in RUNTIMES:
            try:
                cells.append(_far(runtime(peer)(path, inputs), expected))
            except UsageError:
                cells.append("not installed")
    return f"| {' | '.join(cells)} |"


def _outputs(net: Net, inputs: Mapping[str, Values]) -> dict[str, Values]:
    for name, value in inputs.items():
        net.blobs[name].data[...] = value
    net.run_forward()
    return {name: np.array(value) for name, value in net.output_values().items()}


def _far(found: Mapping[str, Values], expected: Mapping[str, Values]) -> str:
    each = [(name, difference(found[name], value)) for name, value in expected.items()]
    name, worst = max(each, key=lambda pair: pair[1].largest)
    if np.isinf(worst.largest):
        return f"{found[name].shape}, float64 {expected[name].shape}"
    return f"{worst.largest:.1e}, {100 * worst.share:.2g} %"


def put(path: Path, rows: dict[str, str]) -> None:
    """Put rows into the table of a document; those of other nets stay while there are such nets."""
    text = path.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN, 1)
    table, after = rest.split(END, 1)
    old = {line.split("|")[1].strip(): line for line in table.splitlines()[3:] if line.startswith("| ")}
    rows = {name: line for name, line in (old | rows).items() if (MODELS / name).is_dir()}
    lines = [f"| {' | '.join(HEAD)} |", "|---" * 2 + "|---:" * (len(HEAD) - 2) + "|"]
    lines += [rows[name] for name in sorted(rows)]
    path.write_text(f"{before}{BEGIN}\n\n" + "\n".join(lines) + f"\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
