"""A table for all nets of the zoo: export to ONNX, then ONNX Runtime and OpenVINO beside the net itself.

    python -m benchmarks.export [--net NAME ...] [--write docs/export.md]

The weights are random (`dragon.export.samples.random_weights`), the input is that of deploy.prototxt, and the net
itself runs on its default engine. Time is that of forms, check and writing, for a net that has been read and folded.
`--write` puts each row into the table between the two marks of a document.
"""

from __future__ import annotations

import argparse
import gc
import re
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx

from dragon.errors import DragonError, UsageError
from dragon.export.deployed import read_deployed
from dragon.export.onnx.file import write_onnx
from dragon.export.onnx.model import model_of
from dragon.export.onnx.verify import RUNTIMES, runtime, verify
from dragon.export.samples import random_weights

MODELS = Path(__file__).resolve().parent.parent / "models"
HEAD = ("net", "input", "operators", "seconds", "MB", "ONNX Runtime", "OpenVINO")
BEGIN, END = "<!-- table of nets: make export-table -->", "<!-- end of the table -->"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", nargs="+", default=[], help="only these")
    parser.add_argument("--write", type=Path, help="a document with the two marks")
    chosen = parser.parse_args(arguments)
    names = chosen.net or sorted((path.parent.name for path in MODELS.glob("*/deploy.prototxt")), key=_learned)
    rows: dict[str, str] = {}
    for name in names:
        try:
            rows[name] = row(name)
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
            largest = max(one.largest for one in verify(path, net, peer, scales=(0.5,)).values())
            differences.append("other boxes" if np.isinf(largest) else f"{largest:.1e}")  # not as many of them
        return f"| {name} | {shape} | {operators} | {seconds:.2f} | {size:.2f} | {' | '.join(differences)} |"


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
