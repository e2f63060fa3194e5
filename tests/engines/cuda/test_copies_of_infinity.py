"""Where a kernel copies values, an infinity stays one: it is no sum with 0 times itself, which would be NaN."""

from __future__ import annotations

import numpy as np
import pytest

from tests.engines.cuda.running import inputs, layer, make

pytestmark = [pytest.mark.usefixtures("cuda"), pytest.mark.filterwarnings("ignore::RuntimeWarning")]

SHAPE = (2, 3, 4, 4)
LAYERS = {
    "the gradient of a sum": (layer("Add", "", bottom='x" bottom: "w', top="y"), "y"),
    "what a neuron in place keeps": (layer("AbsVal", "", bottom="z", top="z"), "z"),
    "levels of a pyramid": (layer("SPP", "spp_param { pyramid_height: 2 }", bottom="z", top="y"), "y"),
}


@pytest.mark.parametrize("what", LAYERS)
def test_infinities_are_copied(what: str) -> None:
    text, top = LAYERS[what]
    before = layer("Power", "power_param { scale: 2 }", top="z", name="before") if '"z"' in text else ""
    found = {}
    for engine in ("numpy", "cuda"):
        net = make("force_backward: true " + inputs({"x": SHAPE, "w": SHAPE}) + before + text, engine)
        net.blobs["x"].data[...] = np.arange(96).reshape(SHAPE)
        net.blobs["x"].data[0, 1, 2, 3] = np.inf
        net.forward()
        net.blobs[top].diff[...] = 1
        net.blobs[top].diff.flat[5] = -np.inf
        net.backward()
        found[engine] = net.blobs["x"].diff.copy()
    np.testing.assert_array_equal(found["cuda"], found["numpy"])
