"""--json: one document on stdout, its keys described in docs/json.md; every command says whether it has one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from docs.site.command_page import commands
from dragon.tools.common.json_output import as_json
from tests.tools.conftest import NET, Dragon

PAGE = (Path(__file__).parents[2] / "docs/json.md").read_text(encoding="utf-8")
MODEL = "--model net.prototxt --engine numpy"
SURGERY = "--model net.prototxt --weights w.caffemodel --out-model m.prototxt --batches 1"
# the command line of each command with --json, run in a folder with a trained net
LINES = {
    "test": f"test {MODEL} --weights w.caffemodel --iterations 2",
    "summarize": "summarize --model net.prototxt",
    "time": f"time {MODEL} --iterations 1",
    "time --dry-run": "time --model net.prototxt --dry-run",
    "probe": f"probe {MODEL} --probe weight_norm",
    "probe --list": "probe --list",
    "layers": "layers",
    "layers TYPE": "layers Convolution",
    "device": "device",
    "compare --list": "compare --list",
    "classify": "classify --model deploy.prototxt --weights w.caffemodel --engine numpy image.png",
    "detect": "detect windows.csv --model deploy.prototxt --weights w.caffemodel --engine numpy",
    "convert-imageset": "convert-imageset . list.txt db",
    "convert-annoset": "convert-annoset . pairs.txt boxes_db --label-type txt",
    "show-data": "show-data data/synthetic_test_lmdb out.png",
    "compute-image-mean": "compute-image-mean data/synthetic_test_lmdb",
    "extract-features": f"extract-features {MODEL} --weights w.caffemodel --blob ip --batches 1 --out ip.npy",
    "parse-log": "parse-log out tables",
    "bn show": "bn show --model net.prototxt --weights w.caffemodel",
    "bn insert": f"bn insert {SURGERY} --after ip",
    "bn remove": f"bn remove {SURGERY}",
    "lint": "lint net.prototxt",
    "merge": "merge --model split.prototxt --weights s.caffemodel --out-model m.prototxt --batches 1",
    "split": f"split {SURGERY}",
    "fold": f"fold {SURGERY}",
    "calibrate": f"calibrate {MODEL} --weights w.caffemodel --iterations 2 --engine numpy --float32 ip",
    "recalibrate": f"recalibrate {MODEL} --weights w.caffemodel --out-weights r.h5 --batches 2 --test-batches 1",
}
# commands without, and why
WITHOUT = {
    "train": "its figures are in metrics.jsonl",
    "demo": "its figures are in results.json of the experiments",
    "run": "prints what the script prints",
    "data": "prints paths and numbers of images that its folder has in dataset.json",
    "upgrade": "writes a file, or prints it",
    "draw": "writes a picture",
    "plot": "writes a picture",
    "export onnx": "writes files",
    "export": "writes files; its checks end with an error where they fail",
    "import": "writes files; its checks end with an error where they fail",
    "completion": "prints a script",
    "caffe-names": "writes files",
    "help": "prints help",
}


def test_every_command_has_json_or_a_reason() -> None:
    """A new command is added to LINES, or to WITHOUT with the reason."""
    found = {name: any("--json" in param.opts for param in command.params) for name, command in commands()}
    aliases = {"bn merge", "bn split", "bn fold", "bn recalibrate", "bn lint"}  # of commands at the top
    tried = {name.partition(" -")[0].removesuffix(" TYPE") for name in LINES} | aliases
    others = {name for name in found if name.startswith("zoo")}  # see tests of the zoo
    assert {name for name, has in found.items() if has} - others == tried
    assert {name for name, has in found.items() if not has} - others == set(WITHOUT) & set(found)


@pytest.fixture
def folder(work: Path, dragon: Dragon) -> Path:
    assert dragon("train", "--solver", "solver.prototxt", "--engine", "numpy", "--iterations", "10").code == 0
    Path("out/x_iter_10.caffemodel").rename("w.caffemodel")
    head = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [1, 3, 24, 24] } } }'
    body = NET[NET.index('layer {\n  name: "conv"') : NET.index('layer { name: "acc"')]
    Path("deploy.prototxt").write_text(f'{head}\n{body}\nlayer {{ name: "p" type: "Softmax" bottom: "ip" top: "p" }}\n')
    assert dragon(*["split", "--model", "net.prototxt", "--weights", "w.caffemodel", "--batches", "1"], "--out-model",
                  "split.prototxt", "--out-weights", "s.caffemodel").code == 0  # fmt: skip
    PIL.Image.fromarray(np.zeros((30, 30, 3), np.uint8)).save("image.png")
    Path("list.txt").write_text("image.png 1\n")
    Path("pairs.txt").write_text("image.png none.txt\n")
    Path("windows.csv").write_text("filename,ymin,xmin,ymax,xmax\nimage.png,1,1,20,20\n")
    return work


@pytest.mark.slow
@pytest.mark.parametrize("name", LINES)
def test_documents(folder: Path, dragon: Dragon, name: str) -> None:
    result = dragon(*LINES[name].split(), "--json")
    assert result.code == (1 if name == "lint" and json.loads(result.out)["findings"] else 0), result.err
    document = json.loads(result.out)
    title = re.escape(name.removesuffix(" TYPE"))
    section = re.search(rf"^### {title}\n(.*?)(?=^#|\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert section is not None, f"docs/json.md has no section on {name}"
    missing = [key for key in document if not key.startswith("probe/") and f"`{key}`" not in section[1]]
    assert not missing, f"docs/json.md, {name}: {missing}"


def test_the_figures_are_those_of_the_text(folder: Path, dragon: Dragon) -> None:
    line = ["test", "--model", "net.prototxt", "--engine", "numpy", "--weights", "w.caffemodel", "--iterations", "2"]
    text = dragon(*line).out
    scores: list[dict[str, Any]] = json.loads(dragon(*line, "--json").out)["scores"]
    assert [score["statistics"] for score in scores] == ["global statistics", "batch statistics"]
    assert f"Loss: {scores[0]['loss']:g}\n" in text
    assert f"{scores[0]['accuracies'][0]['value'] * 100:.2f} % of 16 images" in text


def test_an_error_leaves_stdout_empty(work: Path, dragon: Dragon) -> None:
    result = dragon("test", "--model", "missing.prototxt", "--weights", "w", "--json")
    assert (result.code, result.out) == (2, "")
    assert "missing.prototxt" in result.error


def test_values_without_a_form_in_json() -> None:
    given = {"a": float("nan"), 1: [np.float32(2), np.arange(2), (True, None)], "p": Path("x"), "i": float("inf")}
    assert as_json(given) == {"a": None, "1": [2.0, [0, 1], [True, None]], "p": "x", "i": None}
