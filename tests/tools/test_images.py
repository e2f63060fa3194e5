"""convert-imageset, compute-image-mean, classify and detect, on image files."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from dragon.bases.layer import TEST
from dragon.data import LevelDbReader, LmdbReader, decode_batch, read_mean
from dragon.graph.net import Net
from dragon.models.facts import ROOT
from dragon.proto import dragon_pb2 as pb
from dragon.pycaffe.io import load_image
from dragon.tools.common.box_pictures import class_colour
from tests.tools.conftest import Dragon

DEPLOY = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" pooling_param { pool: AVE global_pooling: true } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip" inner_product_param {
  num_output: 3 bias_term: false } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""
COLOURS = {"red": (250, 5, 5), "green": (5, 250, 5), "blue": (5, 5, 250)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three pictures, their list, and a net that tells their colours; blue first, as Caffe's nets see them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRAGON_ENGINE", "numpy")
    (tmp_path / "im").mkdir()
    lines = []
    for i, (name, colour) in enumerate(COLOURS.items()):
        pixels = np.full((10, 20, 3), colour, np.uint8)
        pixels[:, 10:] //= 2
        PIL.Image.fromarray(pixels).save(tmp_path / "im" / f"{name} one.png")
        lines.append(f"{name} one.png {i}\n")
    (tmp_path / "list.txt").write_text("".join(lines))
    (tmp_path / "deploy.prototxt").write_text(DEPLOY)
    (tmp_path / "words.txt").write_text("BLUE\nGREEN\nRED\n")
    net = Net("deploy.prototxt", TEST)
    net.params["ip"][0].data[...] = np.eye(3) * 0.1
    net.save("net.caffemodel")
    return tmp_path


def records(path: str) -> list[bytes]:
    with LmdbReader(path) as reader:
        return reader.read(len(reader))


def test_pixels_are_stored_blue_first(folder: Path, dragon: Dragon) -> None:
    result = dragon("convert_imageset", "im/", "list.txt", "db")
    assert (result.code, result.out) == (0, "db: 3 images\n")
    images, labels = decode_batch(records("db"))
    assert labels.tolist() == [0, 1, 2]
    assert [image[:, 0, 0].tolist() for image in images] == [[5, 5, 250], [5, 250, 5], [250, 5, 5]]
    assert images[0].shape == (3, 10, 20)


def test_resized_gray_and_shuffled(folder: Path, dragon: Dragon) -> None:
    args = ("convert-imageset", "im", "list.txt")
    dragon(*args, "db", "--resize_height=5", "--resize_width=4", "--gray", "--shuffle", "--seed", "3")
    dragon(*args, "db2", "--resize_height=5", "--resize_width=4", "--gray", "--shuffle", "--seed", "3")
    images, labels = decode_batch(records("db"))
    assert np.asarray(images).shape == (3, 1, 5, 4)
    assert sorted(labels.tolist()) == [0, 1, 2]
    assert records("db") == records("db2")
    orders = set()
    for seed in range(6):
        dragon(*args, f"s{seed}", "--shuffle", "--seed", str(seed))
        orders.add(tuple(decode_batch(records(f"s{seed}"))[1].tolist()))
    assert len(orders) > 1


def test_encoded_files_are_kept_as_they_are_or_made_anew(folder: Path, dragon: Dragon) -> None:
    dragon("convert-imageset", "im", "list.txt", "kept", "--encoded")
    datum = pb.Datum.FromString(records("kept")[0])
    assert datum.encoded
    assert datum.data == (folder / "im" / "red one.png").read_bytes()
    dragon("convert-imageset", "im", "list.txt", "jpg", "--encode-type", "jpg")
    datum = pb.Datum.FromString(records("jpg")[0])
    assert datum.data[:2] == b"\xff\xd8"
    image = decode_batch(records("jpg"))[0][0]
    np.testing.assert_allclose(image[:, 2, 2], [5, 5, 250], atol=12)


def test_samples_of_shards_and_of_parquet_files_become_records(folder: Path, dragon: Dragon) -> None:
    red = (folder / "im" / "red one.png").read_bytes()
    with tarfile.open("train-000000.tar", "w") as tar:
        for name, content in (("a.png", red), ("a.cls", b"2"), ("b.png", b"no image"), ("b.cls", b"1")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    result = dragon("convert-imageset", "--samples", "train-000000.tar", "db")
    assert result.error.startswith("train-000000.tar: b: the encoded image cannot be read: it is a text file")
    assert not Path("db").exists()
    result = dragon("convert-imageset", "--samples", "train-000000.tar", "db", "--skip-unreadable", "--encoded")
    assert result.out == "db: 1 images, 1 skipped\n"
    datum = pb.Datum.FromString(records("db")[0])
    assert (datum.data, datum.label, datum.height, datum.width) == (red, 2, 10, 20)
    parquet = pytest.importorskip("pyarrow.parquet")
    pa = pytest.importorskip("pyarrow")
    parquet.write_table(pa.table({"image": [red, red], "label": ["dog", "cat"]}), "x.parquet")
    assert dragon("convert-imageset", "--samples", "x.parquet", "db2").out == "db2: 2 images of 2 classes\n"
    images, labels = decode_batch(records("db2"))
    assert labels.tolist() == [1, 0]
    assert images[0][:, 0, 0].tolist() == [5, 5, 250]
    assert Path("db2.classes.txt").read_text() == "cat\ndog\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--samples", "im", "list.txt", "db"), "--samples takes ROOT and DB, without a list"),
        (("--samples", "--shuffle", "im", "db"), "--shuffle is for lists and folders"),
        (("--split", "train", "im", "list.txt", "db"), "--split is for --samples"),
        (("--samples", "im", "db"), '"im" has no file of these kinds: .parquet, .arrow'),
        (("--samples", "none", "db"), '"none" does not exist'),
    ],
)
def test_wrong_use_of_samples(folder: Path, dragon: Dragon, args: tuple[str, ...], message: str) -> None:
    result = dragon("convert-imageset", *args)
    assert result.code == 2
    assert message in result.error


def test_a_leveldb_holds_the_same_records(folder: Path, dragon: Dragon) -> None:
    pytest.importorskip("plyvel", reason="plyvel-ci is not installed")
    dragon("convert-imageset", "im", "list.txt", "lmdb")
    assert dragon("convert-imageset", "im", "list.txt", "level", "--backend", "leveldb").out == "level: 3 images\n"
    reader = LevelDbReader("level")
    assert reader.read(3) == records("lmdb")
    reader.close()
    assert dragon("compute-image-mean", "level", "mean.binaryproto", "--backend", "leveldb").code == 0


def test_faults_of_lists_name_the_line(folder: Path, dragon: Dragon) -> None:
    (folder / "bad.txt").write_text("red one.png 0\nmissing.png 1\n")
    result = dragon("convert-imageset", "im", "bad.txt", "db")
    assert result.error == "bad.txt:2: missing.png: cannot be read: No such file or directory"
    assert not (folder / "db").exists()
    result = dragon("convert-imageset", "im", "bad.txt", "db", "--skip-unreadable")
    assert result.out == "db: 1 images, 1 skipped\n"
    (folder / "bad.txt").write_text("red one.png\n")
    assert 'bad.txt:1: expected "path label"' in dragon("convert-imageset", "im", "bad.txt", "x").error
    PIL.Image.new("RGB", (3, 3)).save(folder / "im" / "small.png")
    (folder / "bad.txt").write_text("red one.png 0\nsmall.png 1\n")
    result = dragon("convert-imageset", "im", "bad.txt", "x", "--check-size")
    assert "bad.txt:2: small.png: has shape (3, 3, 3), the first image (3, 10, 20)" in result.error
    assert "exists already" in dragon("convert-imageset", "im", "list.txt", "db").error
    assert "both --resize-height" in dragon("convert-imageset", "im", "list.txt", "x", "--resize-height", "3").error


@pytest.mark.parametrize(
    ("root", "name"),
    [
        ("im", "/red one.png"),
        ("im/", "/red one.png"),
        ("im/", "red one.png"),
        ("im", "red one.png"),
        ("im/red", "one.png"),
    ],
)
def test_root_and_name_are_joined_as_text(folder: Path, dragon: Dragon, root: str, name: str) -> None:
    """As in Caffe, where "/a.png" below "im" is im/a.png; a root without its last slash is forgiven."""
    shutil.copyfile(folder / "im" / "red one.png", folder / "im" / "redone.png")
    (folder / "one.txt").write_text(f"{name} 7\n")
    assert dragon("convert_imageset", root, "one.txt", "db").out == "db: 1 images\n"
    assert decode_batch(records("db"))[1].tolist() == [7]


@pytest.mark.parametrize("label", [2**31, -(2**31) - 1, 3_000_000_000, 10**30])
def test_labels_out_of_range_name_the_line(folder: Path, dragon: Dragon, label: int) -> None:
    (folder / "bad.txt").write_text(f"red one.png 0\nred one.png {label}\n")
    result = dragon("convert-imageset", "im", "bad.txt", "db")
    assert (result.code, result.error) == (
        2, f"bad.txt:2: label {label} is out of range, -2147483648 to 2147483647",
    )  # fmt: skip
    assert not (folder / "db").exists()


def test_flags_as_caffe_writes_them(folder: Path, dragon: Dragon) -> None:
    line = ["convert_imageset", "--gray=true", "-shuffle=1", "-noshuffle", "--backend", "LMDB", "-check_size=no"]
    assert dragon(*line, "im/", "list.txt", "db").code == 0
    images, labels = decode_batch(records("db"))
    assert (images[0].shape, labels.tolist()) == ((1, 10, 20), [0, 1, 2])


def test_compute_image_mean(folder: Path, dragon: Dragon) -> None:
    dragon("convert-imageset", "im", "list.txt", "db")
    result = dragon("compute-image-mean", "db", "mean.binaryproto")
    assert result.out.splitlines()[0] == "db: 3 images of 3 x 10 x 20, mean written to mean.binaryproto"
    expected = (250 + 5 + 5) / 3, (125 + 2 + 2) / 3
    mean = read_mean("mean.binaryproto")
    np.testing.assert_allclose(mean[:, :, :10], expected[0], rtol=1e-5)
    assert result.out.splitlines()[1] == f"mean_value channel 0: {sum(expected) / 2:.3f}"
    dragon("compute-image-mean", "db", "mean.npy")
    np.testing.assert_array_equal(np.load("mean.npy"), mean)
    assert "does not exist" in dragon("compute-image-mean", "nowhere").error


def test_classify(folder: Path, dragon: Dragon) -> None:
    args = ("--model", "deploy.prototxt", "--weights", "net.caffemodel", "--labels", "words.txt")
    result = dragon("classify", *args, "--top", "2", "--out", "s.npy", "im/red one.png", "im/blue one.png")
    lines = result.out.splitlines()
    assert (lines[0], lines[3]) == ("im/red one.png", "im/blue one.png")
    assert (lines[1].split()[1], lines[4].split()[1]) == ("RED", "BLUE")
    assert len(lines) == 6
    scores = np.load("s.npy")
    np.testing.assert_allclose(scores.sum(1), 1, rtol=1e-5)
    assert scores.argmax(1).tolist() == [2, 0]
    crops = dragon("classify", *args, "--oversample", "--resize", "10,20", "--mean", "100", "im/green one.png")
    assert crops.out.splitlines()[1].split()[1] == "GREEN"


@pytest.mark.parametrize("command", ["classify", "detect"])
def test_labels_of_another_net(folder: Path, dragon: Dragon, command: str) -> None:
    (folder / "w.csv").write_text("filename,ymin,xmin,ymax,xmax\nim/red one.png,0,0,8,8\n")
    what = "im/red one.png" if command == "classify" else "w.csv"
    args = (command, what, "--model", "deploy.prototxt", "--weights", "net.caffemodel", "--labels", "l.txt")
    (folder / "l.txt").write_text("\n".join(map(str, range(40))))
    result = dragon(*args)
    assert (result.code, result.out) == (2, "")
    assert result.error == "l.txt has 40 lines, the net 3 classes: the names are those of another net"
    (folder / "l.txt").write_text("a\nb\n")
    result = dragon(*args)
    assert (result.code, result.err) == (0, "dragon: warning: l.txt has 2 lines, the net 3 classes\n")
    (folder / "l.txt").write_text("BLUE\nGREEN\nRED\n\n\n")
    assert dragon(*args).err == ""
    (folder / "l.txt").write_text("\n")
    assert dragon(*args).error == "l.txt: expected names of classes, one a line; it holds none"
    (folder / "l.txt").write_bytes((folder / "im" / "red one.png").read_bytes())
    assert dragon(*args).error == "l.txt: expected names of classes, one a line; this is a PNG image"
    (folder / "l.txt").write_bytes("caf\xe9\nb\nc\n".encode("latin-1"))
    assert dragon(*args).code == 0


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--mean missing.binaryproto", "mean file missing.binaryproto does not exist"),
        ("--mean 104,x,3", "mean file 104,x,3 does not exist, and is not a list of numbers such as 104,117,123"),
        ("--mean deploy.prototxt", "mean file deploy.prototxt: not a .binaryproto file"),
        (
            "--channel-swap nan,nan",
            '--channel-swap names each channel once, counted from 0, such as 2,1,0; got "nan,nan"',
        ),
        ("--channel-swap inf", 'got "inf"'),
        ("--channel-swap 0,0,1", 'got "0,0,1"'),
        ("--channel-swap 1.5,0", 'got "1.5,0"'),
        ("--channel-swap 1,0", "--channel-swap names 2 channels, the net's input has 3"),
        ("--mean 1,2,3,4", "--mean of shape (4,) for 3 channels: "),
    ],
)
@pytest.mark.parametrize("command", ["classify", "detect"])
def test_flags_of_images(folder: Path, dragon: Dragon, command: str, flags: str, words: str) -> None:
    (folder / "w.csv").write_text("filename,ymin,xmin,ymax,xmax\nim/red one.png,0,0,8,8\n")
    what = "im/red one.png" if command == "classify" else "w.csv"
    result = dragon(command, what, "--model", "deploy.prototxt", "--weights", "net.caffemodel", *flags.split())
    assert result.code == 2
    assert words in result.error


def test_classify_says_what_is_wrong(folder: Path, dragon: Dragon) -> None:
    args = ("--model", "deploy.prototxt", "--weights", "net.caffemodel")
    assert "nope.png cannot be read" in dragon("classify", *args, "nope.png").error
    assert "Mean channels" in dragon("classify", *args, "--mean", "1,2", "im/red one.png").error
    assert "mean file m.npy does not exist" in dragon("classify", *args, "--mean", "m.npy", "im/red one.png").error
    assert "--resize takes height,width" in dragon("classify", *args, "--resize", "3", "im/red one.png").error
    (folder / "words.txt").write_text("one\n")
    result = dragon("classify", *args, "--labels", "words.txt", "im/red one.png")
    assert "words.txt has 1 lines, the net 3 classes" in result.err
    assert "class 2" in result.out


def test_means_that_are_no_arrays_of_numbers(folder: Path, dragon: Dragon) -> None:
    args = (
        "classify",
        "im/red one.png",
        "--model",
        "deploy.prototxt",
        "--weights",
        "net.caffemodel",
        "--mean",
        "m.npy",
    )
    (folder / "m.npy").write_bytes(np.random.default_rng(1).bytes(1000))
    assert dragon(*args).error == "mean file m.npy: expected a .npy file of NumPy's, this is something else"
    (folder / "m.npy").write_bytes(b"")
    assert dragon(*args).error == "mean file m.npy: expected a .npy file of NumPy's, this is an empty file"
    (folder / "m.npy").write_bytes((folder / "im" / "red one.png").read_bytes())
    assert dragon(*args).error == "mean file m.npy: expected a .npy file of NumPy's, this is a PNG image"
    np.save("m.npy", np.array([{}, None], object))
    assert dragon(*args).error == "mean file m.npy: holds no array of real numbers"
    np.save("m.npy", np.full(3, 1j))
    assert dragon(*args).error == "mean file m.npy: holds no array of real numbers"


def test_detect(folder: Path, dragon: Dragon) -> None:
    (folder / "w.csv").write_text("filename,ymin,xmin,ymax,xmax\nim/red one.png,0,0,10,10\nim/blue one.png,2,2,9,9\n")
    args = ("--model", "deploy.prototxt", "--weights", "net.caffemodel", "--labels", "words.txt")
    result = dragon("detect", "w.csv", *args, "--context-pad", "1", "--out", "scores.csv")
    assert [line.split()[-1] for line in result.out.splitlines()] == ["RED", "BLUE"]
    table = (folder / "scores.csv").read_text().splitlines()
    assert table[0] == "filename,ymin,xmin,ymax,xmax,BLUE,GREEN,RED"
    assert table[1].startswith("im/red one.png,0.0,0.0,10.0,10.0,")
    assert float(table[1].split(",")[-1]) > 0.9


BOXES = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" pooling_param { pool: AVE kernel_size: 4 stride: 4 } }
layer { name: "prior" type: "PriorBox" bottom: "pool" bottom: "data" top: "prior" prior_box_param { min_size: 4 } }
layer { name: "loc" type: "Convolution" bottom: "pool" top: "loc" convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "conf" type: "Convolution" bottom: "pool" top: "conf" convolution_param { num_output: 3 kernel_size: 1 } }
layer { name: "loc_perm" type: "Permute" bottom: "loc" top: "loc_perm" permute_param {
  order: 0 order: 2 order: 3 order: 1 } }
layer { name: "conf_perm" type: "Permute" bottom: "conf" top: "conf_perm" permute_param {
  order: 0 order: 2 order: 3 order: 1 } }
layer { name: "loc_flat" type: "Flatten" bottom: "loc_perm" top: "loc_flat" }
layer { name: "conf_flat" type: "Flatten" bottom: "conf_perm" top: "conf_flat" }
layer { name: "found" type: "DetectionOutput" bottom: "loc_flat" bottom: "conf_flat" bottom: "prior" top: "found"
  detection_output_param { num_classes: 3 confidence_threshold: 0.5 nms_param { nms_threshold: 0.4 } } }
"""


