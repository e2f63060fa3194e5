"""Command lines: commands and flags as click describes them, with hostile values and a folder of small valid files."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn
from unittest import mock

import click
import numpy as np
import PIL.Image

import dragon
from dragon.data import write_mean, write_synthetic
from dragon.tools.common.arguments import normalise
from dragon.tools.main import ALIASES, COMMANDS, cli, run
from tests.fuzz.kinds import kind

__all__ = ["command", "command_line"]

PATIENCE = 1.5  # seconds until a command is interrupted, as by Ctrl-C; some have a billion iterations to do
# Commands that start other processes or draw thousands of images: seldom, since they take seconds.
_SLOW = ("compare", "demo")
_NET = """
name: "small"
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  transform_param { scale: 0.01 crop_size: 24 }
  data_param { source: "synthetic_train_lmdb" batch_size: 4 backend: LMDB } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
  transform_param { scale: 0.01 crop_size: 24 }
  data_param { source: "synthetic_test_lmdb" batch_size: 4 backend: LMDB } }
%s
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
_DEPLOY = """
name: "small" layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 24 dim: 24 } } }
%s layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""
_BODY = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 2 kernel_size: 5 stride: 4 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "bn" }
layer { name: "sc" type: "Scale" bottom: "bn" top: "sc" }
layer { name: "ip" type: "InnerProduct" bottom: "sc" top: "ip"
  inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
"""
_SOLVER = """
net: "net.prototxt" test_iter: 1 test_interval: 2 base_lr: 0.01 lr_policy: "fixed" momentum: 0.9 display: 1
max_iter: 2 snapshot: 1 snapshot_prefix: "out/x" random_seed: 1
"""
_TEXTS = {
    "net.prototxt": _NET % _BODY,
    "deploy.prototxt": _DEPLOY % _BODY,
    "bn.prototxt": _DEPLOY % _BODY.replace("BatchNorm", "BN").replace('"Scale"', '"ReLU"'),
    "solver.prototxt": _SOLVER,
    "empty": "",
    "labels.txt": "cat\ndog\n",
    "list.txt": "cat.png 1\nsub/dog.jpg 3000000000\n",
    "windows.csv": "filename,ymin,xmin,ymax,xmax\ncat.png,0,0,8,8\n",
    "compare.yaml": "name: x\nsolver: solver.prototxt\nvariants:\n  - name: a\n    net: net.prototxt\n",
    "int8.yaml": "{format: 1, net: small, weights: x, method: max, batches: 1,\n"
    "layers: {conv: {limit: 1, signed: true}, ip: float32}}\n",
    "script.py": "import caffe, sys\nprint(sys.argv)\n",
    "good.txt": "dog.jpg 1\n/dog.jpg 2\n",
    "boxes.txt": "dog.jpg boxes_of_dog.txt\n",
    "sub/boxes_of_dog.txt": "3 0 1 5 6\n1 2 2 9.5 9\n",
    "train.log": """I1121 10:54:00.000000 1 s.py:1] Solving x
I1121 10:54:01.000000 1 s.py:1] Iteration 0, loss = 2
I1121 10:54:01.000000 1 s.py:1]     Train net output #0: loss = 2.5 (* 1 = 2.5 loss)
I1121 10:54:02.000000 1 s.py:1] Iteration 0, Testing net (#0)
I1121 10:54:02.000000 1 s.py:1]     Test net output #0: accuracy = 0.125
""",
    "latin.txt": "caf\udce9.png 1\n",
}
_NUMBERS = ["0", "1", "2", "-1", "3000000000", "99999999999999999999", "-99999999999999999999", "1e9", "1e400", "nan"]
_NUMBERS += ["inf", "-inf", "0x10", "010", "1.5", "1_000", " 1", "１", "2147483647", "-2147483648", "4294967296"]
_LISTS = ["1,2,3", "2,3,24,24", "0,0,0", "1,3,24,24", ",", ",,", "1,", "24,24", "2,1,0", "9,9,9", "104,117,123", "-1,5"]
_LISTS += ["1,3,99999999999,99999999999", "nan,nan", "1,1,1,1,1,1,1,1,1,1,1,1", "100000,100000"]
_WORDS = [
    "",
    " ",
    "-",
    "--",
    "a\0b",
    "\0",
    "é",
    "中文",
    "\udcff.png",
    "a\nb",
    "\x1b[2J",
    "x" * 300,
    "y/" * 3000,
    "%s%n",
]
_WORDS += [",", "=", "true", "all", "0,1", "lmdb", "LEVELDB", "ip", "conv", "loss", "a", "net.prototxt,net.prototxt"]
_PATHS = [
    ".",
    "..",
    "/",
    "sub",
    "missing",
    "missing/x",
    "out/x",
    "new",
    "new.png",
    "new.h5",
    "new.npy",
    "new.npz",
    "-new",
]
_PATHS += [
    "new.caffemodel",
    "new.prototxt",
    "new.svg",
    "new.dot",
    "empty/x",
    "/dev/null",
    "/dev/stdin",
    "~",
    "new/deep/x",
]
_FLAGS = ["--debug", "--help", "--nonsense", "-x", "--", "-", "--=", "-gpu", "--gray=true", "-noshuffle", "--log_dir=x"]


