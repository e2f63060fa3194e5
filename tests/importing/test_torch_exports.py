"""What PyTorch's two exporters write comes in and computes what PyTorch computes."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path

import numpy as np
import pytest

from dragon.bases.layer import TEST
from dragon.importing.convert import import_onnx
from dragon.importing.verify import verify
from dragon.surgery.prove import build_net

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")  # the newer exporter needs it

from tests.importing.torch_nets import NETS, make  # noqa: E402


def export(name: str, opset: int | None, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Write a net by the exporter of an operator set, None for the newer exporter; an input and PyTorch's output."""
    net, images = make(name), torch.randn(2, 3, 34, 46, generator=torch.Generator().manual_seed(1))
    quiet = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), quiet[0], quiet[1], torch.no_grad():
            warnings.simplefilter("ignore")
            if opset is None:
                torch.onnx.export(net, (images,), path, dynamo=True, verbose=False)
            else:
                torch.onnx.export(net, (images,), path, dynamo=False, opset_version=opset)
            return images.numpy(), net(images).numpy()
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.slow
@pytest.mark.parametrize("opset", [11, 17, None])
@pytest.mark.parametrize("name", NETS)
def test_it_comes_in(name: str, opset: int | None, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    images, wanted = export(name, opset, path)
    for bvlc in (False, True):
        imported = import_onnx(path, bvlc=bvlc)
        verify(imported, 1e-5)
        net = build_net(imported.model, TEST, None)
        net.blobs[net.inputs[0]].data[...] = images
        (found,) = net.forward().values()
        np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())
        net.close()
