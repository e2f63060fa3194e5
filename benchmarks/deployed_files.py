"""Worker of the benchmark of deployed nets that writes the files which all libraries start from.

It is a process of its own, so that the one that is measured loads no more than a user's program does.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks._harness import BenchmarkError, serve
from benchmarks.deployed_ours import IMAGES, MODEL, WEIGHTS
from dragon.export.deployed import Deployed, read_deployed
from dragon.export.onnx.file import write_onnx
from dragon.export.onnx.model import model_of
from dragon.export.samples import random_weights
from dragon.models.zoo import DEPLOY, file_of
from dragon.proto.text import format_text

__all__ = ["weights", "write"]

ONNX = "net.onnx"


def weights(net: str, folder: str, size: int | None = None) -> None:
    """Write random weights for a net of the zoo, with the running statistics of a noisy image."""
    with _deployed(net, 1, size).net() as made:
        random_weights(made)
        made.save(Path(folder) / WEIGHTS)


def write(net: str, batch: int, folder: str, size: int | None = None) -> None:
    """Write the net for a batch as prototxt and, with folded normalisations, as ONNX file, and images for it."""
    path = Path(folder)
    deployed = _deployed(net, batch, size)
    (path / MODEL).write_text(format_text(deployed.definition.message), encoding="utf-8")
    with deployed.folded(str(path / WEIGHTS)) as folded:
        write_onnx(model_of(folded), path / ONNX)
        shape = folded.blobs[folded.inputs[0]].shape
    if importlib.util.find_spec("MNN") is not None:
        _convert_for_mnn(path / ONNX)
    np.save(path / IMAGES, np.random.default_rng(0).standard_normal(shape).astype(np.float32))


def _convert_for_mnn(model: Path) -> None:
    """Write the file of MNN's own format beside an ONNX file. Raises BenchmarkError with the converter's last line."""
    made = model.with_suffix(".mnn")
    made.unlink(missing_ok=True)
    # not by `-m MNN.tools.mnnconvert`, which installs a package that reports each use to MNN's authors
    command = [
        sys.executable,
        "-c",
        "import sys, MNN, _tools; _tools.mnnconvert(sys.argv)",
        "-f",
        "ONNX",
        "--bizCode",
        "dragon",
    ]
    done = subprocess.run(
        [*command, "--modelFile", str(model), "--MNNModel", str(made)], capture_output=True, text=True, check=False
    )
    if not made.exists():
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise BenchmarkError(f"MNN's converter wrote no file: {''.join(last)}")


def _deployed(net: str, batch: int, size: int | None) -> Deployed:
    path = file_of(net, DEPLOY)
    made = read_deployed(path)
    dims = made.definition.message.layer[0].input_param.shape[0].dim
    dims[:] = [batch, dims[1], *([size, size] if size else dims[2:])]
    return made


if __name__ == "__main__":
    serve({"weights": weights, "write": write})