def boxes_net(bright: float) -> tuple[str, ...]:
    """A net that finds what is bright, of class 1 where red and of class 2 where blue; its flags."""
    Path("boxes.prototxt").write_text(BOXES)
    net = Net("boxes.prototxt", TEST)
    net.params["conf"][0].data[...] = np.array([[0, 0, 0], [0, 0, 1], [1, 0, 0]], float).reshape(3, 3, 1, 1) * bright
    net.save("boxes.caffemodel")
    return ("--model", "boxes.prototxt", "--weights", "boxes.caffemodel")


def test_detect_prints_the_boxes_that_a_net_finds_itself(folder: Path, dragon: Dragon) -> None:
    """The left half of each picture, 10 high and 20 wide, is bright; the net has boxes of half its input's side."""
    args = boxes_net(1 / 400)
    (folder / "w3.txt").write_text("none\nRED\nBLUE\n")
    result = dragon("detect", "im/red one.png", *args, "--labels", "w3.txt", "--out", "boxes.csv")
    lines = result.out.splitlines()
    assert [line.split("  ")[0].rsplit(" ", 1)[1] for line in lines] == ["0.0,0.0,5.0,10.0", "5.0,0.0,10.0,10.0"]
    assert [line.split()[-1] for line in lines] == ["RED", "RED"]
    table = (folder / "boxes.csv").read_text().splitlines()
    assert table[0] == "filename,ymin,xmin,ymax,xmax,label,score"
    assert table[1].startswith("im/red one.png,0,0,5,10,1,0.6")
    # two windows of two pictures: places count from the picture's corner, not from the window's
    (folder / "w.csv").write_text("filename,ymin,xmin,ymax,xmax\nim/blue one.png,2,4,10,20\nim/red one.png,0,0,10,20\n")
    lines = dragon("detect", "w.csv", *args).out.splitlines()
    assert lines[0].startswith("im/blue one.png 2.0,4.0,6.0,12.0  ")
    assert [line.rsplit("  ", 1)[1] for line in lines] == ["class 2", "class 2", "class 1", "class 1"]
    assert dragon("detect", "im/red one.png", *boxes_net(1 / 2000)).out == "no boxes found\n"


