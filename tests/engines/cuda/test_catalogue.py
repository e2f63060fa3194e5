"""Every layer type in every form of the catalogue, behind layers whose results are on the GPU: the same numbers as on
NumPy in float64, by kernels of ours, and not a value that a training step fetches to the host."""

from __future__ import annotations

import re

import numpy as np
import pytest

from dragon.bases.layer import find_class, layer_types
from dragon.graph.net import Net
from tests.engines.cuda.emulation import standin
from tests.engines.cuda.running import compare, copy_weights, fill, make
from tests.layers import catalogue
from tests.layers.catalogue import CASES, Case

pytestmark = pytest.mark.usefixtures("cuda")

# what still runs array code on the GPU, and why: a type, or "TYPE setting" where it does with that setting
ARRAY_CODE = {
    "ArgMax": "sorts, and nobody trains through it",
    "BN ghost_batch": "its groups have no kernels",
    "BatchNorm ghost_batch": "its groups have no kernels",
    "BatchRenorm": "its corrected statistics have no kernels",
    "LSTM": "a product of matrices for each step of time",
    "LSTMUnit": "one step of an LSTM",
    "RNN": "a product of matrices for each step of time",
    **catalogue.ARRAY_CODE,
}
# what reads or writes data: the host's part of a training step
SOURCES = {
    "AnnotatedData", "Data", "DenseImageData", "DummyData", "HDF5Data", "ImageData", "ImageSegData", "Input",
    "MemoryData", "MultiLabelImageData", "RegionData", "RoIData", "VideoData", "WindowData",
}  # fmt: skip
ELSEWHERE = {"HDF5Output", "Python"}  # on the host, tested with the files and programs that they need


def behind_the_gpu(case: Case) -> str:
    """The case's net, its inputs made anew on the GPU: x0 = h0."""
    text = re.sub(r'name: "x(\d)" type: "Input" top: "x\d"', r'name: "h\1" type: "Input" top: "h\1"', case.text())
    copies = "".join(
        f'layer {{ name: "x{i}" type: "Power" bottom: "h{i}" top: "x{i}" power_param {{ scale: 1 }} }}\n'
        for i in range(len(case.inputs))
    )
    at = text.index('layer { name: "one"')
    return text[:at] + copies + text[at:]


def pass_through(net: Net, case: Case, number: int) -> None:
    fill(net, {name.replace("x", "h"): value for name, value in case.values(number).items()})
    net.clear_param_diffs()
    net.run_forward()
    random = np.random.default_rng(number)
    for name in net.outputs:
        i = next(i for i in range(len(net.layers)) if name in net.top_names_of(i))
        if not any(net.layers[i].loss_weights):
            net.blobs[name].diff[...] = random.standard_normal(net.blobs[name].shape)
    net.run_backward()


def _parts(key: str) -> tuple[str, str, str]:
    return key.partition(" ")


@pytest.mark.parametrize("name", CASES)
def test_case(name: str) -> None:
    case = CASES[name]
    nets = [make(behind_the_gpu(case), engine, dtype=np.float64) for engine in ("numpy", "cuda")]
    copy_weights(*nets)
    for number in range(3):  # as it is, captured, replayed
        for net in nets:
            pass_through(net, case, number)
        compare(nets[1], nets[0], f"pass {number}", 1e-9)
    ours = nets[1]
    note = ours.executor.describe()[-1]
    cls = find_class(case.kind)
    assert cls is not None
    if cls.host_only or case.kind in SOURCES:
        assert note == "host"
        return
    named = any(case.kind == kind and setting in case.settings for kind, _, setting in map(_parts, ARRAY_CODE))
    expected = "array code" if named else "kernels"
    advice = "remove it from ARRAY_CODE" if note == "kernels" else "add it to ARRAY_CODE, or write its kernels"
    assert note == expected, f"{case.kind} runs {note}: {advice}"
    ours.run_forward()
    ours.run_backward()
    standin.counts.clear()
    ours.run_forward()
    ours.run_backward()
    assert standin.counts["to host"] == 0
    assert standin.counts["to host, asynchronous"] <= 2  # the loss, and the faults of labels


def test_every_type_is_there() -> None:
    kinds = {case.kind for case in CASES.values()}
    missing = sorted(set(layer_types()) - kinds - SOURCES - ELSEWHERE)
    assert not missing, f"{', '.join(missing)}: add a row to CATALOGUE in the layer's test, tests/layers/test_NAME.py"


def test_lists_name_types_that_exist() -> None:
    assert {*(_parts(key)[0] for key in ARRAY_CODE), *SOURCES, *ELSEWHERE} <= set(layer_types())
