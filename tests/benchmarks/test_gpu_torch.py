"""PyTorch's side of the GPU benchmarks, on the CPU: eager forms, limits, fallbacks that are errors."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from benchmarks._harness import BenchmarkError
from benchmarks.cpu_nets import describe, net_for
from benchmarks.gpu_cases import Case
from benchmarks.gpu_training import Settings, export, training
from dragon.bases.layer import TRAIN

torch = pytest.importorskip("torch")
from benchmarks import cpu_torch, gpu_torch  # noqa: E402


@pytest.fixture
def arrays(tmp_path: Path) -> str:
    path = str(tmp_path / "arrays.npz")
    export(Case("lenet", 2), path)
    return path


def test_forms_compute_the_same_loss(arrays: str) -> None:
    plain = gpu_torch.make("plain", "lenet", 2, arrays, device="cpu")
    tuned = gpu_torch.make("tuned", "lenet", 2, arrays, device="cpu", bf16=True, channels_last=True)
    assert plain["loss"] == pytest.approx(tuned["loss"], rel=0.05)
    times = gpu_torch._timer.time("tuned", 2)
    assert times["wall"] is not None
    assert times["wall"] > 0
    assert times["gpu"] is None


def test_a_form_that_takes_too_long_is_given_up(arrays: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_torch, "_warm", lambda step: time.sleep(30))
    with pytest.raises(BenchmarkError, match="setting it up took longer than 0 s"):
        gpu_torch.make("slow", "lenet", 2, arrays, device="cpu", seconds=0.1)


def test_fallbacks_are_found() -> None:
    counters = torch._dynamo.utils.counters
    counters.clear()
    assert gpu_torch.fallbacks(False) == "nothing was compiled"
    counters["stats"]["unique_graphs"] = 1
    assert gpu_torch.fallbacks(True) == ""
    counters["inductor"]["cudagraph_skips"] = 2
    assert gpu_torch.fallbacks(False) == ""
    assert gpu_torch.fallbacks(True) == "2 CUDA graphs were skipped"
    counters["graph_break"]["a call\nof print"] = 1
    assert gpu_torch.fallbacks(False) == "graph break: a call of print"
    counters.clear()


def test_a_peer_that_fell_back_is_an_error(arrays: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    with pytest.raises(BenchmarkError, match="fell back to eager: nothing was compiled"):
        gpu_torch.make("eager in disguise", "lenet", 2, arrays, device="cpu", compiled=True)


def test_peers_are_timed_beside_ours_and_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """In processes: a form that cannot run, and one that computes something else, are said and left out."""
    from benchmarks.gpu_cases import Form

    peers = {"torch eager": Form(), "torch graph": Form(graph=True)}
    monkeypatch.setattr("benchmarks.gpu_training.PEERS", peers)
    monkeypatch.setattr("benchmarks.gpu_training.OURS", {"dragon": ("fp32", False)})
    said: list[str] = []
    settings = Settings(rounds=1, block_ms=0.1, ours="tests.benchmarks.emulated_gpu", device="cpu")
    measured = training(Case("lenet", 2), settings, said.append)
    assert list(measured.wall) == ["dragon", "torch eager"]
    assert measured.made["torch eager"]["loss"] == pytest.approx(measured.made["dragon"]["loss"], rel=1e-4)
    (line,) = said
    assert line.startswith("lenet at batch 2: torch graph does not run: benchmarks.gpu_torch: make: ")
    monkeypatch.setattr("benchmarks.gpu_training.FARTHEST", {"fp32": -1.0})
    said.clear()
    assert list(training(Case("lenet", 2), settings, said.append).wall) == ["dragon"]
    assert said[-1].startswith("lenet at batch 2: torch eager is left out: its first loss is ")


def test_batch_norm_and_scale_are_one_module(tmp_path: Path) -> None:
    path = str(tmp_path / "arrays.npz")
    net = net_for("cifar10_quick_bn_split", 2, TRAIN)
    export(Case("cifar10_quick_bn_split", 2), path)
    one, images, labels, rates = cpu_torch.build(describe(net), path, join=True)
    assert sum(isinstance(m, torch.nn.BatchNorm2d) and m.affine for m in one.modules()) == 3
    assert not any(isinstance(m, cpu_torch.Scale) for m in one.modules())
    assert set(rates) >= {name for name, _ in one.named_parameters()}
    apart, *_ = cpu_torch.build(describe(net), path)
    assert sum(isinstance(m, cpu_torch.Scale) for m in apart.modules()) == 3
    losses = [torch.nn.functional.cross_entropy(m.train()(images), labels).item() for m in (one, apart)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_batch_norm_that_others_read_stays_apart() -> None:
    def layer(kind: str, bottom: str, top: str) -> dict[str, object]:
        return {"name": top, "type": kind, "bottom": [bottom], "top": [top], "bias": True, "eps": 1e-5}

    layers = [layer("BatchNorm", "x", "a"), layer("Scale", "a", "b"), layer("ReLU", "a", "c")]
    assert cpu_torch.joined(layers) == layers
    assert [one["type"] for one in cpu_torch.joined(layers[:2])] == ["BN"]
