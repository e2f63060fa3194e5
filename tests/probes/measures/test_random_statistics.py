"""Statistics and scores of random nets, against NumPy and a plain net; DRAGON_PROBED_NETS=200 for more."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.bases.batch_statistics import averages
from dragon.bases.layer import TEST, TRAIN
from dragon.graph.net import Net
from dragon.memory.storage import Array
from dragon.probes import Batch, Run, create, measure
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from tests.probes.measures.branching import BranchingNet
from tests.probes.measures.test_random_nets import NETS, with_statistics


def plain(text: str, run: Run, phase: int, batch: Batch, by_batch: bool | None = None) -> Net:
    """The net with Inputs that hold a batch. by_batch: which statistics normalisations use; None: as the phase says."""
    param = parse_text(text, pb.NetParameter())
    for layer in param.layer:
        if layer.type == "DummyData":
            layer.type = "Input"
            layer.ClearField("dummy_data_param")
            for top in layer.top:
                layer.input_param.shape.add(dim=batch.arrays[top].shape)
        if layer.type == "BN" and by_batch is not None:
            layer.batch_norm_param.use_global_stats = not by_batch
    net = Net(param, phase=phase, dtype=np.float64, engine="numpy", seed=1)
    for name, blobs in net.params.items():
        for blob, theirs in zip(blobs, run.source().params[name], strict=True):
            blob.data[...] = theirs.peek()
    for name, values in batch.arrays.items():
        net.blobs[name].data[...] = values
    for one in net.layers:
        one.rng.draws = batch.index
    return net


def passes(net: Net) -> dict[str, tuple[Array, Array]]:
    """What each layer is given and gives, as (channels, values)."""
    found = {}
    for node in net.nodes:
        before = node.bottoms[0].peek().copy() if node.bottoms else None
        net.run_forward(node.index, node.index)
        if before is not None and node.layer.type != "Split" and before.ndim == node.tops[0].ndim == 2:
            found[node.name] = before.T, node.tops[0].peek().T.copy()
    return found


def scores(text: str, run: Run, batches: list[Batch], by_batch: bool) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for batch in batches:
        net = plain(text, run, TEST, batch, by_batch)
        net.run_forward()
        for name, value in net.output_values().items():
            if value.size == 1:
                found.setdefault(name, []).append(float(value.reshape(-1)[0]))
    return {name: float(np.mean(values)) for name, values in found.items()}


@pytest.mark.parametrize("seed", range(NETS))
def test_statistics_of_random_nets(seed: int) -> None:
    text = BranchingNet(seed).text
    run, size = with_statistics(seed), (0, 1, 4)[seed % 3]
    net = plain(text, run, TRAIN, run.batch(0, size))
    values = passes(net)
    moments = measure(create("moments", {"batch_size": size}), run)
    shares = measure(create("saturation", {"batch_size": size}), run)
    for name, (_, y) in values.items():
        d, kind = y - y.mean(), net.layer_dict[name].type
        assert moments[f"{name}/variance"] == pytest.approx(y.var(), abs=1e-12)
        if y.var():
            assert moments[f"{name}/kurtosis"] == pytest.approx((d**4).mean() / y.var() ** 2)
        if kind in ("TanH", "Sigmoid"):
            ends = (-0.9, 0.9) if kind == "TanH" else (0.05, 0.95)
            assert shares[f"{name}/saturated"] == pytest.approx(((y <= ends[0]) | (y >= ends[1])).mean())
    drift = measure(create("drift", {"batches": 2}), run)
    every = [passes(plain(text, run, TRAIN, run.batch(k))) for k in range(2)]
    for layer in run.source().layers:
        if averages(layer):
            x, eps = np.concatenate([found[layer.name][0] for found in every], axis=1), layer.normalization.eps
            running, _ = layer.peek_running()
            off = (running - x.mean(axis=1)) / np.sqrt(x.var(axis=1, ddof=1) + eps)
            assert drift[f"{layer.name}/mean"] == pytest.approx(np.sqrt((off**2).mean()))
    run.close()


@pytest.mark.parametrize("seed", range(NETS))
def test_scores_of_random_nets(seed: int) -> None:
    text, run = BranchingNet(seed).text, with_statistics(seed)
    found = measure(create("test_batch", {"images": 5, "sizes": [1, 2, 10]}), run)
    expected = {f"{k}/running": v for k, v in scores(text, run, [run.batch(i, 2, TEST) for i in (0, 1)], False).items()}
    for size in (1, 2):
        batches = [run.batch(k, size, TEST) for k in range(5 // size)]
        expected |= {f"{k}/batch/{size}": v for k, v in scores(text, run, batches, True).items()}
    assert found == pytest.approx(expected, rel=1e-6)
    run.close()
