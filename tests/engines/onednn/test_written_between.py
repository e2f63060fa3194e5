"""In TEST a script writes a blob that a fused chain has read, then runs a layer that reads a skipped one besides."""

from __future__ import annotations

import numpy as np
import pytest

from tests.engines.onednn.comparing import conv, forward, inputs, on_both

pytestmark = pytest.mark.usefixtures("device")

SUM = 'layer { name: "s" type: "Eltwise" bottom: "%s" bottom: "%s" top: "s" }\n'


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
@pytest.mark.parametrize("outputs", [3, 16])
def test_a_skipped_blob_is_that_of_the_pass_and_the_other_one_the_scripts(outputs: int, order: tuple[str, str]) -> None:
    """The skipped b is computed from the a of the pass when the sum reads it, which reads the new a besides."""
    text = inputs((2, 3, 4, 4)).replace('"x0"', '"x"') + conv("a", "x", outputs) + conv("b", "a", outputs) + SUM % order
    nets = on_both(text)
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        weights = rng.standard_normal(nets[0].params[name][0].shape)
        for net in nets:
            net.params[name][0].data[...] = weights
    forward(nets, rng.standard_normal((2, 3, 4, 4)))
    written = next(name for name in nets[0].bottom_names_of(nets[0].layer_index("s")) if name.startswith("a"))
    value = rng.standard_normal((2, outputs, 4, 4))
    for net in nets:
        net.blobs[written].data[...] = value
        net.forward(start="s", end="s")
    for name in ("s", "b", written):
        found, expected = (net.blobs[name].peek() for net in nets)
        np.testing.assert_allclose(found, expected, atol=1e-4, err_msg=name)
