"""Lists of files as people write them, and other files given for a list."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import PIL.Image
import pytest

from dragon.data import write_lmdb
from dragon.data.images import read_image_list
from dragon.data.lists import number_in, read_lines
from dragon.data.windows import read_windows
from dragon.errors import DataError
from dragon.tools.convert_imageset import read_list
from tests.layers.helpers import One

PLAIN = [("a.png", 3), ("b c.png", 4)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a.png 3\nb c.png 4\n", PLAIN),
        (b"a.png\t3\nb c.png\t4", PLAIN),
        (b"a.png \t 3  \r\n\r\n  b c.png 4\r\n", PLAIN),
        (b"a.png 3\rb c.png 4\r", PLAIN),
        (b"\n\n  \na.png 3\n\t\nb c.png 4\n\n", PLAIN),
        (b"\xef\xbb\xbfa.png 3\nb c.png 4\n", PLAIN),
        ("a.png 3\nb c.png 4\n".encode("utf-16"), PLAIN),
        (b"\"a.png\" 3\n'b c.png' 4\n", PLAIN),
        (b"takes 10_2 3\n", [("takes 10_2", 3)]),  # of two words, not a number with a separator of Python
        ("\u732b \x85.png 1\n".encode(), [("\u732b \x85.png", 1)]),
        ("\u732b.png 1\n".encode("gbk"), [(os.fsdecode("\u732b.png".encode("gbk")), 1)]),
        ("\xe4.png 1\n".encode("latin-1"), [(os.fsdecode(b"\xe4.png"), 1)]),
    ],
    ids=[
        "plain",
        "tabs",
        "CRLF",
        "CR",
        "blank lines",
        "UTF-8 mark",
        "UTF-16",
        "quotes",
        "10_2",
        "UTF-8",
        "GBK",
        "Latin-1",
    ],
)
def test_forms_of_lists(content: bytes, expected: list[tuple[str, float]], tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    assert read_image_list(str(path)) == expected
    assert [(name, label) for _, name, label in read_list(str(path))] == expected


@pytest.mark.parametrize(
    "name",
    [
        "BMW/1.png",
        "GIF8/1.png",
        "%PDF/1.png",
        "*1.png",
        ":1.png",
        "input:1.png",
        "a/layer:1.png",
        "\u30001.png",
    ],
)
def test_names_that_begin_like_other_files(name: str, tmp_path: Path) -> None:
    """As BMP images, messages and prototxt do; or with a blank that is none of ASCII's."""
    path = tmp_path / "list.txt"
    path.write_text(f"{name} 3\n{name} 4\n")
    assert read_image_list(str(path)) == [(name, 3), (name, 4)]


@pytest.mark.parametrize("text", ["9" * 400, "9" * 5000, "1e999", "nan", "-inf", "1_0", "\u0661", ""])
def test_words_that_are_no_number(text: str) -> None:
    assert number_in(text) is None
    assert number_in("-12") == -12
    assert number_in("1.5e1") == 15


@pytest.mark.parametrize("encoding", ["utf-8", "gbk", "latin-1"])
def test_a_file_is_found_by_the_bytes_of_its_name(encoding: str, tmp_path: Path) -> None:
    name = ("\xe9" if encoding == "latin-1" else "\u732b").encode(encoding) + b".png"
    PIL.Image.fromarray(np.full((2, 2, 3), 9, np.uint8)).save(tmp_path / "x.png")
    os.rename(tmp_path / "x.png", os.path.join(os.fsencode(tmp_path), name))
    (tmp_path / "list.txt").write_bytes(name + b"\t5\r\n")
    one = One(
        f'type: "ImageData" image_data_param {{ source: "{tmp_path}/list.txt" root_folder: "{tmp_path}/" '
        "batch_size: 1 }",
        n_top=2,
    )
    assert (one.forward() == 9).all()
    assert one.top[1].data.tolist() == [5]
    one.layer.close()