_WEIGHTS = "--model deploy.prototxt --weights w.caffemodel"
_SOUND = f"""
train --solver solver.prototxt
train --solver solver.prototxt --weights w.caffemodel --iterations 1 --seed 3 --engine numpy
train --solver solver.prototxt --output new --precision bf16 --threads 1
test --model net.prototxt --weights w.caffemodel --iterations 2
test --model net.prototxt --weights w.caffemodel.h5 --iterations 1 --engine numpy --level 1 --stage a
time --model net.prototxt --iterations 1
time --solver solver.prototxt --iterations 1 --phase TRAIN --no-backward
time --model deploy.prototxt --iterations 2 --phase TEST --weights w.caffemodel
time --model net.prototxt --dry-run
summarize --model net.prototxt --phase TRAIN
probe --model net.prototxt --weights w.caffemodel --probe moments --probe percentiles:layer=ip,units=0,1
probe --solver solver.prototxt --iterations 2 --probe rotation:every=1 --json
train --solver solver.prototxt --probe weight_norm:every=1
data synthetic --dir new --train 5 --test 5 --seed 1
layers Convolution
device
run script.py a b
classify cat.png sub/dog.jpg {_WEIGHTS} --labels labels.txt --mean mean.npy --top 3
classify cat.png {_WEIGHTS} --resize 30,30 --oversample --out new.npy --channel-swap 2,1,0 --raw-scale 1
detect windows.csv {_WEIGHTS} --mean 104,117,123 --context-pad 2 --out new.csv --labels labels.txt
convert-imageset sub good.txt new --resize-height 4 --resize-width 4 --shuffle --seed 2
convert-imageset sub good.txt new --gray --encoded --encode-type png --backend leveldb --check-size
convert-annoset sub boxes.txt new --label-type txt --min-dim 5 --name-size new.txt
show-data synthetic_train_lmdb new.png --count 3
compute-image-mean synthetic_train_lmdb new.npy
extract-features --model net.prototxt --weights w.caffemodel --blob ip --batches 1 --out new.h5
extract-features --model net.prototxt --weights w.caffemodel --blob ip --blob bn --batches 1 --out new
extract_features w.caffemodel net.prototxt ip new 1 lmdb CPU
bn insert --model net.prototxt --after ip --last --out-model new.prototxt --form split
bn remove --model net.prototxt --out-model new.prototxt --layers bn
bn show --model net.prototxt --weights w.caffemodel --batches 1
upgrade net.prototxt new.prototxt --kind net
upgrade w.caffemodel new.caffemodel
export {_WEIGHTS} --onnx new.onnx --dynamic-batch
draw net.prototxt new.dot --rankdir LR --phase TRAIN
parse-log train.log new
plot train.log --out new.svg --only loss --x seconds --log-y
lint net.prototxt
merge {_WEIGHTS} --out-model new.prototxt --out-weights new.caffemodel --batches 1
merge {_WEIGHTS} --out-model new.prototxt --shape 2,3,24,24
split --model bn.prototxt --out-model new.prototxt --caffe
split --model bn.prototxt --weights w.caffemodel --out-model new.prototxt --shape 2,3,24,24
fold {_WEIGHTS} --out-model new.prototxt --out-weights new.caffemodel --batches 1
recalibrate --model net.prototxt --weights w.caffemodel --out-weights new.caffemodel --batches 2
calibrate --model net.prototxt --weights w.caffemodel --output new.yaml --iterations 2 --method percentile
test --model net.prototxt --weights w.caffemodel --iterations 1 --precision int8 --calibration int8.yaml
completion bash
compare compare.yaml --output new --jobs 1
""".strip().splitlines()