def test_detect_draws_boxes(folder: Path, dragon: Dragon) -> None:
    args = boxes_net(1 / 400)
    (folder / "map.prototxt").write_text(
        '# SSD\nitem { name: "none" label: 0 } item { name: "r" label: 1 display_name: "Red thing" }\n'
    )
    images = ("im/red one.png", "im/blue one.png")
    result = dragon("detect", *images, *args, "--labels", "map.prototxt", "--pictures", "drawn/new")
    lines = result.out.splitlines()
    assert [line.split("  ")[-1] for line in lines[:4]] == ["Red thing", "Red thing", "class 2", "class 2"]
    assert [Path(line.removeprefix("written: ")) for line in lines[4:]] == [
        Path("drawn/new/red one.png"), Path("drawn/new/blue one.png"),
    ]  # fmt: skip
    before, after = load_image(images[0]), load_image("drawn/new/red one.png")
    assert after.shape == before.shape
    np.testing.assert_allclose(after[0, 0] * 255, class_colour(1))
    assert class_colour(1) != class_colour(2)
    low = dragon("detect", *images, *args, "--min-score", "1", "--pictures", "drawn")
    assert low.out.splitlines()[0] == "no boxes found"
    assert (load_image("drawn/red one.png") == before).all()
    found = json.loads(dragon("detect", images[0], *args, "--pictures", "p", "--json").out)
    assert (len(found["boxes"]), found["pictures"]) == (2, [str(Path("p") / "red one.png")])


