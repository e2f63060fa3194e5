"""Worker of the benchmark of deployed nets for Dragon; also writes the files that all libraries start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._harness import Step, serve
from dragon.bases.layer import TEST
from dragon.engines import Options
from dragon.export.deployed import Deployed, read_deployed
from dragon.export.onnx.file import write_onnx
from dragon.export.onnx.model import model_of
from dragon.export.samples import random_weights
from dragon.graph.net import Net
from dragon.models.zoo import DEPLOY, file_of
from dragon.proto.text import format_text
from dragon.version import __version__

__all__ = ["answer", "facts", "make", "profile", "weights", "write"]

MODEL, WEIGHTS, ONNX, IMAGES = "net.prototxt", "net.caffemodel", "net.onnx", "images.npy"
_nets: list[Net] = []  # that were made


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
    np.save(path / IMAGES, np.random.default_rng(0).standard_normal(shape).astype(np.float32))


def _deployed(net: str, batch: int, size: int | None) -> Deployed:
    path = file_of(net, DEPLOY)
    made = read_deployed(path)
    dims = made.definition.message.layer[0].input_param.shape[0].dim
    dims[:] = [batch, dims[1], *([size, size] if size else dims[2:])]
    return made


def make(folder: str, threads: int | None = None, precision: str = "fp32", engine: str = "onednn") -> Step:
    """The step from images in the blob to scores on the host."""
    path = Path(folder)
    options = Options(precision=precision, threads=threads)
    net = Net(str(path / MODEL), phase=TEST, weights=str(path / WEIGHTS), engine=engine, options=options)
    blob = net.blobs[net.inputs[0]]
    blob.data[...] = np.load(path / IMAGES)
    images = blob.data_storage
    _nets.append(net)

    def infer() -> Any:
        images.overwrite()  # as for the next images; the engine has to read them
        net.run_forward()
        return net.output_values()

    return infer


def answer() -> list[float]:
    """The scores of the net that was made."""
    net = _nets[-1]
    net.run_forward()
    (scores,) = net.output_values().values()
    return [float(value) for value in scores.ravel()]


def profile(iterations: int) -> list[dict[str, Any]]:
    """Milliseconds of each layer, or group of fused layers, of the net: the least of `iterations` runs."""
    found: list[dict[str, Any]] = []
    for one in _nets[-1].executor.profile(iterations, backward=False):
        if one.forward_runs:
            how = {"ms": min(one.forward_runs), "how": one.note}
            found.append({"layer": one.name, "names": [], "type": one.type} | how)
        found[-1]["names"].append(one.name)
    return found


def facts() -> dict[str, Any]:
    """Versions."""
    from dragon.engines.onednn.library.binding import library

    return {"dragon": __version__, "onednn": ".".join(map(str, library().version)), "numpy": np.__version__}


if __name__ == "__main__":
    serve({"weights": weights, "write": write, "answer": answer, "profile": profile, "facts": facts}, make)
