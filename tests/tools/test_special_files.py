"""Devices, pipes, sockets and folders in place of a file are one line at once, whoever reads."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dragon.bases.layer import TEST
from dragon.graph.net import Net
from tests.tools.conftest import Dragon

SPECIAL = ["pipe", "folder", "socket", "/dev/zero", "/dev/tty"]


@pytest.fixture(params=SPECIAL)
def special(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A path that is no regular file; a reader that waits is ended."""
    path = Path(request.param) if request.param.startswith("/dev") else tmp_path / f"a {request.param}"
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "folder":
        path.mkdir()
    elif request.param == "socket":
        server = socket.socket(socket.AF_UNIX)
        here = Path.cwd()
        os.chdir(tmp_path)  # addresses are short
        server.bind(path.name)
        os.chdir(here)
        server.close()

    def waits(*_: Any) -> None:
        raise AssertionError(f"a reader waits for {path}")

    before = signal.signal(signal.SIGALRM, waits)
    signal.alarm(20)
    yield path
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


COMMANDS = {
    "a net": "summarize --model {}",
    "a solver": "train --solver {}",
    "the net of a solver": "train --solver of_net.prototxt",
    "weights": "test --model net.prototxt --weights {}",
    "HDF5 weights": "test --model net.prototxt --weights link.h5",
    "a state": "train --solver solver.prototxt --snapshot {}",
    "an HDF5 state": "train --solver solver.prototxt --snapshot link.h5",
    "a mean file": "test --model mean.prototxt --weights w.caffemodel",
    "an image list": "test --model list.prototxt --weights w.caffemodel",
    "a window file": "test --model windows.prototxt --weights w.caffemodel",
    "a list of HDF5 files": "test --model hdf5.prototxt --weights w.caffemodel",
    "an HDF5 file of a list": "test --model hdf5_file.prototxt --weights w.caffemodel",
    "a mean of classify": "classify --model net.prototxt --weights w.caffemodel --mean {} x.png",
    "a .npy mean": "classify --model net.prototxt --weights w.caffemodel --mean link.npy x.png",
    "labels": "classify --model net.prototxt --weights w.caffemodel --labels {} x.png",
    "an image": "classify --model deploy.prototxt --weights w.caffemodel {}",
    "a list of windows": "detect {} --model deploy.prototxt --weights w.caffemodel",
    "a list to convert": "convert-imageset . {} out_lmdb",
    "a list with boxes": "convert-annoset . {} out_lmdb --label-type txt",
    "a label map": "convert-annoset . list.txt out_lmdb --label-map-file {}",
    "a file of COCO": "convert-annoset --coco {} . out_lmdb",
    "an LMDB": "compute-image-mean {} out.binaryproto",
    "the file of an LMDB": "compute-image-mean special_lmdb out.binaryproto",
    "a comparison": "compare {}",
    "a log": "parse-log {}",
    "a run": "plot {} --out x.png",
    "something old": "upgrade {} new.prototxt",
    "a net to draw": "draw {} x.dot",
    "a net to merge": "merge --model {} --out-model x.prototxt",
    "a net to lint": "lint {}",
    "a script": "run {}",
}
SAID = (
    r"not a regular file, but a (pipe|socket|device)|(this|its net .*) is a (folder|pipe|socket|device)|"
    "[Ii]s a directory|is not an LMDB folder|no metrics.jsonl"
)
DATA = """layer {{ name: "d" type: "{type}" top: "d" top: "l" {param} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "d" top: "ip" inner_product_param {{ num_output: 2 }} }}
layer {{ name: "s" type: "Silence" bottom: "l" }}"""


@pytest.mark.parametrize("what", COMMANDS)
def test_commands_refuse_them(what: str, special: Path, work: Path, dragon: Dragon) -> None:
    for name in ("link.h5", "link.npy"):
        (work / name).symlink_to(special)
    (work / "special_lmdb").mkdir()
    (work / "special_lmdb" / "data.mdb").symlink_to(special)
    (work / "of_net.prototxt").write_text(f'net: "{special}" base_lr: 1 lr_policy: "fixed"')
    (work / "hdf5_list.txt").write_text("link.h5\n")
    (work / "deploy.prototxt").write_text(
        'layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } } }\n'
        'layer { name: "ip" type: "InnerProduct" bottom: "d" top: "ip" inner_product_param { num_output: 2 } }'
    )
    Net("deploy.prototxt", TEST).save("w.caffemodel")
    image = f'image_data_param {{ source: "{special}" }}'
    mean = 'data_param { source: "data/synthetic_test_lmdb" backend: LMDB batch_size: 2 }'
    mean += f' transform_param {{ mean_file: "{special}" }}'
    window = f'window_data_param {{ source: "{special}" batch_size: 4 }} transform_param {{ crop_size: 4 }}'
    for name, kind, param in (
        ("mean", "Data", mean),
        ("list", "ImageData", image),
        ("windows", "WindowData", window),
        ("hdf5", "HDF5Data", f'hdf5_data_param {{ source: "{special}" batch_size: 1 }}'),
        ("hdf5_file", "HDF5Data", 'hdf5_data_param { source: "hdf5_list.txt" batch_size: 1 }'),
    ):
        (work / f"{name}.prototxt").write_text(DATA.format(type=kind, param=param))
    result = dragon(*(str(special) if word == "{}" else word for word in COMMANDS[what].split()))
    assert result.code == 2
    assert re.search(SAID, result.error), result.error
