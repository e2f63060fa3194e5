"""`dragon classify`, and flags that it has in common with `dragon detect`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dragon.errors import UsageError
from dragon.pycaffe.classifier import Classifier
from dragon.tools.common.images import check_labels, mean_of_flag, read_labels
from dragon.tools.common.logs import log
from tests.tools.conftest import Dragon


def test_classify(coloured: Path, dragon: Dragon) -> None:
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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_forms_of_labels(coloured: Path, encoding: str, end: str) -> None:
    """An empty name, and signs that Python takes for ends of lines, are kept."""
    names = ["caf\xe9", "", "a\u2028b", "c\x85d"]
    (coloured / "l.txt").write_bytes((end.join(names) + end).encode(encoding))
    assert read_labels("l.txt") == names


@pytest.mark.parametrize("command", ["classify", "detect"])
def test_labels_of_another_net(coloured: Path, dragon: Dragon, command: str) -> None:
    (coloured / "w.csv").write_text("filename,ymin,xmin,ymax,xmax\nim/red one.png,0,0,8,8\n")
    what = "im/red one.png" if command == "classify" else "w.csv"
    args = (command, what, "--model", "deploy.prototxt", "--weights", "net.caffemodel", "--labels", "l.txt")
    (coloured / "l.txt").write_text("\n".join(map(str, range(40))))
    result = dragon(*args)
    assert (result.code, result.out) == (2, "")
    assert result.error == "l.txt has 40 lines, the net 3 classes: the names are those of another net"
    (coloured / "l.txt").write_text("a\nb\n")
    result = dragon(*args)
    assert (result.code, result.err) == (0, "dragon: warning: l.txt has 2 lines, the net 3 classes\n")
    (coloured / "l.txt").write_text("BLUE\nGREEN\nRED\n\n\n")
    assert dragon(*args).err == ""
    (coloured / "l.txt").write_text("\n")
    assert dragon(*args).error == "l.txt: expected names of classes, one a line; it holds none"
    (coloured / "l.txt").write_bytes((coloured / "im" / "red one.png").read_bytes())
    assert dragon(*args).error == "l.txt: expected names of classes, one a line; this is a PNG image"
    (coloured / "l.txt").write_bytes("caf\xe9\nb\nc\n".encode("latin-1"))
    assert dragon(*args).code == 0


@pytest.mark.parametrize("count", [2, 4])
def test_names_of_the_zoo_that_do_not_fit(
    coloured: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, count: int
) -> None:
    net = Classifier("deploy.prototxt", engine="numpy")
    monkeypatch.setattr(log, "propagate", True)
    names = ["name"] * count
    if count > 3:
        with pytest.raises(UsageError, match="the zoo's list of names has 4 lines, the net 3 classes"):
            check_labels(None, names, net)
    else:
        check_labels(None, names, net)
        assert caplog.messages == ["the zoo's list of names has 2 lines, the net 3 classes"]


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
def test_flags_of_images(coloured: Path, dragon: Dragon, command: str, flags: str, words: str) -> None:
    (coloured / "w.csv").write_text("filename,ymin,xmin,ymax,xmax\nim/red one.png,0,0,8,8\n")
    what = "im/red one.png" if command == "classify" else "w.csv"
    result = dragon(command, what, "--model", "deploy.prototxt", "--weights", "net.caffemodel", *flags.split())
    assert result.code == 2
    assert words in result.error


def test_classify_says_what_is_wrong(coloured: Path, dragon: Dragon) -> None:
    args = ("--model", "deploy.prototxt", "--weights", "net.caffemodel")
    np.save("grey.npy", np.zeros((1, 4, 4)))
    grey = dragon("classify", *args, "--mean", "grey.npy", "im/red one.png")
    assert "--mean is a grey image, which is subtracted from each of 3 channels" in grey.err
    text = dragon("classify", *args, "--out", "s.txt", "im/red one.png")
    assert text.error == "--out s.txt: scores are saved as an array of NumPy, under a name that ends in .npy"
    assert not (coloured / "s.txt").exists()
    assert "nope.png cannot be read" in dragon("classify", *args, "nope.png").error
    assert "Mean channels" in dragon("classify", *args, "--mean", "1,2", "im/red one.png").error
    assert "mean file m.npy does not exist" in dragon("classify", *args, "--mean", "m.npy", "im/red one.png").error
    for size in ("3", "0,20", "-5,20", "99999999999999999999,20", "10,20,30"):
        assert (
            f'--resize takes height,width, got "{size}"'
            in dragon("classify", *args, f"--resize={size}", "im/red one.png").error
        )
    small = dragon("classify", *args, "--resize", "2,2", "im/red one.png")
    assert "crops of 8 x 8 do not fit into an image of 2 x 2" in small.error
    (coloured / "words.txt").write_text("one\n")
    result = dragon("classify", *args, "--labels", "words.txt", "im/red one.png")
    assert "words.txt has 1 line, the net 3 classes" in result.err
    assert "class 2" in result.out


def test_means_that_are_no_arrays_of_numbers(coloured: Path, dragon: Dragon) -> None:
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
    (coloured / "m.npy").write_bytes(np.random.default_rng(1).bytes(1000))
    assert dragon(*args).error == "mean file m.npy: expected a .npy file of NumPy's, this is something else"
    (coloured / "m.npy").write_bytes(b"")
    assert dragon(*args).error == "mean file m.npy: expected a .npy file of NumPy's, this is an empty file"
    (coloured / "m.npy").write_bytes((coloured / "im" / "red one.png").read_bytes())
    assert dragon(*args).error == "mean file m.npy: expected a .npy file of NumPy's, this is a PNG image"
    np.save("m.npy", np.array([{}, None], object))
    assert dragon(*args).error == "mean file m.npy: holds no array of real numbers"
    np.save("m.npy", np.full(3, 1j))
    assert dragon(*args).error == "mean file m.npy: holds no array of real numbers"


@pytest.mark.parametrize("text", ["104,117,123", " 104, 117, 123 ", "1.04e2,1.17e2,123.0"])
def test_means_as_numbers(text: str) -> None:
    assert mean_of_flag(text).tolist() == [104, 117, 123]
