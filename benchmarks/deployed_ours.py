"""Worker of the benchmark of deployed nets for Dragon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._harness import Step, serve
from dragon.bases.layer import TEST
from dragon.engines import Options
from dragon.graph.net import Net
from dragon.version import __version__

__all__ = ["IMAGES", "MODEL", "WEIGHTS", "answer", "facts", "make", "profile", "ranges"]

MODEL, WEIGHTS, IMAGES, RANGES = "net.prototxt", "net.caffemodel", "images.npy", "int8.yaml"
_nets: list[Net] = []  # that were made


def make(folder: str, threads: int | None = None, precision: str = "fp32", engine: str = "onednn") -> Step:
    """The step from images in the blob to scores on the host. precision: int8 needs the file of `ranges`."""
    table = Path(folder) / RANGES if precision == "int8" else None
    net = _open(folder, engine, Options(precision=precision, calibration=table, threads=threads))
    images = net.blobs[net.inputs[0]].data_storage
    _nets.append(net)

    def infer() -> Any:
        images.overwrite()  # as for the next images; the engine has to read them
        net.run_forward()
        return net.output_values()

    return infer


def _open(folder: str, engine: str, options: Options) -> Net:
    """The net with its images."""
    path = Path(folder)
    net = Net(str(path / MODEL), phase=TEST, weights=str(path / WEIGHTS), engine=engine, options=options)
    net.blobs[net.inputs[0]].data[...] = np.load(path / IMAGES)
    return net


def ranges(folder: str) -> None:
    """Write the ranges of activations on the images, for int8."""
    from dragon.surgery.calibrate import calibrate  # not where the time to the first scores is measured

    calibrate(_open(folder, "auto", Options(threads=1)), 1).save(Path(folder) / RANGES)


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
    serve({"answer": answer, "profile": profile, "facts": facts, "ranges": ranges}, make)