def test_detect_refuses_to_draw(folder: Path, dragon: Dragon) -> None:
    args = boxes_net(1 / 400)
    assert "is an image that is read, and would be overwritten" in (
        dragon("detect", "im/red one.png", *args, "--pictures", "im").error
    )
    (folder / "file").write_text("")
    assert dragon("detect", "im/red one.png", *args, "--pictures", "file").code == 2
    (folder / "map.prototxt").write_text('item { name: "a" lable: 1 }')
    assert "map.prototxt:1:18: " in dragon("detect", "im/red one.png", *args, "--labels", "map.prototxt").error
    (folder / "map.prototxt").write_text('item { name: "a" label: -1 }')
    assert "labels are numbers from 0 to 1000000, got -1 to -1" in (
        dragon("detect", "im/red one.png", *args, "--labels", "map.prototxt").error
    )
    (folder / "w.csv").write_text("filename,ymin,xmin,ymax,xmax\nim/red one.png,0,0,10,10\n")
    result = dragon("detect", "w.csv", "--model", "deploy.prototxt", "--weights", "net.caffemodel", "--pictures", "p")
    assert "--pictures is for nets that find boxes, with a DetectionOutput" in result.error


def test_detect_refuses_context_around_windows_of_a_net_that_finds_boxes(folder: Path, dragon: Dragon) -> None:
    result = dragon("detect", "im/red one.png", *boxes_net(1 / 400), "--context-pad", "1")
    assert result.code == 2
    assert result.error == "a net that finds boxes itself takes no context around the window: leave context_pad out"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_ssd", "ssd300_vgg"])
