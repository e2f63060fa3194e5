"""A net in ONNX Runtime, beside the float64 reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.bases.layer import TEST, TRAIN
from dragon.export.onnx.file import check
from dragon.export.onnx.model import OPSET, model_of
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text

__all__ = ["Values", "agree", "filled", "reference", "run_onnx"]

Values = Mapping[str, NDArray[Any]]


def filled(text: str, inputs: Values, seed: int = 5) -> Net:
    """A net in TEST whose learned blobs are random, and whose running statistics are those of a batch."""
    param = parse_text(text, pb.NetParameter())
    rng = np.random.default_rng(seed)
    with Net(param, phase=TRAIN, engine="numpy", seed=1) as trained:
        _feed(trained, inputs)
        trained.run_forward()
        net = Net(param, phase=TEST, engine="numpy", seed=1)
        for name, blobs in net.params.items():
            buffers = net.layers[net.layer_index(name)].buffers
            for i, blob in enumerate(blobs):
                if i in buffers:
                    blob.data[...] = trained.params[name][i].data
                else:
                    blob.data[...] += rng.normal(size=blob.shape) / 4
    return net


def reference(net: Net, inputs: Values) -> dict[str, NDArray[Any]]:
    """The outputs of the same net with the same weights in float64."""
    with Net(net.param, phase=TEST, engine="numpy", seed=1, dtype=np.float64) as exact:
        for name, blobs in net.params.items():
            for blob, theirs in zip(exact.params[name], blobs, strict=True):
                blob.data[...] = theirs.peek()
        _feed(exact, inputs)
        exact.run_forward()
        return {name: np.array(value) for name, value in exact.output_values().items()}


def _feed(net: Net, inputs: Values) -> None:
    for name in net.inputs:
        net.blobs[name].reshape(*inputs[name].shape)
        net.blobs[name].data[...] = inputs[name]


def run_onnx(model: Any, inputs: Values) -> dict[str, NDArray[Any]]:
    """The outputs of a model in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    given = {one.name: inputs[one.name].astype(np.float32) for one in session.get_inputs()}
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(names, given), strict=True))


def agree(net: Net, inputs: Values, tolerance: float = 1e-5, opset: int = OPSET, **options: Any) -> Any:
    """Assert that ONNX Runtime computes what the net computes; the model. tolerance: of the largest value."""
    model = model_of(net, opset, **options)
    check(model)
    found, expected = run_onnx(model, inputs), reference(net, inputs)
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].shape == value.shape, name
        scale = max(float(np.abs(value).max(initial=0)), 1e-30)
        np.testing.assert_allclose(found[name] / scale, value / scale, rtol=0, atol=tolerance, err_msg=name)
    return model
