"""Backward of a net whose forward has not run, and the diffs of parameters that nothing learns."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import dragon
from dragon.bases.layer import find_class
from tests.layers.catalogue import CASES, Case

__all__ = ["BY_TOP", "LEARNING", "backward_agrees", "frozen_text"]

Array = NDArray[Any]
MakeNet = Callable[[str, str], dragon.Net]  # text, engine

# their gradient may be taken from the top, which holds nothing yet, or from the bottom
BY_TOP = ["HardSigmoid 0", "MVN 0", "MVN 1"]
LEARNING = [name for name, case in CASES.items() if re.search("filler|PReLU|Normalize|Scale|Bias|BN|Batch", str(case))]


def backward_agrees(name: str, make: MakeNet, engine: str, tolerance: float) -> None:
    """As scripts do: bottoms and the diffs of the outputs are written, then backward runs. Tops stay as they were."""
    expected, found = _results(CASES[name], make, "numpy"), _results(CASES[name], make, engine)
    for what, value in expected.items():
        assert found[what].shape == value.shape, what
        largest = max(1e-2, float(np.abs(value).max(initial=0)))
        np.testing.assert_allclose(found[what], value, rtol=0, atol=tolerance * largest, err_msg=what)


def _results(case: Case, make: MakeNet, engine: str) -> dict[str, Array]:
    net = make(case.text(), engine)
    node, rng = net.nodes[-1], np.random.default_rng(7)
    for i, blob in enumerate(node.layer.blobs):
        if i not in node.layer.buffers:
            blob.data[...] = np.round(rng.standard_normal(blob.shape) * 64 + 0.5) / 128
    for name, value in case.values().items():
        net.blobs[name].data[...] = value
    for top, weight in zip(node.tops, node.loss_weights, strict=True):
        if not weight:
            top.diff[...] = np.round(rng.standard_normal(top.shape) * 64) / 64
    tops = [top.peek().copy() for top in node.tops]
    net.run_backward()
    for top, before in zip(node.tops, tops, strict=True):
        assert top.shape != before.shape or np.array_equal(top.peek(), before)
    found = {f"diff of {name}": net.blobs[name].peek_diff().copy() for name in net.inputs}
    for i, blob in enumerate(node.layer.blobs):
        found[f"diff of blob {i}"] = blob.peek_diff().copy()
    net.close()
    return found


def frozen_text(case: Case, blobs: int) -> str:
    """The case's layer with all its parameters frozen, above one that learns and below a loss."""
    text = case.text().replace("force_backward: true\n", "")
    layer = text.splitlines()[-1]
    first = 'layer { name: "learns" type: "Scale" bottom: "x0" top: "x" }\n'
    frozen = re.sub(r"propagate_down: (true|false)", "", layer.replace('bottom: "x0"', 'bottom: "x"', 1))
    frozen = frozen.rstrip("}\n ") + "}" * (frozen.count("{") - frozen.rstrip("}\n ").count("}") - 1)
    frozen += " param { lr_mult: 0 }" * blobs + " }\n"
    cls = find_class(case.kind)
    assert cls is not None
    losses = "".join(
        f'layer {{ name: "l{k}" type: "Reduction" bottom: "y{k}" top: "l{k}" loss_weight: 1 }}\n'
        for k in range(0 if cls.is_loss else case.tops)
    )
    return text.replace(layer, first + frozen) + losses