def test_detect_runs_the_detectors_of_the_zoo(name: str, folder: Path, dragon: Dragon) -> None:
    model = ROOT / name / "deploy.prototxt"
    net = Net(model, TEST)
    rng = np.random.default_rng(1)
    for key, blobs in net.params.items():
        if key.endswith("mbox_conf"):  # of the rest, biases of the scores are enough to find boxes
            blobs[1].data[...] = rng.standard_normal(blobs[1].shape) * 3
    net.save("zoo.caffemodel")
    result = dragon("detect", "im/red one.png", "--model", str(model), "--weights", "zoo.caffemodel", "--mean", "127.5")
    assert result.code == 0
    assert len(result.out.splitlines()) > 1
    assert all(line.split("  ")[-1].startswith("class ") for line in result.out.splitlines())


def test_folders_of_classes_are_converted_and_name_the_classes(folder: Path, dragon: Dragon) -> None:
    for name in COLOURS:
        (folder / "set" / name).mkdir(parents=True)
        shutil.copy(folder / "im" / f"{name} one.png", folder / "set" / name / "1.png")
    result = dragon("convert-imageset", "--folder", "set", "db")
    assert (result.code, result.out) == (0, "db: 3 images of 3 classes\n")
    assert Path("db.classes.txt").read_text() == "blue\ngreen\nred\n"
    _, labels = decode_batch(records("db"))
    assert list(labels) == [0, 1, 2]
    result = dragon(
        "classify", "--model", "deploy.prototxt", "--weights", "net.caffemodel", "--labels", "set", "--top", "1",
        "set/red/1.png",
    )  # fmt: skip
    assert result.out.splitlines()[1].endswith("  red")


def test_a_list_is_needed_without_folder_and_refused_with_it(folder: Path, dragon: Dragon) -> None:
    assert dragon("convert-imageset", "im", "list.txt").error.endswith("Missing argument 'DB'.")
    assert dragon("convert-imageset", "--folder", "im", "list.txt", "db").error.endswith(
        "--folder takes ROOT and DB, without a list"
    )
    assert "no folder for a class in it" in dragon("convert-imageset", "--folder", "im", "db").error
    assert not Path("db").exists()