def _make_folder(folder: Path) -> list[str]:
    """Small valid files of every kind that a command reads; their paths."""
    (folder / "sub").mkdir()
    for name, text in _TEXTS.items():
        (folder / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    pixels = np.random.default_rng(0).integers(0, 256, (30, 26, 3), dtype=np.uint8)
    for name in ("cat.png", "sub/dog.jpg"):
        PIL.Image.fromarray(pixels).save(folder / name)
    write_synthetic(folder, train=8, test=8)
    write_mean(folder / "mean.binaryproto", np.zeros((3, 24, 24)))
    np.save(folder / "mean.npy", np.zeros((3, 24, 24)))
    for file in ("w.caffemodel", "w.caffemodel.h5"):
        with dragon.Net(str(folder / "deploy.prototxt"), dragon.TEST, engine="numpy", seed=1) as net:
            (net.save_hdf5 if file.endswith("h5") else net.save)(str(folder / file))
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def _commands() -> dict[str, click.Command]:
    context = click.Context(cli)
    found = {name: cli.get_command(context, name) for name in COMMANDS}
    return {name: command for name, command in found.items() if command is not None}


def command_line(commands: dict[str, click.Command], files: list[str], chance: random.Random) -> list[str]:
    """A command line: one that is right with a few things changed or added, or one drawn from its description."""
    names = [name for name in commands if name not in _SLOW or chance.random() < 0.1]
    name = chance.choice(names)
    params = commands[name].params
    line = [name]
    if chance.random() < 0.75:
        line = chance.choice([words for words in map(str.split, _SOUND) if words[0] == name] or [line])
        for _ in range(chance.choice((0, 1, 1, 2, 3))):
            if chance.random() < 0.5 and params:
                line += _given(chance.choice(params), files, chance)
            else:
                at = chance.randrange(len(line))
                line[at] = line[at] if at == 0 else chance.choice([*_NUMBERS, *_LISTS, *_WORDS, *_PATHS, *files])
    else:
        for param in params:
            wanted = 0.97 if param.required else 0.25
            while chance.random() < wanted:
                line += _given(param, files, chance)
                wanted = 0.5 if param.nargs == -1 or param.multiple else 0.03  # seldom twice
    if chance.random() < 0.03:
        line[0] = chance.choice([*ALIASES, *_WORDS, name.upper(), name.replace("-", "_")])
    if chance.random() < 0.1:
        line.insert(chance.randrange(len(line) + 1), chance.choice([*_FLAGS, *_WORDS, *_NUMBERS, *files]))
    if chance.random() < 0.05:
        del line[chance.randrange(len(line))]
    return line


def _given(param: click.Parameter, files: list[str], chance: random.Random) -> list[str]:
    value = _value(param, files, chance)
    if isinstance(param, click.Argument):
        return [value]
    flag = chance.choice(param.opts)
    if chance.random() < 0.2:
        flag = flag.replace("--", "-", 1).replace("-", "_").replace("_", "-", 1)  # as Caffe writes it
    if isinstance(param, click.Option) and param.is_flag:
        if chance.random() < 0.7:
            return [flag]
        return [
            chance.choice((flag + "=" + chance.choice(("true", "False", "1", "0", "no", "", value)), "--no" + flag[2:]))
        ]
    return [f"{flag}={value}"] if chance.random() < 0.3 else [flag, value]


def _value(param: click.Parameter, files: list[str], chance: random.Random) -> str:
    hostile = [*_NUMBERS, *_LISTS, *_WORDS, *_PATHS, *files]
    if chance.random() < 0.2:
        return chance.choice(hostile)
    kind = param.type
    if isinstance(kind, click.Choice):
        return str(chance.choice([*kind.choices, str(chance.choice(list(kind.choices))).upper()]))
    if isinstance(kind, (click.types.IntParamType, click.types.FloatParamType)):
        return chance.choice(("1", "1", "2", chance.choice(_NUMBERS)))
    if isinstance(kind, click.Path):
        fitting = _fitting(str(param.name), files)
        return chance.choice(fitting if fitting and chance.random() < 0.7 else [*files, *_PATHS])
    return chance.choice([*_LISTS, *_WORDS, "1", "ip", "a"])


def _fitting(name: str, files: list[str]) -> list[str]:
    """Files that suit a parameter, by its name."""
    ends = {
        "model": (".prototxt",), "net": (".prototxt",), "nets": (".prototxt",), "source": (".prototxt", ".caffemodel"),
        "path": ("solver.prototxt",), "solver_path": ("solver.prototxt",), "weights": (".caffemodel", ".h5"),
        "files": (".png", ".jpg"), "mean": (".npy", ".binaryproto"), "windows": (".csv",), "listfile": (".txt",),
        "labels": ("labels.txt",), "db": ("_lmdb",), "file": (".yaml",), "script": (".py",), "root": ("sub",),
        "out": (), "out_model": (), "out_weights": (),
    }.get(name)  # fmt: skip
    if ends == ():
        return [path for path in _PATHS if path.startswith("new")]
    return [file for file in files if ends and file.endswith(ends)]


class _Stream(io.TextIOWrapper):
    """A standard stream as Python opens it for a terminal in UTF-8, with what was written to it."""

    def __init__(self, errors: str) -> None:
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, encoding="utf-8", errors=errors, write_through=True)


