"""convert-imageset and compute-image-mean, on image files."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from dragon.data import LevelDbReader, LmdbReader, decode_batch, read_mean
from dragon.data.resize import resize_bilinear
from dragon.proto import dragon_pb2 as pb
from tests.tools.conftest import COLOURS, Dragon


def records(path: str) -> list[bytes]:
    with LmdbReader(path) as reader:
        return reader.read(len(reader))


def test_pixels_are_stored_blue_first(coloured: Path, dragon: Dragon) -> None:
    result = dragon("convert_imageset", "im/", "list.txt", "db")
    assert (result.code, result.out) == (0, "db: 3 images\n")
    images, labels = decode_batch(records("db"))
    assert labels.tolist() == [0, 1, 2]
    assert [image[:, 0, 0].tolist() for image in images] == [[5, 5, 250], [5, 250, 5], [250, 5, 5]]
    assert images[0].shape == (3, 10, 20)


def test_resized_gray_and_shuffled(coloured: Path, dragon: Dragon) -> None:
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


def test_resized_pixels_are_those_of_data_layers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dragon: Dragon
) -> None:
    """Which are OpenCV's: tests/data/test_resize.py."""
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (37, 23, 3), np.uint8)
    PIL.Image.fromarray(pixels).save("a.png")
    Path("list.txt").write_text("a.png 1\n")
    dragon("convert-imageset", ".", "list.txt", "db", "--resize-height", "19", "--resize-width", "31")
    expected = resize_bilinear(np.ascontiguousarray(pixels[:, :, ::-1].transpose(2, 0, 1)), 19, 31)
    np.testing.assert_array_equal(decode_batch(records("db"))[0][0], expected)


def test_encoded_files_are_kept_as_they_are_or_made_anew(coloured: Path, dragon: Dragon) -> None:
    dragon("convert-imageset", "im", "list.txt", "kept", "--encoded")
    datum = pb.Datum.FromString(records("kept")[0])
    assert datum.encoded
    assert datum.data == (coloured / "im" / "red one.png").read_bytes()
    dragon("convert-imageset", "im", "list.txt", "jpg", "--encode-type", "jpg")
    datum = pb.Datum.FromString(records("jpg")[0])
    assert datum.data[:2] == b"\xff\xd8"
    table: list[int] = PIL.Image.open(io.BytesIO(datum.data)).quantization[0]  # type: ignore[attr-defined]
    assert table[0] == 2  # 16 at quality 50, a tenth of it at 95
    image = decode_batch(records("jpg"))[0][0]
    np.testing.assert_allclose(image[:, 2, 2], [5, 5, 250], atol=12)


