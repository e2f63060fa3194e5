"""Surgery on random nets: what must be equal is, in values and gradients, and what is left alone keeps its text.

DRAGON_SURGERY_NETS=N tries N nets.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dragon.bases.batch_statistics import averages
from dragon.bases.layer import TEST, TRAIN
from dragon.errors import UsageError
from dragon.graph.net import Net
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.surgery.builds import check_builds
from dragon.surgery.fold import fold
from dragon.surgery.insert import insert
from dragon.surgery.merge import merge, split
from dragon.surgery.model import Model, read_model
from dragon.surgery.operations import apply
from dragon.surgery.prove import give_arrays
from tests.surgery.random_nets import NormalisedNet

NETS = int(os.environ.get("DRAGON_SURGERY_NETS", "10"))
TOLERANCE = 1e-6  # of the largest value: all is float64
OPERATIONS: dict[str, tuple[Callable[[Model], Model], tuple[int, ...]]] = {
    "merge": (lambda model: merge(model)[0], (TRAIN, TEST)),
    "split": (lambda model: split(model)[0], (TRAIN, TEST)),
    "merge and split": (lambda model: split(merge(model)[0])[0], (TRAIN, TEST)),
    "fold": (lambda model: fold(model)[0], (TEST,)),
    "insert": (lambda model: insert(model, "*", last=True), ()),
    "bias": (lambda model: apply(model, "remove_bias_before_bn"), (TEST,)),
    "move": (lambda model: apply(Model(model.net, source=model.source), "move"), ()),
    "remove": (lambda model: apply(Model(model.net, source=model.source), "remove"), ()),
}


def make(seed: int, folder: Path) -> tuple[NormalisedNet, Model]:
    """A net as it is read from a file, with weights and statistics in float64."""
    net = NormalisedNet(seed)
    (folder / "net.prototxt").write_text(net.text)
    model = read_model(folder / "net.prototxt")
    rng = np.random.default_rng(seed)
    shared: dict[str, Array] = {}
    for phase in (TRAIN, TEST):
        for layer in Net(model.net, phase, engine="numpy").layers:
            if layer.blobs and layer.name not in model.arrays:
                values = [rng.standard_normal(blob.shape) for blob in layer.blobs]
                if averages(layer):
                    at = layer.normalization.blobs
                    assert at.variance is not None
                    values[at.variance] = np.abs(values[at.variance]) + 0.1
                    if at.weight is not None:
                        values[at.weight][...] = rng.choice([1, 999.98])
                names = [spec.name for spec in layer.param.param][: len(values)]
                for k, name in enumerate(names):
                    values[k] = shared.setdefault(name, values[k]) if name else values[k]
                model.arrays[layer.name] = values
    return net, model


def results(model: Model, phase: int, seed: int) -> dict[str, Array]:
    """Outputs of a net, and the gradients of its inputs for random ones of the outputs."""
    net = Net(model.net, phase, dtype=np.float64, engine="numpy", seed=1)
    give_arrays(net, model.arrays, "its shape")
    rng = np.random.default_rng(seed)
    for name in net.inputs:
        net.blobs[name].data[...] = rng.standard_normal(net.blobs[name].shape)
    net.run_forward()
    found = {name: net.blobs[name].peek().copy() for name in sorted(net.outputs)}
    for name, value in found.items():
        net.blobs[name].diff[...] = rng.standard_normal(value.shape)
    net.run_backward()
    return found | {f"gradient of {name}": net.blobs[name].peek_diff().copy() for name in net.inputs}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("seed", range(NETS))
def test_surgery_of_random_nets(seed: int, name: str, tmp_path: Path) -> None:
    net, old = make(seed, tmp_path)
    operation, equal_in = OPERATIONS[name]
    try:
        new = operation(old)
    except UsageError:  # nothing to do
        return
    check_builds(old, new)
    for phase in equal_in:
        before, after = (results(model, phase, seed) for model in (old, new))
        assert before.keys() == after.keys()
        for key, value in before.items():
            scale = np.abs(value).max(initial=1e-6)
            np.testing.assert_allclose(after[key] / scale, value / scale, atol=TOLERANCE, rtol=0, err_msg=key)
    text, edited = new.text()
    assert edited
    (tmp_path / "new.prototxt").write_text(text)
    assert read_model(tmp_path / "new.prototxt").net == new.net
    if name != "move":  # what others move over loses its place
        check_text(net, old, new, text)


def check_text(net: NormalisedNet, old: Model, new: Model, text: str) -> None:
    """What did not change stands where it stood, with its comments."""
    left = [layer for layer in new.net.layer if layer in old.net.layer]
    lines = [line for line in net.lines if parse_text(line, pb.NetParameter()).layer[0] in left]
    places = [text.find(line + "\n") for line in lines]
    assert -1 not in places, lines[places.index(-1)]
    assert places == sorted(places)
    assert text.endswith("# the end\n")
