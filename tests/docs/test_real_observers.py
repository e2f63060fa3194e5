"""The observers of docs/observers.md with the packages that they talk to, where these are installed.

What W&B and MLflow stored is read back: offline, in files. Other processes, since the packages give warnings.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.docs.test_observers import files, losses
from tests.imports import ROOT
from tests.tools.conftest import drawn, work

__all__ = ["drawn", "files", "work"]  # fixtures

pytestmark = pytest.mark.slow

# A .wandb file: 7 bytes, then blocks of 32 KiB with records of a checksum, a length, and the kind of part that follows.
READ_WANDB = """
import json, sys
from wandb.proto import wandb_internal_pb2 as pb
data, at, body, found = open(sys.argv[1], "rb").read(), 7, b"", {"history": [], "artifacts": 0}
while at + 7 <= len(data):
    left = -at % 32768 or 32768
    if left < 7:
        at += left
        continue
    length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
    body += data[at + 7 : at + 7 + length]
    at += 7 + length
    if kind in (1, 4):  # whole, or the last part
        record, body = pb.Record.FromString(body), b""
        if record.HasField("history"):
            items = record.history.item
            found["history"].append({".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in items})
        elif record.HasField("run") and "config" not in found:
            found["config"] = {one.key: json.loads(one.value_json) for one in record.run.config.update}
            found["project"] = record.run.project
        elif record.HasField("artifact"):
            found["artifacts"] += 1
        elif record.HasField("exit"):
            found["exit"] = record.exit.exit_code
print(json.dumps(found))
"""

READ_MLFLOW = """
import json, sys
import mlflow
client = mlflow.MlflowClient(sys.argv[1])
(run,) = client.search_runs([client.get_experiment_by_name("lenet").experiment_id])
history = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
print(json.dumps({
    "status": run.info.status, "params": run.data.params,
    "history": {name: {one.step: one.value for one in values} for name, values in history.items()},
    "artifacts": [one.path for one in client.list_artifacts(run.info.run_id)],
}))
"""


def python(*args: str, **variables: str) -> str:
    """What a program prints that ended well."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": os.getcwd(), **variables}
    done = subprocess.run([sys.executable, *args], env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "failed in" not in done.stderr
    return done.stdout


def train(observer: str, **variables: str) -> None:
    line = ("train", "--solver", "solver.prototxt", "--engine", "numpy", "--observer")
    python("-m", "dragon", *line, observer, **variables)


def needs(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")


def test_wandb_offline(work: Path) -> None:
    needs("wandb")
    train("wandb_observer:WandbObserver:project=lenet,snapshots=true", WANDB_MODE="offline", WANDB_SILENT="true")
    (path,) = work.glob("wandb/offline-run-*/*.wandb")
    found: dict[str, Any] = json.loads(python("-c", READ_WANDB, str(path)))
    assert (found["project"], found["exit"], found["artifacts"]) == ("lenet", 0, 4)
    config = {"net": "small", "seed": 3, "type": "SGD", "base_lr": 0.01, "max_iter": 20}
    assert {name: found["config"][name] for name in config} == config
    history = found["history"]
    assert {row["_step"]: row["train/loss"] for row in history if "train/loss" in row} == losses(work / "out")
    assert [row["_step"] for row in history if "test/acc" in row] == [0, 10, 20]


def test_mlflow_in_a_file(work: Path) -> None:
    needs("mlflow")
    uri = "sqlite:///mlflow.db"
    train(f"mlflow_observer:MlflowObserver:experiment=lenet,snapshots=true,uri={uri}")
    found: dict[str, Any] = json.loads(python("-c", READ_MLFLOW, uri))
    assert found["status"] == "FINISHED"
    assert found["params"] == {"net": "small", "seed": "3", "type": "SGD", "base_lr": "0.01"}
    assert {int(step): loss for step, loss in found["history"]["train_loss"].items()} == losses(work / "out")
    assert sorted(map(int, found["history"]["test_0_acc"])) == [0, 10, 20]
    assert len(found["artifacts"]) == 8
