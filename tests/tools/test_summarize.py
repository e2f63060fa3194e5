"""`dragon summarize`: shapes, parameters and multiply-adds, with the data and without."""

from __future__ import annotations

import re
from pathlib import Path

from dragon.bases.layer import TEST
from dragon.graph.net import Net
from dragon.graph.node import multiply_adds
from dragon.proto import dragon_pb2 as pb
from tests.tools.conftest import Dragon, edit


def test_summarize_without_the_data(work: Path, dragon: Dragon) -> None:
    there = dragon("summarize", "--model", "net.prototxt").out
    edit(work / "net.prototxt", "data/synthetic_test_lmdb", "data/gone_lmdb")
    gone = dragon("summarize", "--model", "net.prototxt")
    assert gone.code == 0
    rows = [line for line in there.splitlines() if line.startswith(("conv ", "bn ", "ip ", "loss "))]
    assert len(rows) == 4
    assert [row for row in rows if " ".join(row.split()) not in " ".join(gone.out.split())] == []
    assert (
        '"data" (Data) is not read; shapes: data 8x3x24x24, label 8 (crop_size; 3 channels, which is a guess)'
        in gone.out
    )
    assert "the data cannot be read: " in gone.out
    grey = dragon("summarize", "--model", "net.prototxt", "--input-shape", "2,1,20,20").out
    assert "batches of 2" in grey
    assert re.search(r"^conv +Convolution +2x4x4x4 .* 5x5 +4 +0$", grey, re.MULTILINE)
    assert "--input-shape takes" in dragon("summarize", "--model", "net.prototxt", "--input-shape", "x").error
    text = (work / "net.prototxt").read_text()
    (work / "net.prototxt").write_text(text.replace("crop_size: 24", ""))
    unknown = dragon("summarize", "--model", "net.prototxt").error
    assert '"data/gone_lmdb" does not exist' in unknown
    assert unknown.endswith("nothing else says the shape of its images: give --input-shape C,H,W")
    wrong = text.replace("crop_size: 24", "").replace("gone", "synthetic_test").replace("backend: LMDB", "")
    (work / "net.prototxt").write_text(wrong)
    assert "set data_param { backend: LMDB }" in dragon("summarize", "--model", "net.prototxt").error


def test_a_warning_about_the_text_stands_once_without_the_data(work: Path, dragon: Dragon) -> None:
    edit(work / "net.prototxt", "data/synthetic_train_lmdb", "data/gone_lmdb")
    edit(work / "net.prototxt", "kernel_size: 5", "kernel_size: 5 engine: MKL2017")
    result = dragon("summarize", "--phase", "train", "--model", "net.prototxt")
    assert result.code == 0, result.err
    assert '"data/gone_lmdb" does not exist' in result.out
    assert result.err.count("it changes no result and is skipped") == 1


def test_summarize_counts_multiply_adds(dragon: Dragon) -> None:
    net = pb.NetParameter(name="n")
    net.layer.add(name="in", type="Input", top=["x"]).input_param.shape.add(dim=[2, 4, 9, 9])
    conv = net.layer.add(name="conv", type="Convolution", bottom=["x"], top=["c"]).convolution_param
    conv.num_output, conv.group, conv.bias_term = 6, 2, False
    conv.kernel_size.append(3)
    up = net.layer.add(name="up", type="Deconvolution", bottom=["c"], top=["u"]).convolution_param
    up.num_output, up.bias_term = 5, False
    up.kernel_size.append(2)
    up.stride.append(2)
    net.layer.add(name="ip", type="InnerProduct", bottom=["u"], top=["y"]).inner_product_param.num_output = 3
    made = Net(net, phase=TEST, engine="numpy")
    conv_macs = 2 * (6 * 7 * 7) * (2 * 3 * 3)  # every output: 2 channels of its group, 3 x 3
    up_macs = 2 * (6 * 7 * 7) * (5 * 2 * 2)  # every input goes into 5 channels of 2 x 2
    ip_macs = 2 * 3 * (5 * 14 * 14)
    assert [multiply_adds(node) for node in made.nodes[:4]] == [0, conv_macs, up_macs, ip_macs]


def test_summarize(work: Path, dragon: Dragon) -> None:
    out = dragon("summarize", "--model", "net.prototxt").out
    macs = 8 * (4 * 5 * 5 * 75 + 1000)
    assert f"{macs:,} forward, {macs // 8:,} for one of 8" in out
    assert re.search(r"^bn +BN +8x4x5x5 +8 \+ 9 ", out, re.MULTILINE)
    assert "1,318 learned, 5.15 KiB; running statistics another 0.04 KiB" in out
    assert 'net "small": 8 layers and 2 added Splits, 1,318 parameters, batches of 8, on synthetic, phase TEST' in out
    assert re.search(r"^ip_ip_0_split +Split \(added\) ", out, re.MULTILINE)
    train = dragon("summarize", "--model", "net.prototxt", "--phase", "train").out
    assert 'net "small": 7 layers, 1,318 parameters, batches of 8, on synthetic, phase TRAIN' in train
    assert "added" not in train


def test_the_net_needs_no_flag(work: Path, dragon: Dragon) -> None:
    assert dragon("summarize", "net.prototxt").out == dragon("summarize", "--model", "net.prototxt").out
    twice = dragon("summarize", "net.prototxt", "--model", "net.prototxt")
    assert (twice.code, "the net is given twice" in twice.error) == (2, True)
    none = dragon("summarize")
    assert (none.code, none.error) == (2, "Missing the net: its prototxt, or the name of one of the zoo.")


def test_one_image_is_not_counted_out(work: Path, dragon: Dragon) -> None:
    one = dragon("summarize", "net.prototxt", "--input-shape", "1,3,24,24").out
    assert re.search(r"^multiply-adds +[\d,]+ forward$", one, re.MULTILINE)