def test_names_that_end_in_numbers_or_are_in_quotes_may_exist(tmp_path: Path) -> None:
    for name in ("image 7", '"q"'):
        (tmp_path / name).touch()
    (tmp_path / "list.txt").write_text('image 7 1\n"q" 2\n')
    assert read_image_list(f"{tmp_path}/list.txt", f"{tmp_path}/") == [("image 7", 1), ('"q"', 2)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a.png 1 0 1\n", 'list.txt:1: expected "FILE LABEL", got 3 labels in "a.png 1 0 1"'),
        (b"\na.png\n", 'list.txt:2: expected "FILE LABEL", got "a.png"'),
        (b"a.png one\n", 'list.txt:1: expected "FILE LABEL", got "a.png one"'),
        (b"a.png nan\n", 'list.txt:1: expected "FILE LABEL", got "a.png nan"'),
        (b" \r\n\t\n", "is empty"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), 'is an HDF5 file, expected lines "FILE LABEL"'),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), 'is a PNG image, expected lines "FILE LABEL"'),
        (b'name: "x"\nlayer { name: "y" }\n', 'is the prototxt of a net, expected lines "FILE LABEL"'),
        (b"a\0b 1\n", 'is no text file, expected lines "FILE LABEL"'),
    ],
    ids=["labels", "no label", "word", "NaN", "blank", "HDF5", "PNG", "prototxt", "NUL"],
)
def test_what_is_no_list(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    for read, wanted in ((read_image_list, "FILE LABEL"), (read_list, "path label")):
        with pytest.raises(DataError) as caught:
            read(str(path))
        text = str(caught.value)
        found = text.replace('"path label" with a whole number as label', '"FILE LABEL"')
        assert message in found
        assert wanted in text or "is empty" in text
        assert "\n" not in text


def test_a_label_of_convert_imageset_is_a_whole_number(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a.png 1.5\n")
    assert read_image_list(f"{tmp_path}/list.txt") == [("a.png", 1.5)]
    with pytest.raises(DataError, match=r'list\.txt:1: expected "path label" with a whole number as label'):
        read_list(f"{tmp_path}/list.txt")


def test_folders_and_missing_files(tmp_path: Path) -> None:
    write_lmdb(tmp_path / "lmdb", [(b"k", b"v")])
    for path in (tmp_path / "lmdb", tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match=r"image list .* cannot be read"):
            read_image_list(str(path))


def test_lists_of_hdf5_files(tmp_path: Path) -> None:
    for name in ("a.h5", "b c.h5", "d.h5"):
        with h5py.File(tmp_path / name, "w") as file:
            file["x"] = np.full((1, 2), len(name))
    source = tmp_path / "list.txt"
    text = f'type: "HDF5Data" top: "x" hdf5_data_param {{ source: "{source}" batch_size: 3 }}'
    source.write_bytes(f"\ufeff{tmp_path}/a.h5\r\n\r\n{tmp_path}/b c.h5\n{tmp_path}/d.h5 {tmp_path}/a.h5".encode())
    assert One(text).forward()[:, 0].tolist() == [4, 6, 4]
    source.write_bytes((tmp_path / "a.h5").read_bytes())
    with pytest.raises(DataError, match=r'list of HDF5 files .* is an HDF5 file, expected lines "FILE\.h5"'):
        One(text)


def test_window_files(tmp_path: Path) -> None:
    path = tmp_path / "windows.txt"
    path.write_bytes("\ufeff# 0\r\na.png\r\n\r\n3\r\n9\r\n9\r\n1\r\n2 0.5 0 0 3 3\r\n".encode())
    assert [(window.path, window.label) for window in read_windows(str(path))] == [("a.png", 2)]
    path.write_text("# 0\na.png\n\n3\n9\n9\none\n")
    with pytest.raises(DataError, match=r"windows\.txt:1: not a window file"):
        read_windows(str(path))


def test_line_numbers_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("\none\n\n\ntwo \n")
    assert read_lines(str(path), "list", "X") == [(2, "one"), (5, "two")]


def test_a_name_that_is_no_name(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"a.png 1\n{'x' * 100_000} 1\n")
    with pytest.raises(DataError, match=r'list.txt:2: expected .*, got a name of 100,000 characters: "x{60}..."$'):
        read_image_list(str(path))
