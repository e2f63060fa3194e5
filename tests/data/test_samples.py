"""Parquet files, folders of Hugging Face datasets and tar shards: which samples they hold, and what is refused."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from dragon.data.samples import Samples
from dragon.data.shards import read_shards
from dragon.data.tables import read_tables
from dragon.errors import DataError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def png(level: int) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", (3, 2), (level, 0, 0)).save(file, "PNG")
    return file.getvalue()


def table(labels: list[Any], names: list[str] | None = None, image: str = "image", label: str = "label") -> Any:
    """As `datasets` writes it."""
    pictures = [{"bytes": png(i), "path": f"{i}.png"} for i in range(len(labels))]
    made = pa.table({image: pictures, label: labels})
    if names is None:
        return made
    features = {image: {"_type": "Image"}, label: {"names": names, "_type": "ClassLabel"}}
    return made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def tar(path: Path, members: dict[str, bytes]) -> str:
    with tarfile.open(path, "w") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return str(path)


def read(found: Samples) -> list[tuple[str, Any, int]]:
    return [(one.name, one.content, one.label) for one in found.samples]


def test_a_parquet_file_with_names_of_classes(tmp_path: Path) -> None:
    pq.write_table(table([1, 0, 1], ["cat", "dog"]), tmp_path / "x.parquet")
    found = read_tables(str(tmp_path / "x.parquet"))
    assert (found.names, found.total) == (["cat", "dog"], 3)
    assert read(found) == [("0.png", png(0), 1), ("1.png", png(1), 0), ("2.png", png(2), 1)]


def test_labels_that_are_text_become_the_sorted_names(tmp_path: Path) -> None:
    pq.write_table(table(["dog", "ant"]), tmp_path / "train-00000-of-00002.parquet")
    pq.write_table(table(["cat"]), tmp_path / "train-00001-of-00002.parquet")
    found = read_tables(str(tmp_path))
    assert found.names == ["ant", "cat", "dog"]
    assert [label for _, _, label in read(found)] == [2, 0, 1]


def test_a_folder_with_splits(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for split, labels in (("train", [0, 1]), ("test", [1])):
        pq.write_table(table(labels), tmp_path / "data" / f"{split}-00000-of-00001.parquet")
    assert len(read(read_tables(str(tmp_path), "train"))) == 2
    assert len(read(read_tables(str(tmp_path), "test"))) == 1
    with pytest.raises(DataError, match="several splits: choose one with --split: test, train"):
        read_tables(str(tmp_path))
    with pytest.raises(DataError, match=r'no split "tran".*train'):
        read_tables(str(tmp_path), "tran")


def test_what_save_to_disk_writes(tmp_path: Path) -> None:
    for split, labels in (("train", [0, 1, 2]), ("test", [2])):
        (tmp_path / split).mkdir()
        made = table(labels, ["a", "b", "c"])
        path = str(tmp_path / split / "data-00000-of-00001.arrow")
        with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, made.schema) as stream:
            stream.write_table(made)
        (tmp_path / split / "cache-1234.arrow").write_bytes(b"what map() left")
    found = read_tables(str(tmp_path), "train")
    assert (found.names, found.total) == (["a", "b", "c"], 3)
    assert [label for _, _, label in read(found)] == [0, 1, 2]


def test_columns_of_other_names_and_plain_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"img": [png(7)], "fine": [3], "coarse": [1]}), path)
    assert read(read_tables(str(path), label="fine")) == [("x_0", png(7), 3)]
    with pytest.raises(DataError, match="choose the column with --label-column: it has img, fine, coarse"):
        read_tables(str(path))
    with pytest.raises(DataError, match=r'no column "fin".*fine'):
        read_tables(str(path), label="fin")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": [png(0)], "label": [None]}, "row 0: expected a whole number"),
        ({"image": [png(0)], "label": [2**40]}, "row 0: expected a whole number of 32 bits as label, got '1099"),
        ({"image": [png(0)], "label": [1.5]}, "row 0: expected a whole number"),
        ({"image": [{"bytes": None, "path": "a.png"}], "label": [1]}, r"(no bytes, only the path 'a.png'|column)"),
        ({"image": [png(0), png(0)], "label": ["a", None]}, "rows without a label"),
    ],
)
def test_bad_rows(tmp_path: Path, columns: dict[str, list[Any]], message: str) -> None:
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=message):
        read(read_tables(str(tmp_path / "x.parquet")))


def test_files_that_are_damaged_or_not_there(tmp_path: Path) -> None:
    for name in ("x.parquet", "x.arrow", "x.tar"):
        (tmp_path / name).write_bytes(b"damaged" * 99)
        with pytest.raises(DataError, match="cannot be read"):
            read((read_shards if name == "x.tar" else read_tables)(str(tmp_path / name)))
    pq.write_table(table([0] * 50), tmp_path / "half.parquet")
    (tmp_path / "half.parquet").write_bytes((tmp_path / "half.parquet").read_bytes()[:-100])
    with pytest.raises(DataError, match="cannot be read"):
        read_tables(str(tmp_path / "half.parquet"))
    with pytest.raises(DataError, match="does not exist"):
        read_tables(str(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no file of these kinds"):
        read_shards(str(tmp_path / "empty"))


def test_without_pyarrow_there_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r'need a package: pip install "dragon-caffe\[parquet\]"'):
        read_tables(str(tmp_path / "x.parquet"))


def test_shards(tmp_path: Path) -> None:
    tar(tmp_path / "train-000000.tar", {"a/1.png": png(1), "a/1.cls": b"4\n", "a/2.png": png(2), "a/2.cls": b"0"})
    tar(tmp_path / "train-000001.tar", {"b.json": b'{"label": 7}', "b.png": png(3), "b.cls": b"9"})
    found = read_shards(str(tmp_path))
    assert read(found) == [("a/1.png", png(1), 4), ("a/2.png", png(2), 0), ("b.png", png(3), 9)]
    assert read(read_shards(str(tmp_path / "train-000001.tar"), label="label")) == [("b.png", png(3), 7)]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.png": b"x"}, "a: no label .cls, got png"),
        ({"a.cls": b"1"}, "a: expected one image, got cls"),
        ({"a.png": b"x", "a.jpg": b"x", "a.cls": b"1"}, "a: expected one image, got cls, jpg, png"),
        ({"a.png": b"x", "a.cls": b"cat"}, "a: expected a whole number of 32 bits as label, got 'cat'"),
        ({}, "has no samples"),
    ],
)
def test_bad_shards(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(read_shards(tar(tmp_path / "x.tar", members)))
    if "a.jpg" in members:
        assert read(read_shards(str(tmp_path / "x.tar"), image="jpg")) == [("a.jpg", b"x", 1)]