def _unreachable(*_: object) -> NoReturn:
    raise OSError(101, "Network is unreachable")


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """SIGINT after PATIENCE, and again as often: a command that goes on then hangs, which the caller sees.

    Gives the signals that came so far.
    """
    asked: list[int] = []

    def ask(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGALRM, ask)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE, PATIENCE)
    try:
        yield asked
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def judge(line: list[str], status: int, errors: str, interrupted: bool = False) -> None:
    """AssertionError unless a command ended as it should."""
    told = [text for text in errors.splitlines() if text.startswith("dragon: error:")]
    of_script = line[:1] == ["run"] and status == 1 and not told  # what the script itself ended with
    remarks = line[:1] == ["lint"] and status == 1 and not told
    if of_script or remarks:
        return
    if interrupted and "ValueError: Invalid affine transformation matrix" in errors:
        return  # Matplotlib makes that of an interrupt which comes while it fetches a matrix
    # Python swallows an interrupt within a weak reference's callback, and shows it, perhaps until the next one comes
    swallowed = "Exception ignored in" in errors and (interrupted or "KeyboardInterrupt" in errors)
    shown = "Traceback" in errors and not swallowed and not any("debug" in word for word in line)
    if status not in (0, 2, 130) or shown or len(told) != (status == 2):
        raise AssertionError(f"status {status}: {errors[-400:]}")


@kind
def command(folder: Path) -> tuple[Callable[[random.Random], bytes], Callable[[bytes], None]]:
    """Command lines, run in this process without a network; each is done, refused in one line, or interrupted."""
    sound, work = folder / "sound", folder / "work"
    sound.mkdir()
    files = _make_folder(sound)
    commands = _commands()
    home = Path.cwd()

    def read(content: bytes) -> None:
        line = [str(word) for word in json.loads(content)]
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(sound, work)
        out, err = _Stream("strict"), _Stream("backslashreplace")
        os.chdir(work)
        try:
            with (
                mock.patch.object(sys, "stdout", out), mock.patch.object(sys, "stderr", err),
                mock.patch.object(socket.socket, "connect", _unreachable),
                mock.patch.object(socket, "getaddrinfo", _unreachable),
                warnings.catch_warnings(), _interrupts() as asked,
            ):  # fmt: skip
                status = run(*normalise(line))
        except KeyboardInterrupt:  # it came between the command's end and here
            return
        finally:
            os.chdir(home)
        judge(line, status, err.bytes.getvalue().decode("utf-8"), interrupted=bool(asked))

    return lambda chance: json.dumps(command_line(commands, files, chance)).encode(), read
