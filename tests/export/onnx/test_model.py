"""Names, batches, opsets and files of exported nets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dragon.errors import ShapeError, UsageError
from dragon.export.onnx.file import check, write_onnx
from dragon.export.onnx.forms import formed
from dragon.export.onnx.model import NEWEST_OPSET, OLDEST_OPSET, check_types, model_of
from dragon.export.onnx.verify import Difference, choosers, difference, verify
from dragon.export.samples import random_weights
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.proto.text import parse_text
from tests.export.onnx.helpers import agree, filled, reference, run_onnx
from tests.layers.catalogue import CASES

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 7 dim: 6 } } }\n'
CONV = """layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "msra" } } }
"""
X = {"data": np.random.default_rng(1).standard_normal((2, 3, 7, 6))}


def layer(type_: str, bottom: str, top: str, more: str = "") -> str:
    bottoms = " ".join(f'bottom: "{name}"' for name in bottom.split())
    tops = " ".join(f'top: "{name}"' for name in top.split())
    return f'layer {{ name: "{type_.lower()}" type: "{type_}" {bottoms} {tops} {more} }}\n'


def names(model: Any) -> list[str]:
    return [value for node in model.graph.node for value in node.output]


# -- names ----------------------------------------------------------------------------------------------------
def test_a_blob_that_is_changed_in_place_has_its_name_at_the_end() -> None:
    text = (
        INPUT
        + CONV
        + layer("TanH", "conv", "conv")
        + layer("Pooling", "conv", "pool", "pooling_param { kernel_size: 2 }")
    )
    with filled(text, X) as net:
        model = agree(net, X)
    assert names(model) == ["conv/conv", "conv", "pool"]
    assert [node.name for node in model.graph.node] == ["conv", "tanh", "pooling"]
    assert [tensor.name for tensor in model.graph.initializer] == ["conv/weight", "conv/bias"]


def test_dropout_is_gone_and_the_output_has_its_name() -> None:
    for top in ("conv", "dropped"):
        with filled(INPUT + CONV + layer("Dropout", "conv", top), X) as net:
            assert names(agree(net, X)) == [top]


def test_an_output_that_is_an_input_or_another_output() -> None:
    text = INPUT + layer("Split", "data", "a b") + layer("TanH", "a", "c")
    with filled(text, X) as net:
        model = agree(net, X)
    assert [one.name for one in model.graph.output] == ["b", "c"]


@pytest.mark.parametrize("reader", ["", 'layer { name: "abs" type: "AbsVal" bottom: "data" top: "abs" }\n'])
def test_an_output_that_is_an_input_changed_in_place(tmp_path: Path, reader: str) -> None:
    relu = 'layer { name: "relu" type: "ReLU" bottom: "data" top: "data" }\n'
    net = filled(INPUT + relu.replace("relu", "first") + relu + reader, X)
    made = model_of(net)
    assert [one.name for one in made.graph.input] == ["data"]
    assert [one.name for one in made.graph.output] == ["abs" if reader else "data/relu"]
    write_onnx(made, tmp_path / "net.onnx")
    worst = verify(tmp_path / "net.onnx", net)
    assert [(name, one.largest) for name, one in worst.items()] == [("abs" if reader else "data", 0.0)]


def test_layers_that_share_weights_share_a_constant() -> None:
    shared = 'param { name: "w" } convolution_param { num_output: 3 kernel_size: 1 bias_term: false }'
    text = (
        INPUT
        + layer("Convolution", "data", "y", shared)
        + layer("Convolution", "y", "z", shared).replace('name: "convolution"', 'name: "again"')
    )
    with filled(text, X) as net:
        assert len(agree(net, X).graph.initializer) == 1


# -- batches --------------------------------------------------------------------------------------------------
MIXES = {  # layers that put the batch elsewhere, or must know its size
    "LSTM", "Lstm", "RNN", "LSTMUnit", "Reshape 2", "Filter", "BatchReindex", "CTCGreedyDecoder",
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in CASES if name.split()[0] in formed() and name.endswith(" 0")])
def test_a_batch_of_any_size(name: str) -> None:
    case = CASES[name]
    if (
        name.split()[0] in {*MIXES, "ContinuationIndicator", "Silence", "Parameter", "Embed"}
        or len({shape[0] for shape in case.shapes()}) > 1
    ):
        return
    inputs = {key: np.asarray(value) for key, value in case.values().items()}
    with filled(case.text(), inputs) as net:
        try:
            model = model_of(net, dynamic_batch=True)
        except ShapeError:
            assert name.split()[0] in ("Reduction", "Crop", "Flatten", "Permute", "Proposal")
            return
        check(model)
        more = {key: np.concatenate([value, value[:1] * 0.5]) for key, value in inputs.items()}
        found, expected = run_onnx(model, more), reference(net, more)
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-4, atol=1e-4 * float(np.abs(value).max(initial=1e-6)))


def test_the_batch_has_a_name_in_the_file() -> None:
    with filled(INPUT + CONV, X) as net:
        model = agree(net, X, dynamic_batch=True)
    for one in (model.graph.input[0], model.graph.output[0]):
        assert one.type.tensor_type.shape.dim[0].dim_param == "N"


def test_a_batch_that_a_net_fixes_is_said() -> None:
    text = INPUT + layer("Reshape", "data", "y", "reshape_param { shape { dim: 2 dim: 126 } }")
    with filled(text, X) as net, pytest.raises(ShapeError, match="dynamic batch"):
        model_of(net, dynamic_batch=True)


def test_a_batch_that_changes_the_number_of_axes_is_said() -> None:
    text = INPUT.replace("dim: 2", "dim: 1", 1) + layer("Squeeze", "data", "y")
    with Net(parse_text(text, pb.NetParameter()), phase=pb.TEST, engine="numpy") as net:
        assert net.blobs["y"].ndim == 3
        with pytest.raises(ShapeError, match=r'dynamic batch: blob "y" changes .* to another number of axes'):
            model_of(net, dynamic_batch=True)


# -- opsets ---------------------------------------------------------------------------------------------------
def test_a_slice_of_the_batch_has_no_open_batch() -> None:
    net = filled(INPUT + layer("Slice", "data", "a b", "slice_param { axis: 0 slice_point: 1 }"), X)
    with pytest.raises(UsageError, match=r'"slice" \(Slice\) computes with the number of items: leave out'):
        model_of(net, dynamic_batch=True)
    assert net.blobs["b"].shape == (1, 3, 7, 6)


@pytest.mark.parametrize("settings", ["top_k: 2", "out_max_val: true"])
def test_the_largest_over_an_open_batch(settings: str) -> None:
    net = filled(INPUT + layer("ArgMax", "data", "best", f"argmax_param {{ axis: 0 {settings} }}"), X)
    made = model_of(net, dynamic_batch=True)
    for items in (2, 5):
        x = {"data": np.random.default_rng(2).standard_normal((items, 3, 7, 6))}
        np.testing.assert_allclose(run_onnx(made, x)["best"], reference(net, x)["best"], rtol=1e-6)


def test_an_input_without_axes(tmp_path: Path) -> None:
    net = filled(
        INPUT.partition("input_param")[0] + "}" + layer("Power", "data", "y", "power_param { scale: 2 }"),
        {"data": np.array(3.0)},
    )
    with pytest.raises(UsageError, match='dynamic batch: input "data" is a single number'):
        model_of(net, dynamic_batch=True)
    write_onnx(model_of(net), tmp_path / "net.onnx")
    assert verify(tmp_path / "net.onnx", net)["y"].largest < 1e-6


@pytest.mark.parametrize("opset", range(OLDEST_OPSET, NEWEST_OPSET + 1))
def test_every_opset(opset: int) -> None:
    kinds = ("Reduction 3", "MVN 0", "HardSwish 0", "Pooling 2", "Slice 0", "Pad 1", "Interp 0", "ArgMax 2", "BN 0")
    for name in kinds:
        inputs = {key: np.asarray(value) for key, value in CASES[name].values().items()}
        with filled(CASES[name].text(), inputs) as net:
            assert agree(net, inputs, opset=opset).opset_import[0].version == opset


def test_an_opset_out_of_range() -> None:
    with filled(INPUT + CONV, X) as net, pytest.raises(UsageError, match="opset 12 is out of range: 13 to"):
        model_of(net, 12)


# -- what has no form -----------------------------------------------------------------------------------------
def test_layers_without_a_form_are_named_together() -> None:
    text = INPUT + layer("Python", "data", "a") + layer("Sorcery", "data", "b") + CONV
    with pytest.raises(UsageError) as caught:
        check_types(Definition(parse_text(text, pb.NetParameter())))
    message = str(caught.value)
    assert message.startswith("2 layers have no form in ONNX: ")
    assert '"python" (Python) is a program' in message
    assert '"sorcery" (Sorcery) has no form' in message


def test_settings_without_a_form_are_named_with_the_layer() -> None:
    sizes = "dim: 1 dim: 2 dim: 2 dim: 2 dim: 2 dim: 2"
    text = f'layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ {sizes} }} }} }}\n' + layer(
        "Convolution", "x", "y", "convolution_param { num_output: 1 kernel_size: 1 }"
    )
    with (
        Net(parse_text(text, pb.NetParameter()), phase=pb.TEST, engine="numpy") as net,
        pytest.raises(UsageError, match=r'1 layer has no form in ONNX: "convolution" .* slides over 4 axes'),
    ):
        model_of(net)


# -- files ----------------------------------------------------------------------------------------------------
def test_a_layer_in_place_that_changes_another_output_is_refused() -> None:
    split = 'layer { name: "split" type: "Split" bottom: "conv" top: "a" top: "b" }\n'
    net = filled(INPUT + CONV + split + layer("TanH", "b", "b"), X)
    with pytest.raises(UsageError, match=r'layer "tanh" .*: changes blob "a" too'):
        model_of(net)


def test_files_are_equal_byte_for_byte(tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        with filled(INPUT + CONV, X) as net:
            write_onnx(model_of(net), tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_large_weights_have_a_file_of_their_own(tmp_path: Path) -> None:
    import onnxruntime

    with filled(INPUT + CONV, X) as net:
        written = write_onnx(model_of(net), tmp_path / "a.onnx", limit=100)
        expected = reference(net, X)["conv"]
    assert [Path(path).name for path in written] == ["a.onnx", "a.onnx.data"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "a.onnx.data"]
    assert (tmp_path / "a.onnx.data").stat().st_size == 4 * (4 * 27 + 4)
    session = onnxruntime.InferenceSession(str(tmp_path / "a.onnx"), providers=["CPUExecutionProvider"])
    found = session.run(None, {"data": X["data"].astype(np.float32)})[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with filled(INPUT + CONV, X) as net:
        model = model_of(net)
        (tmp_path / "a.onnx").mkdir()
        with pytest.raises(OSError, match=r"a\.onnx"):
            write_onnx(model, tmp_path / "a.onnx")
        with pytest.raises(FileNotFoundError):
            write_onnx(model, tmp_path / "none" / "a.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]


def test_random_weights_keep_values_in_range() -> None:
    text = INPUT + CONV + layer("BN", "conv", "conv") + layer("ReLU", "conv", "conv")
    with Net(parse_text(text, pb.NetParameter()), phase=pb.TEST, engine="numpy") as net:
        random_weights(net)
        assert 0.1 < float(np.abs(net.blobs["conv"].peek()).max()) < 10


def test_random_weights_give_a_softmax_scores_of_the_order_of_1() -> None:
    """A softmax of 0 and 1 is equal in all programs, whatever came before."""
    wide = INPUT + layer("Power", "data", "wide", "power_param { scale: 100 }") + CONV.replace("data", "wide")
    text = wide + layer("Flatten", "conv", "flat") + layer("Softmax", "flat", "prob")
    with Net(parse_text(text, pb.NetParameter()), phase=pb.TEST, engine="numpy") as net:
        random_weights(net)
        assert net.blobs["conv"].peek().std() == pytest.approx(1, abs=0.2)
        assert net.blobs["prob"].peek().max() < 0.5
    with Net(parse_text(wide, pb.NetParameter()), phase=pb.TEST, engine="numpy") as net:
        random_weights(net)
        assert net.blobs["conv"].peek().std() > 50  # no softmax reads it


# -- verification ---------------------------------------------------------------------------------------------
def test_differences() -> None:
    expected = np.array([2.0, -4.0, np.nan, np.inf])
    assert difference(expected.copy(), expected) == Difference(0, 0)
    assert difference(expected + np.array([0, 1, 0, 0]), expected) == Difference(0.25, 0.25)
    for other in (np.array([2.0, -4.0, 0, np.inf]), np.array([2.0, -4.0, np.nan, 1e30])):
        assert difference(other, expected).largest == np.inf
    assert difference(expected[:3], expected) == Difference(np.inf, 1)


def test_layers_that_choose() -> None:
    text = INPUT + layer("Pooling", "data", "y mask", "pooling_param { kernel_size: 2 }") + layer("ArgMax", "y", "z")
    with filled(text + CONV.replace("data", "mask"), X) as net:
        assert choosers(net) == ["pooling", "argmax"]


def test_each_comparison_begins_with_states_of_zeros(tmp_path: Path) -> None:
    inputs = {key: np.asarray(value) for key, value in CASES["LSTM 0"].values().items()}
    with filled(CASES["LSTM 0"].text(), inputs) as net:
        write_onnx(model_of(net), tmp_path / "x.onnx")
        assert max(one.largest for one in verify(tmp_path / "x.onnx", net).values()) < 1e-5
