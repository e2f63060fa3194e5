"""merge, split, fold, recalibrate and lint as commands."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from dragon.bases.layer import TEST
from dragon.files.stored_weights import write_arrays
from dragon.graph.net import Net
from tests.tools.conftest import Dragon, edit

pytestmark = pytest.mark.usefixtures("reference_engine")


def test_merge_split_and_fold(trained: Path, dragon: Dragon) -> None:
    common = ("--model", "net.prototxt", "--weights", "net.caffemodel")
    result = dragon("merge", *common, "--out-model", "m.prototxt", "--out-weights", "m.caffemodel")
    assert result.code == 0, result.err
    assert result.out.splitlines()[0] == "merged 1: bn"
    assert "proved: " in result.out
    assert Net("m.prototxt", "m.caffemodel", TEST).layer_dict["bn"].type == "BN"
    result = dragon(
        "split", "--caffe", "--model", "m.prototxt", "--weights", "m.caffemodel", "--shape", "3,3,24,24",
        "--out-model", "s.prototxt", "--out-weights", "s.caffemodel",
    )  # fmt: skip
    assert result.code == 0, result.err
    back = Net("s.prototxt", "s.caffemodel", TEST)
    np.testing.assert_array_equal(back.params["scale"][1].data, [1, 0, -1, 2])
    result = dragon("fold", *common, "--out-model", "f.prototxt", "--out-weights", "f.caffemodel")
    assert result.out.splitlines()[0] == "folded bn into conv"
    assert "bn" not in Net("f.prototxt", "f.caffemodel", TEST).layer_dict


def test_show_measures_what_train_has(trained: Path, dragon: Dragon) -> None:
    extra = 'layer { name: "late" type: "BN" bottom: "data" top: "late" include { phase: TEST } }'
    path = trained / "net.prototxt"
    path.write_text(path.read_text() + extra)
    Net("net.prototxt", "net.caffemodel", TEST).save("more.caffemodel")
    result = dragon("bn", "show", "--model", "net.prototxt", "--weights", "more.caffemodel", "--batches", "2")
    rows = {line.split()[0]: line.split() for line in result.out.splitlines() if line}
    assert (result.code, rows["late"][-3:]) == (0, ["-", "-", rows["late"][-1]]), result.err
    assert "-" not in rows["bn"]


def test_weights_in_several_files(trained: Path, dragon: Dragon) -> None:
    net = Net("net.prototxt", "net.caffemodel", TEST)
    arrays = {name: [blob.peek() for blob in blobs] for name, blobs in net.params.items()}
    write_arrays("a.h5", net.param, {"conv": arrays["conv"], "bn": [0 * blob for blob in arrays["bn"]]})
    write_arrays("b.h5", net.param, {name: blobs for name, blobs in arrays.items() if name != "conv"})
    common = ("merge", "--model", "net.prototxt", "--out-weights")
    assert dragon(*common, "one.caffemodel", "--weights", "net.caffemodel").code == 0
    result = dragon(*common, "two.caffemodel", "--weights", "a.h5,b.h5")
    assert (result.code, "the weights have none" in result.out) == (0, False), result.err
    assert Path("one.caffemodel").read_bytes() == Path("two.caffemodel").read_bytes()
    assert "gone.h5: no such weights file" in dragon(*common, "x.h5", "--weights", "a.h5,gone.h5").error


def test_split_for_caffe_names_what_caffe_lacks(trained: Path, dragon: Dragon) -> None:
    edit(
        trained / "net.prototxt",
        'name: "small"',
        """name: "small"
      layer { name: "x" type: "DummyData" top: "x" dummy_data_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } } }
      layer { name: "m" type: "Mish" bottom: "x" top: "m" } layer { name: "b" type: "BN" bottom: "m" top: "b" }""",
    )
    split = ("split", "--model", "net.prototxt", "--out-model", "s.prototxt")
    told = 'Caffe does not read all of "m" (Mish): dragon export --caffe replaces what it can'
    assert told in dragon(*split, "--caffe").out.splitlines()
    assert "Caffe" not in dragon(*split).out


def test_nothing_is_written_when_there_is_nothing_to_do(trained: Path, dragon: Dragon) -> None:
    result = dragon("split", "--model", "net.prototxt", "--out-model", "x.prototxt")
    assert result.error == 'net "small" has no BN with running statistics: nothing to split'
    assert not (trained / "x.prototxt").exists()
    assert "nothing to write" in dragon("merge", "--model", "net.prototxt").error
    assert "--out-weights needs" in dragon("merge", "--model", "net.prototxt", "--out-weights", "x").error


def test_weights_of_the_zoo(work: Path, dragon: Dragon) -> None:
    common = ("--model", "mnist_sigmoid_3x100_bn", "--shape", "4,1,28,28", "--batches", "1")
    result = dragon("split", *common, "--out-weights", "split.caffemodel")
    assert result.code == 0, result.err
    assert "proved: " in result.out
    assert (work / "split.caffemodel").is_file()
    result = dragon("fold", *common, "--out-model", "folded.prototxt")
    assert result.code == 0, result.err
    assert "no weights of" in dragon("merge", "--model", "vgg16", "--out-weights", "x.caffemodel").error


def test_stages_choose_the_layers_that_run(work: Path, dragon: Dragon) -> None:
    """As DIGITS writes its nets: layers that read data are told apart by stages alone."""
    sources = "".join(
        f"""layer {{ name: "{stage}" type: "DummyData" top: "data" include {{ stage: "{stage}" }} dummy_data_param {{
          shape {{ dim: 4 dim: 2 dim: 5 dim: 5 }} data_filler {{ type: "gaussian" std: {std} }} }} }}\n"""
        for stage, std in (("train", 1), ("deploy", 2))
    )
    net = """layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 3
        kernel_size: 3 weight_filler { type: "xavier" } } }
      layer { name: "bn" type: "BN" bottom: "conv" top: "conv" }\n"""
    Path("net.prototxt").write_text(sources + net)
    made = Net("net.prototxt", TEST, stages=["train"], seed=1)
    made.save("net.caffemodel")
    common = ("--model", "net.prototxt", "--weights", "net.caffemodel")
    written = ("--out-model", "o.prototxt", "--out-weights", "o.caffemodel")
    assert 'include { stage: "train" }' in dragon("fold", *common, *written).error
    for command in (("fold",), ("split",), ("bn", "remove")):
        result = dragon(*command, *common, *written, "--stage", "deploy")
        assert (result.code, "proved: " in result.out) == (0, True), result.err
        assert Path("o.prototxt").read_text().startswith(sources), "both stages are left in"
    plain = ("bn", "insert", "--model", "o.prototxt", "--weights", "o.caffemodel", "--stage", "train", "--last")
    assert dragon(*plain, "--out-model", "back.prototxt").code == 0
    exact = ("recalibrate", *common, "--batches", "20", "--stage")
    spread = []
    for stage in ("train", "deploy"):
        assert dragon(*exact, stage, "--out-weights", f"{stage}.caffemodel").code == 0
        spread.append(Net("net.prototxt", f"{stage}.caffemodel", TEST, stages=["train"]).params["bn"][3].data)
    np.testing.assert_allclose(spread[1] / spread[0], 4, rtol=0.2)
    shown = dragon("bn", "show", "--model", "net.prototxt", "--weights", "train.caffemodel", "--batches", "2",
                   "--stage", "train")  # fmt: skip
    assert shown.code == 0, shown.err


def test_layers_that_the_weights_lack_are_named(trained: Path, dragon: Dragon) -> None:
    net = Net("net.prototxt", "net.caffemodel", TEST)
    arrays = {name: [blob.peek() for blob in blobs] for name, blobs in net.params.items()}
    write_arrays("part.h5", net.param, {"conv": arrays["conv"]})
    result = dragon("merge", "--model", "net.prototxt", "--weights", "part.h5", "--out-model", "m.prototxt")
    assert result.code == 0, result.err
    names = ", ".join(f'"{name}"' for name in arrays if name != "conv")
    assert f"net.prototxt: the weights have none for {names}: the proof takes what the fillers give" in result.out
    for blob in net.params["bn"]:
        blob.data[...] = np.nan
    net.save("nan.caffemodel")
    result = dragon("merge", "--model", "net.prototxt", "--weights", "nan.caffemodel", "--out-model", "m.prototxt")
    assert "net.prototxt: both nets give NaN or infinity alone in " in result.out
    assert (
        "4 dead, its mean, variance, gamma or beta is NaN or infinite: channel 0, 1, 2, 3"
        in dragon("bn", "show", "--model", "net.prototxt", "--weights", "nan.caffemodel").out
    )


def test_a_shape_is_advised_where_it_helps(trained: Path, dragon: Dragon) -> None:
    common = ("merge", "--model", "net.prototxt", "--weights", "net.caffemodel", "--out-model", "m.prototxt")
    edit(trained / "net.prototxt", 'source: "', 'source: "missing/')
    advised = dragon(*common)
    assert (advised.code, "--shape N,C,H,W" in advised.error) == (2, True)
    assert dragon(*common, "--shape", "3,3,24,24").code == 0
    edit(trained / "net.prototxt", 'type: "Convolution" bottom: "data"', 'type: "Convolution" bottom: "gone"')
    other = dragon(*common, "--shape", "3,3,24,24")
    assert (other.code, "--shape" in other.error) == (2, False)


def test_recalibrate(trained: Path, dragon: Dragon) -> None:
    common = ("--model", "net.prototxt", "--weights", "net.caffemodel")
    result = dragon("recalibrate", *common, "--out", "exact.caffemodel")
    assert result.code == 0, result.err
    assert "statistics of 7 batches of 8" in result.out
    exact, old = Net("net.prototxt", "exact.caffemodel", TEST), Net("net.prototxt", "net.caffemodel", TEST)
    assert exact.params["bn"][2].data[0] == 1
    assert not np.allclose(exact.params["bn"][0].data, old.params["bn"][0].data)
    np.testing.assert_array_equal(exact.params["conv"][0].data, old.params["conv"][0].data)


@pytest.mark.parametrize("end", ["caffemodel", "h5", "safetensors"])
def test_recalibrate_keeps_the_weights_of_layers_that_only_test_has(trained: Path, dragon: Dragon, end: str) -> None:
    extra = """layer { name: "extra" type: "InnerProduct" bottom: "data" top: "extra" include { phase: TEST }
      inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }"""
    path = trained / "net.prototxt"
    path.write_text(path.read_text() + extra)
    net = Net("net.prototxt", "net.caffemodel", TEST, seed=1)
    net.save("more.caffemodel")
    common = ("--model", "net.prototxt", "--weights", "more.caffemodel", "--batches", "2", "--test-batches", "0")
    assert dragon("recalibrate", *common, "--out", f"exact.{end}").code == 0
    exact = Net("net.prototxt", f"exact.{end}", TEST, seed=2)
    for name in ("extra", "conv"):
        np.testing.assert_array_equal(exact.params[name][0].data, net.params[name][0].data)
    assert not np.allclose(exact.params["bn"][0].data, net.params["bn"][0].data)


def test_recalibrate_keeps_what_a_layer_of_test_shares(trained: Path, dragon: Dragon) -> None:
    """From a file as Caffe writes it, which has the shared blob with the first of its layers alone."""
    path = trained / "net.prototxt"
    for name, include in {"first": "", "late": "include { phase: TEST }"}.items():
        extra = f"""layer {{ name: "{name}" type: "InnerProduct" bottom: "data" top: "{name}" {include}
          param {{ name: "w" }} inner_product_param {{ num_output: 2 weight_filler {{ type: "xavier" }} }} }}"""
        path.write_text(path.read_text() + extra)
    net = Net("net.prototxt", "net.caffemodel", TEST, seed=1)
    net.params["late"][1].data[...] = [5, 7]
    net.save("more.h5")
    with h5py.File("more.h5", "a") as file:
        del file["data/late/0"]
    common = ("--model", "net.prototxt", "--weights", "more.h5", "--batches", "2", "--test-batches", "0")
    assert dragon("recalibrate", *common, "--out", "exact.caffemodel").code == 0
    exact = Net("net.prototxt", "exact.caffemodel", TEST, seed=2)
    for ours, its in zip(exact.params["late"], net.params["late"], strict=True):
        np.testing.assert_array_equal(ours.data, its.data)


def test_recalibrate_says_which_variance(trained: Path, dragon: Dragon) -> None:
    common = ("recalibrate", "--model", "net.prototxt", "--weights", "net.caffemodel", "--out")
    pooled, batches = dragon(*common, "p.h5"), dragon(*common, "b.h5", "--variance", "batches")
    assert pooled.out.splitlines()[-1].endswith("; variance pooled over all values")
    assert batches.out.splitlines()[-1].endswith("; variance the mean of the batches' variances")
    first, second = (Net("net.prototxt", weights, TEST).params["bn"] for weights in ("p.h5", "b.h5"))
    np.testing.assert_array_equal(first[0].data, second[0].data)
    assert (first[1].data > second[1].data).all()


def test_surgery_writes_hdf5(trained: Path, dragon: Dragon) -> None:
    common = ("--model", "net.prototxt", "--weights", "net.caffemodel", "--out-model", "m.prototxt")
    assert dragon("merge", *common, "--out-weights", "m.caffemodel").code == 0
    assert dragon("merge", *common, "--out-weights", "m.h5").code == 0
    first, second = (Net("m.prototxt", weights, TEST).params for weights in ("m.caffemodel", "m.h5"))
    assert list(first) == list(second)
    for name, blobs in first.items():
        for mine, its in zip(blobs, second[name], strict=True):
            np.testing.assert_array_equal(mine.data, its.data)
    back = ("--model", "m.prototxt", "--weights", "m.h5", "--out-weights", "s.hdf5", "--out-model", "s.prototxt")
    assert dragon("split", *back).code == 0
    assert Net("s.prototxt", "s.hdf5", TEST).params["bn"][0].shape == (4,)


def test_lint(work: Path, dragon: Dragon) -> None:
    result = dragon("lint", "net.prototxt")
    assert (result.code, result.out) == (0, "nothing found\n")
    edit(work / "net.prototxt", "bias_term: false", "")
    result = dragon("lint", "net.prototxt")
    assert result.code == 1
    assert result.out.startswith('net.prototxt:13: layer "conv" (Convolution): "bn" subtracts the mean')
    edit(work / "net.prototxt", "data/synthetic_test_lmdb", "data/none")
    assert 'source "data/none" does not exist' in dragon("lint", "net.prototxt").out


@pytest.mark.parametrize("shape", ["1,2,3", "104,117,123", "2,3", "1,3,9,9", "1,1,1,1,1,1,1,1,1,1,1,1"])
@pytest.mark.parametrize("command", ["merge", "fold"])
def test_a_shape_for_another_net(trained: Path, dragon: Dragon, command: str, shape: str) -> None:
    common = ("--model", "net.prototxt", "--weights", "net.caffemodel", "--out-model", "m.prototxt")
    result = dragon(command, *common, "--shape", shape)
    assert result.code == 2
    assert "layer" in result.error
    assert "a fault in Dragon" not in result.error
    assert not (trained / "m.prototxt").exists()
