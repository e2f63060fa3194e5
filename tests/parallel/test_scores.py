"""`dragon test` on several ranks: the figures of one process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import dragon
from dragon.data.synthetic import write_synthetic
from tests.data.detection.helpers import write_scenes
from tests.parallel.test_train import BN, NET, environment, needs_mpi

pytestmark = needs_mpi

ACCURACY = 'layer { name: "acc" type: "Accuracy" bottom: "i" bottom: "l" top: "acc" }'
# labels with their boxes made smaller, in the place of detections
DETECTIONS = """
layer {{ name: "d" type: "AnnotatedData" top: "x" top: "l" annotated_data_param {{ anno_type: BBOX }}
  transform_param {{ resize_param {{ resize_mode: WARP height: 20 width: 20 }} }}
  data_param {{ source: "{lmdb}" batch_size: 3 backend: LMDB }} }}
layer {{ name: "s" type: "Slice" bottom: "l" top: "item" top: "label" top: "score" top: "box" top: "rest"
  slice_param {{ axis: 3 slice_point: [1, 2, 3, 7] }} }}
layer {{ name: "p" type: "Power" bottom: "box" top: "small" power_param {{ scale: 0.9 }} }}
layer {{ name: "c" type: "Concat" bottom: "item" bottom: "label" bottom: "score" bottom: "small" top: "found"
  concat_param {{ axis: 3 }} }}
layer {{ name: "e" type: "DetectionEvaluate" bottom: "found" bottom: "l" top: "e"
  detection_evaluate_param {{ num_classes: 4 overlap_threshold: 0.5 }} }}
layer {{ name: "q" type: "Silence" bottom: "x" bottom: "rest" }}
"""


def scored(ranks: int, folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dragon", "test", "--model", folder / "net.prototxt", "--weights"]
    words = *command, folder / "x.caffemodel", "--engine", "numpy", "--ranks", ranks, *words
    return subprocess.run(
        list(map(str, words)), capture_output=True, text=True, timeout=300, check=False,
        env=environment(),
    )  # fmt: skip


def document(ranks: int, folder: Path, *words: object) -> dict[str, Any]:
    done = scored(ranks, folder, "--json", *words)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found.pop("ranks") == ranks
    return found


def write(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "net.prototxt").write_text(text)
    with dragon.Net(str(folder / "net.prototxt"), dragon.TEST, engine="numpy", seed=1) as net:
        net.save(folder / "x.caffemodel")
    return folder


@pytest.mark.slow
def test_the_figures_are_those_of_one_process(tmp_path: Path) -> None:
    lmdb = write_synthetic(tmp_path / "drawn", train=170, test=10).train
    text = NET.format(lmdb=lmdb, batch=13, middle=BN).replace("mirror: true", "").replace("brightness: 0.2", "")
    folder = write(tmp_path / "net", text + ACCURACY)
    alone = document(1, folder, "--iterations", 7)
    assert len(alone["scores"]) == 2  # by both kinds of statistics
    assert document(3, folder, "--iterations", 7) == alone  # 3 + 2 + 2 batches
    done = scored(2, folder, "--iterations", 1)
    assert "1 batch on 2 ranks" in done.stdout
    assert done.stdout.count("acc = ") == 1


@pytest.mark.slow
def test_mean_average_precision(tmp_path: Path) -> None:
    folder = write(tmp_path / "net", DETECTIONS.format(lmdb=write_scenes(tmp_path / "scenes")))
    alone = document(1, folder, "--iterations", 5)
    found = alone["scores"][0]["detections"][0]
    assert 0 < found["mean_average_precision"] < 1
    assert document(2, folder, "--iterations", 5) == alone


@pytest.mark.slow
def test_an_output_that_is_not_finite_and_files_are_one_line(tmp_path: Path) -> None:
    lmdb = write_synthetic(tmp_path / "drawn", train=170, test=10).train
    folder = write(tmp_path / "net", NET.format(lmdb=lmdb, batch=10, middle="").replace("scale: 0.01", "scale: 1e38"))
    done = scored(2, folder, "--iterations", 4)
    assert (done.returncode, done.stderr.count("dragon: ")) == (2, 1), done.stderr
    assert "is not finite; first in" in done.stderr
    done = scored(2, folder, "--write-files")
    assert (done.returncode, done.stderr.count("dragon: ")) == (2, 1), done.stderr
    assert "--write-files needs one process" in done.stderr
