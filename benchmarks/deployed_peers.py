"""Worker of the benchmark of deployed nets for OpenVINO, ONNX Runtime and OpenCV, which read the ONNX file."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._harness import Step, serve

__all__ = ["LIBRARIES", "answer", "facts", "make", "profile"]

LIBRARIES = {"OpenVINO": "openvino", "ONNX Runtime": "onnxruntime", "OpenCV": "cv2", "MNN": "MNN"}
_made: dict[str, Any] = {}  # the step, and what reports about it


def _openvino(model: str, images: Any, threads: int, precision: str) -> Callable[[], Any]:
    import openvino

    core = openvino.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        "PERF_COUNT": os.environ.get("DRAGON_BENCHMARK_COUNTERS") == "1",
    }  # fmt: skip
    request = core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()
    tensor = openvino.Tensor(images, shared_memory=True)
    request.set_input_tensor(tensor)
    _made["images"] = images, tensor  # the request does not keep them alive
    _made["profile"] = lambda: [
        {"layer": one.node_name, "type": one.node_type, "ms": one.real_time.total_seconds() * 1e3, "how": one.exec_type}
        for one in request.profiling_info
    ]

    def infer() -> Any:
        request.infer()
        return request.get_output_tensor().data.copy()

    return infer


def _onnxruntime(model: str, images: Any, threads: int, precision: str) -> Callable[[], Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: images}
    return lambda: session.run(None, feed)[0]


def _opencv(model: str, images: Any, threads: int, precision: str) -> Callable[[], Any]:
    import cv2

    cv2.setNumThreads(threads)
    net = cv2.dnn.readNetFromONNX(model)

    def infer() -> Any:
        net.setInput(images)
        return net.forward()

    return infer


def _mnn(model: str, images: Any, threads: int, precision: str) -> Callable[[], Any]:
    import MNN

    interpreter = MNN.Interpreter(str(Path(model).with_suffix(".mnn")))
    session = interpreter.createSession({"backend": "CPU", "numThread": threads, "precision": "high"})
    images = MNN.Tensor(images.shape, MNN.Halide_Type_Float, images, MNN.Tensor_DimensionType_Caffe)
    bottom, top = interpreter.getSessionInput(session), interpreter.getSessionOutput(session)
    _made["images"] = interpreter, images

    def infer() -> Any:
        bottom.copyFrom(images)
        interpreter.runSession(session)
        return np.array(top.getNumpyData())

    return infer


_MAKERS = {"OpenVINO": _openvino, "ONNX Runtime": _onnxruntime, "OpenCV": _opencv, "MNN": _mnn}


def make(library: str, folder: str, threads: int, precision: str = "fp32") -> Step:
    """The step from images in memory to scores, as deployed_ours.make."""
    path = Path(folder)
    step = _MAKERS[library](str(path / "net.onnx"), np.load(path / "images.npy"), threads, precision)
    _made["step"] = step
    return step


def answer() -> list[float]:
    """The scores."""
    return [float(value) for value in np.asarray(_made["step"]()).ravel()]


def profile(iterations: int) -> list[dict[str, Any]]:
    """Milliseconds of each operation that OpenVINO counts: the least of `iterations` runs."""
    runs = []
    for _ in range(iterations):
        _made["step"]()
        runs.append(_made["profile"]())
    return [one | {"ms": min(run[i]["ms"] for run in runs)} for i, one in enumerate(runs[0])]


def facts(library: str) -> dict[str, Any]:
    """The version."""
    module = importlib.import_module(LIBRARIES[library])
    return {"version": module.version() if library == "MNN" else module.__version__}


if __name__ == "__main__":
    serve({"answer": answer, "profile": profile, "facts": facts}, make)
