"""A net of the zoo that goes out as ONNX comes back in and computes the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dragon.bases.layer import TEST
from dragon.errors import PrototxtError
from dragon.export.onnx.file import write_onnx
from dragon.export.onnx.model import model_of
from dragon.export.samples import random_weights
from dragon.importing.convert import import_onnx
from dragon.importing.verify import verify
from dragon.surgery.model import Model
from dragon.surgery.prove import build_net
from dragon.surgery.samples import sample_inputs
from tests.export.onnx.test_zoo import CASES, small_net

# the first operators without a form: they choose boxes or the labels of a sequence, or cut out regions
ONE_WAY = {"mobilenet_ssd": "TopK", "ssd_shapes": "TopK", "crnn_mnist": "CumSum", "faster_rcnn_scenes": "TopK"}
SMALL = [one for one in CASES if not one.marks and one.values[0] not in ONE_WAY]


@pytest.mark.parametrize(("name", "folded"), SMALL)
def test_it_comes_back(name: str, folded: bool, tmp_path: Path) -> None:
    deployed = small_net(name)
    net = deployed.net()
    random_weights(net)
    with deployed.fold(net) if folded else net as net:
        path = tmp_path / "net.onnx"
        write_onnx(model_of(net), path)
        imported = import_onnx(path)
        verify(imported)
        inputs = sample_inputs(net)
        arrays = {layer: [blob.peek().copy() for blob in blobs] for layer, blobs in net.params.items()}
        wide = build_net(Model(net.param, arrays), TEST, None)  # in float64, as the other one
        back = build_net(imported.model, TEST, None)
        for key, value in inputs.items():
            wide.blobs[key].data[...] = value
            back.blobs[imported.blobs[key]].data[...] = value
        wanted, found = wide.forward(), back.forward()
        assert len(found) == len(wanted)
        for key, value in wanted.items():
            difference = np.abs(found[imported.blobs[key]] - value).max()
            assert difference <= 1e-5 * np.abs(value).max(), key
        wide.close()
        back.close()


@pytest.mark.parametrize("name", ["ssd_shapes", "crnn_mnist", "faster_rcnn_scenes"])
def test_an_operator_without_a_form_is_named(name: str, tmp_path: Path) -> None:
    with small_net(name).net() as net:
        random_weights(net)
        write_onnx(model_of(net), tmp_path / "net.onnx")
    with pytest.raises(PrototxtError, match=rf"no form in Caffe: {ONE_WAY[name]} \("):
        import_onnx(tmp_path / "net.onnx")