def test_samples_of_shards_and_of_parquet_files_become_records(coloured: Path, dragon: Dragon) -> None:
    red = (coloured / "im" / "red one.png").read_bytes()
    with tarfile.open("train-000000.tar", "w") as tar:
        for name, content in (("a.png", red), ("a.cls", b"2"), ("b.png", b"no image"), ("b.cls", b"1")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    result = dragon("convert-imageset", "--samples", "train-000000.tar", "db")
    assert result.error.startswith("train-000000.tar: b: the encoded image cannot be read: it is a text file")
    assert not Path("db").exists()
    result = dragon("convert-imageset", "--samples", "train-000000.tar", "db", "--skip-unreadable", "--encoded")
    assert result.out == "db: 1 image, 1 skipped\n"
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
def test_wrong_use_of_samples(coloured: Path, dragon: Dragon, args: tuple[str, ...], message: str) -> None:
    result = dragon("convert-imageset", *args)
    assert result.code == 2
    assert message in result.error


def test_a_leveldb_holds_the_same_records(coloured: Path, dragon: Dragon) -> None:
    pytest.importorskip("plyvel", reason="plyvel-ci is not installed")
    dragon("convert-imageset", "im", "list.txt", "lmdb")
    assert dragon("convert-imageset", "im", "list.txt", "level", "--backend", "leveldb").out == "level: 3 images\n"
    reader = LevelDbReader("level")
    assert reader.read(3) == records("lmdb")
    reader.close()
    assert dragon("compute-image-mean", "level", "mean.binaryproto", "--backend", "leveldb").code == 0


def test_faults_of_lists_name_the_line(coloured: Path, dragon: Dragon) -> None:
    (coloured / "bad.txt").write_text("red one.png 0\nmissing.png 1\n")
    result = dragon("convert-imageset", "im", "bad.txt", "db")
    assert result.error == "bad.txt:2: missing.png: cannot be read: No such file or directory"
    assert not (coloured / "db").exists()
    result = dragon("convert-imageset", "im", "bad.txt", "db", "--skip-unreadable")
    assert result.out == "db: 1 image, 1 skipped\n"
    (coloured / "bad.txt").write_text("missing.png 1\n")
    result = dragon("convert-imageset", "im", "bad.txt", "none", "--skip-unreadable")
    assert (result.code, result.error) == (2, 'no image could be read, so there is no database "none"')
    assert not (coloured / "none").exists()
    (coloured / "bad.txt").write_text("red one.png\n")
    assert 'bad.txt:1: expected "path label"' in dragon("convert-imageset", "im", "bad.txt", "x").error
    PIL.Image.new("RGB", (3, 3)).save(coloured / "im" / "small.png")
    (coloured / "bad.txt").write_text("red one.png 0\nsmall.png 1\n")
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
def test_root_and_name_are_joined_as_text(coloured: Path, dragon: Dragon, root: str, name: str) -> None:
    """As in Caffe, where "/a.png" below "im" is im/a.png; a root without its last slash is forgiven."""
    shutil.copyfile(coloured / "im" / "red one.png", coloured / "im" / "redone.png")
    (coloured / "one.txt").write_text(f"{name} 7\n")
    assert dragon("convert_imageset", root, "one.txt", "db").out == "db: 1 image\n"
    assert decode_batch(records("db"))[1].tolist() == [7]


@pytest.mark.parametrize("label", [2**31, -(2**31) - 1, 3_000_000_000, 10**30])
def test_labels_out_of_range_name_the_line(coloured: Path, dragon: Dragon, label: int) -> None:
    (coloured / "bad.txt").write_text(f"red one.png 0\nred one.png {label}\n")
    result = dragon("convert-imageset", "im", "bad.txt", "db")
    assert (result.code, result.error) == (
        2, f"bad.txt:2: label {label} is out of range, -2147483648 to 2147483647",
    )  # fmt: skip
    assert not (coloured / "db").exists()


def test_flags_as_caffe_writes_them(coloured: Path, dragon: Dragon) -> None:
    line = ["convert_imageset", "--gray=true", "-shuffle=1", "-noshuffle", "--backend", "LMDB", "-check_size=no"]
    assert dragon(*line, "im/", "list.txt", "db").code == 0
    images, labels = decode_batch(records("db"))
    assert (images[0].shape, labels.tolist()) == ((1, 10, 20), [0, 1, 2])


def test_compute_image_mean(coloured: Path, dragon: Dragon) -> None:
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


def test_folders_of_classes_are_converted_and_name_the_classes(coloured: Path, dragon: Dragon) -> None:
    for name in COLOURS:
        (coloured / "set" / name).mkdir(parents=True)
        shutil.copy(coloured / "im" / f"{name} one.png", coloured / "set" / name / "1.png")
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


def test_a_list_is_needed_without_folder_and_refused_with_it(coloured: Path, dragon: Dragon) -> None:
    assert dragon("convert-imageset", "im", "list.txt").error.endswith("Missing argument 'DB'.")
    assert dragon("convert-imageset", "--folder", "im", "list.txt", "db").error.endswith(
        "--folder takes ROOT and DB, without a list"
    )
    assert "no folder for a class in it" in dragon("convert-imageset", "--folder", "im", "db").error
    assert not Path("db").exists()
