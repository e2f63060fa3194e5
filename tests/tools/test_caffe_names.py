"""`dragon caffe-names`: shell scripts that are written for Caffe's programs run."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import click
import numpy as np
import PIL.Image
import pytest

from dragon.data import open_source
from dragon.proto import dragon_pb2 as pb
from dragon.tools.caffe_names import launcher
from dragon.tools.common.caffe_programs import PROGRAMS, dragon_arguments
from tests.tools.conftest import Dragon, edit


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("caffe train --solver=s.prototxt", "train --solver=s.prototxt"),
        ("caffe train -solver s.prototxt -gpu 0", "train --solver s.prototxt --gpu 0"),
        ("caffe -solver s.prototxt train", "train --solver s.prototxt"),
        ("caffe train --solver=s --snapshot=x.solverstate.h5", "train --solver=s --snapshot=x.solverstate.h5"),
        ("caffe train -solver s -sigint_effect snapshot", "train --solver s --sigint-effect snapshot"),
        ("caffe test -model m -weights w -iterations 100", "test --model m --weights w --iterations 100"),
        ("caffe time --model m --iterations=5 --phase TEST", "time --model m --iterations=5 --phase TEST"),
        ("caffe time -model m -weights w", "time --model m"),
        ("caffe train -solver s -iterations 5", "train --solver s"),
        ("caffe train -solver s -weights= -gpu=", "train --solver s"),
        ("caffe device_query -gpu all", "device-query --gpu all"),
        ("caffe train -help", "train --help"),
        ("caffe --version", "--version"),
        ("caffe train -solver s -engine=numpy", "train --solver s --engine=numpy"),
        ("convert_imageset --shuffle root/ l db", "convert-imageset --shuffle root/ l db"),
        ("convert_annoset --encoded root/ l db", "convert-annoset --encoded root/ l db"),
        ("upgrade_net_proto_text a b", "upgrade-net-proto-text a b"),
    ],
)
def test_arguments(line: str, expected: str) -> None:
    program, *args = line.split()
    assert " ".join(dragon_arguments(program, args)) == expected


def test_empty_texts_are_as_none() -> None:
    """As gflags has it: `caffe train -snapshot "$SNAPSHOT"` begins anew where the variable is not set."""
    args = ["train", "-solver", "s", "-snapshot", "", "-stage", "", "-gpu", "0"]
    assert dragon_arguments("caffe", args) == ["train", "--solver", "s", "--gpu", "0"]


def test_flags_that_caffe_accepts_and_does_not_use_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    dragon_arguments("caffe", ["train", "-solver", "s", "-iterations", "5", "-model=m"])
    err = capsys.readouterr().err
    assert err == "caffe: --iterations has no effect on train\ncaffe: --model has no effect on train\n"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["trian"], 'got "trian" (did you mean "train"?)'),
        ([], "train, test, time, device_query; got none"),
        (["train", "test"], 'got "train" and "test"'),
    ],
)
def test_wrong_commands(args: list[str], words: str) -> None:
    with pytest.raises(click.UsageError) as raised:
        dragon_arguments("caffe", args)
    assert words in str(raised.value)


def test_launchers(dragon: Dragon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = dragon("caffe-names", "--dir", "build/tools")
    assert result.code == 0, result.err
    assert f"export PATH={tmp_path}/build/tools:" in result.out
    assert {path.name for path in Path("build/tools").iterdir()} == set(PROGRAMS)
    assert all(os.access(path, os.X_OK) for path in Path("build/tools").iterdir())
    assert dragon("caffe-names", "--dir", "build/tools").code == 0  # its own files are replaced


def test_files_of_others_are_left_alone(dragon: Dragon, tmp_path: Path) -> None:
    (tmp_path / "compute_image_mean").write_text("mine")
    result = dragon("caffe-names", "--dir", str(tmp_path))
    assert result.code == 2
    assert "compute_image_mean exists and was not written by this command" in result.error
    assert [path.name for path in tmp_path.iterdir()] == ["compute_image_mean"]


def test_a_launcher_of_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", r"C:\100% py\python.exe")
    lines = launcher("caffe", windows=True).split("\r\n")
    assert (lines[0], lines[-1]) == ("@echo off", "")
    assert r'"C:\100%% py\python.exe" -P -m dragon.tools.common.caffe_programs caffe %*' in lines


def sh(script: str) -> str:
    """Run a script with sh in the working directory: what it printed on both streams."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "DRAGON_ENGINE": "numpy"}
    done = subprocess.run(
        ["sh", "-c", script], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def caffe_tree(work: Path, dragon: Dragon) -> Path:
    """The working directory as Caffe's examples expect it: programs in build/tools, solvers in examples/."""
    assert dragon("caffe-names", "--dir", "build/tools").code == 0
    Path("examples/cifar10").mkdir(parents=True)
    solver = Path("solver.prototxt")
    edit(solver, "max_iter: 20", "max_iter: 4")
    edit(solver, 'snapshot_prefix: "out/x"', 'snapshot_prefix: "examples/cifar10/quick"')
    edit(solver, "snapshot: 5", "snapshot: 4\nsnapshot_format: HDF5")
    text = solver.read_text()
    Path("examples/cifar10/quick_solver.prototxt").write_text(text)
    Path("examples/cifar10/quick_solver_lr1.prototxt").write_text(text.replace("max_iter: 4", "max_iter: 6"))
    return work


@pytest.mark.slow
def test_scripts_that_train_and_resume(caffe_tree: Path) -> None:
    """The command lines of cifar10/train_quick.sh, mnist/train_lenet.sh and imagenet/resume_training.sh."""
    out = sh("""
        set -e
        TOOLS=./build/tools
        $TOOLS/caffe train --solver=examples/cifar10/quick_solver.prototxt "$@"
        $TOOLS/caffe train \\
          --solver=examples/cifar10/quick_solver_lr1.prototxt \\
          --snapshot=examples/cifar10/quick_iter_4.solverstate.h5 "$@"
    """)
    assert "Resuming at iteration 4" in out
    assert Path("examples/cifar10/quick_iter_6.caffemodel.h5").is_file()
    assert re.search(r"Iteration 0 \(.*\), loss = ", out)


@pytest.mark.slow
def test_scripts_that_use_weights(caffe_tree: Path, dragon: Dragon) -> None:
    """Tests and timings of caffe as the tutorials write them, and extract_features with its positional arguments."""
    solver = ("--solver", "examples/cifar10/quick_solver.prototxt")
    assert dragon("train", *solver, "--engine", "numpy").code == 0
    weights = "examples/cifar10/quick_iter_4.caffemodel.h5"
    out = sh(f"""
        set -e
        export PATH="$PWD/build/tools:$PATH"
        caffe test -model net.prototxt -weights {weights} -iterations 2
        caffe time -model=net.prototxt -iterations 1
        caffe device_query
        extract_features {weights} net.prototxt ip,conv features_ip,features_conv 2 lmdb CPU
    """)
    assert "acc = " in out
    assert "Average Forward-Backward: " in out
    reader = open_source("features_ip", pb.DataParameter.LMDB)
    assert len(reader) == 16
    reader.close()


@pytest.mark.slow
def test_scripts_that_make_data(caffe_tree: Path) -> None:
    """imagenet/create_imagenet.sh and imagenet/make_imagenet_mean.sh, and the programs that upgrade files."""
    chance = np.random.default_rng(1)
    Path("train/n01").mkdir(parents=True)
    for k in range(3):
        pixels = chance.integers(0, 256, (9, 7, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(f"train/n01/{k}.JPEG", "JPEG")
    Path("train.txt").write_text("".join(f"n01/{k}.JPEG {k}\n" for k in range(3)))
    out = sh("""
        set -e
        EXAMPLE=examples
        DATA=.
        TOOLS=build/tools
        TRAIN_DATA_ROOT=$PWD/train/
        RESIZE_HEIGHT=8
        RESIZE_WIDTH=8
        GLOG_logtostderr=1 $TOOLS/convert_imageset \\
            --resize_height=$RESIZE_HEIGHT \\
            --resize_width=$RESIZE_WIDTH \\
            --shuffle \\
            $TRAIN_DATA_ROOT \\
            $DATA/train.txt \\
            $EXAMPLE/ilsvrc12_train_lmdb
        $TOOLS/compute_image_mean $EXAMPLE/ilsvrc12_train_lmdb \\
          $DATA/imagenet_mean.binaryproto
        $TOOLS/upgrade_net_proto_text net.prototxt new_net.prototxt
        $TOOLS/upgrade_solver_proto_text solver.prototxt new_solver.prototxt
    """)
    assert "3 images of 3 x 8 x 8" in out
    assert Path("imagenet_mean.binaryproto").is_file()
    assert Path("new_net.prototxt").is_file()
    assert Path("new_solver.prototxt").is_file()
