"""Parts of a net at sizes that the layers above cannot take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dragon
from dragon.errors import ShapeError
from tests.pycaffe.test_script_habits import CLASSES

pytestmark = pytest.mark.usefixtures("cuda")


def test_layers_behind_the_end_need_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text("force_backward: true" + CLASSES)
    image = np.random.default_rng(2).normal(size=(1, 3, 20, 16)).astype(np.float32)
    gradients = []
    for engine in ("numpy", "cuda"):
        net = dragon.Net(str(path), dragon.TEST, seed=1, engine=engine)
        net.forward(data=image[:, :, :12, :12])
        net.blobs["data"].reshape(1, 3, 20, 16)
        net.blobs["data"].data[...] = image
        net.forward(end="pool")
        net.blobs["pool"].diff[:] = net.blobs["pool"].data
        net.backward(start="pool")
        gradients.append(net.blobs["data"].diff.copy())
        with pytest.raises(ShapeError, match="ip"):
            net.forward()
    assert gradients[0].any()
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=1e-4, atol=1e-5)
