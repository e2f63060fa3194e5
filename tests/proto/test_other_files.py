"""Other files, and text, given in place of a prototxt: one line says what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

import dragon
from dragon.errors import PrototxtError

TEXT = 'name: "n"\nlayer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 } } }\n'


def failure(path: Path | str) -> str:
    with pytest.raises(PrototxtError) as caught:
        dragon.Net(str(path), phase=dragon.TEST)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_weights_as_a_net(tmp_path: Path) -> None:
    path = tmp_path / "w.caffemodel"
    (tmp_path / "n.prototxt").write_text(TEXT)
    dragon.Net(str(tmp_path / "n.prototxt"), phase=dragon.TEST).save(path)
    assert failure(path) == f"{path}: expected a prototxt, this is a binary file, perhaps weights (.caffemodel)"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "a PNG image"),
        (TEXT.encode("utf-16"), "text in UTF-16"),
        (TEXT.encode("utf-16-be").join([b"\xfe\xff", b""]), "text in UTF-16"),
        (bytes(range(256)), "a binary file"),
    ],
    ids=["HDF5", "PNG", "UTF-16", "UTF-16, big-endian", "bytes"],
)
def test_other_kinds(content: bytes, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "n.prototxt"
    path.write_bytes(content)
    assert failure(path) == f"{path}: expected a prototxt, this is {kind}"


@pytest.mark.parametrize("times", [1, 300])
def test_text_as_a_path(times: int) -> None:
    assert failure(TEXT * times).startswith(r'expected the path of a prototxt, got its text ("name: \"n\"'[:50])


@pytest.mark.parametrize("text", ["base_lr: 1 max_iter: 3", "net: 'x'\nbase_lr: 1\n", "net_param { }"])
def test_text_of_a_solver_as_a_path(text: str) -> None:
    with pytest.raises(dragon.PrototxtError, match="expected the path of a prototxt, got its text"):
        dragon.get_solver(text)
    with pytest.raises(dragon.PrototxtError, match="cannot be read: No such file"):
        dragon.get_solver("C:solver: x.prototxt".replace(" ", ""))


def test_a_mark_and_comments_in_other_encodings_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "n.prototxt"
    path.write_bytes(b"\xef\xbb\xbf# \xe4 \xc3\r\n" + TEXT.encode())
    assert dragon.Net(str(path), phase=dragon.TEST).inputs == ["x"]


def test_outputs_are_sorted_as_in_caffe(tmp_path: Path) -> None:
    path = tmp_path / "n.prototxt"
    names = ["loss", "accuracy", "Z", "b10", "b9"]
    path.write_text("".join(TEXT[TEXT.index("layer") :].replace('"x"', f'"{name}"') for name in names))
    net = dragon.Net(str(path), phase=dragon.TEST, engine="numpy")
    assert net.outputs == ["Z", "accuracy", "b10", "b9", "loss"]
    assert list(net.forward()) == net.outputs
    assert net.inputs == names
