"""Worker of the benchmark of training nets of the zoo, for Dragon; it also writes the net for PyTorch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._harness import ROOT, BenchmarkError, Step, serve
from dragon.bases.layer import TEST, TRAIN
from dragon.engines import Options
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import read_net

__all__ = ["answer", "make", "write"]

LEFT_OUT = ("Softmax", "Dropout")
_made: list[tuple[Net, Callable[[], float]]] = []  # nets, and their steps


def write(net: str, batch: int, folder: str) -> None:
    """Write net.prototxt and net.caffemodel, net.py and its weights, and the inputs as inputs.npz."""
    path = Path(folder)
    param = read_net(ROOT / "models" / net / "deploy.prototxt")
    for layer in param.layer:
        for shape in layer.input_param.shape if layer.type == "Input" else ():
            shape.dim[0] = batch
    _without(param)
    test = Net(param, phase=TEST, engine="numpy", seed=1)
    random = np.random.default_rng(0)
    inputs: dict[str, Any] = {x: random.standard_normal(test.blobs[x].shape).astype(np.float32) for x in test.inputs}
    np.savez(path / "inputs.npz", **inputs)
    (path / "net.prototxt").write_text(str(param))
    test.save(path / "net.caffemodel")
    command = [sys.executable, "-m", "dragon", "export", "--model", "net.prototxt", "--weights", "net.caffemodel"]
    made = subprocess.run([*command, "--torch", "net.py"], cwd=path, env=_environment(), capture_output=True, text=True)
    if made.returncode:
        raise BenchmarkError(made.stderr.strip().splitlines()[-1])


def _environment() -> dict[str, str]:
    """In which Dragon is that of this folder."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}


def _without(param: pb.NetParameter) -> None:
    """Take out layers of LEFT_OUT; who read their tops reads their bottoms."""
    renamed: dict[str, str] = {}
    kept = []
    for layer in param.layer:
        bottoms = [renamed.get(bottom, bottom) for bottom in layer.bottom]
        if layer.type in LEFT_OUT:
            renamed[layer.top[0]] = bottoms[0]
            continue
        layer.bottom[:] = bottoms
        for top in layer.top:
            renamed.pop(top, None)
        kept.append(layer)
    copies = pb.NetParameter(layer=kept).layer
    del param.layer[:]
    param.layer.extend(copies)


def make(folder: str, threads: int) -> Step:
    """Forward and backward from inputs on the host; the loss is the sum of all outputs."""
    path = Path(folder)
    param = read_net(path / "net.prototxt")
    for output in Net(param, phase=TEST, engine="numpy").outputs:
        param.layer.add(name=f"sum {output}", type="Reduction", bottom=[output], top=[f"sum {output}"], loss_weight=[1])
    weights = str(path / "net.caffemodel")
    net = Net(param, phase=TRAIN, weights=weights, engine="onednn", options=Options(threads=threads))
    for name, values in np.load(path / "inputs.npz").items():
        net.blobs[name].data[...] = values

    def step() -> float:
        for name in net.inputs:
            net.blobs[name].data_storage.overwrite()  # as for the next images; the engine has to read them
        net.clear_param_diffs()
        loss = net.run_forward()
        net.run_backward()
        return loss

    _made.append((net, step))
    return step


def answer() -> list[float]:
    """The loss of the net that was made, and the norm of its gradients."""
    net, step = _made[-1]
    loss = step()
    squares = sum(float(np.square(p.blob.diff, dtype=np.float64).sum()) for p in net.learnable if p.lr_mult)
    return [loss, squares**0.5]


if __name__ == "__main__":
    serve({"write": write, "answer": answer}, make)
