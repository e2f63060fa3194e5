from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.engines import Options
from dragon.errors import UsageError
from dragon.graph.net import Net
from dragon.probes import ProbeNet
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from tests.helpers import TRAINABLE
from tests.probes.helpers import make_solver, run_of

SCALE = 'layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }'
SPLIT = TRAINABLE.replace('"BN"', '"BatchNorm"').replace('layer { name: "relu"', f'{SCALE} layer {{ name: "relu"')


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
def test_a_loss_depends_on_weights_and_batch_alone(engine: str) -> None:
    """With Dropout, and with an average that training normalises by."""
    text = TRAINABLE.replace('type: "BN"', 'type: "BatchRenorm"')
    run = run_of(text, engine=engine)
    net, first, second = run.net, run.batch(0), run.batch(1)
    losses = [net.loss(batch) for batch in (first, second, first, first, second)]
    assert losses[0] == losses[2] == losses[3]
    assert losses[1] == losses[4]
    assert losses[0] != losses[1]
    _, gradient = net.gradient(first)
    for one, other in zip(gradient, net.gradient(first)[1], strict=True):
        np.testing.assert_array_equal(one, other)


def test_it_has_the_present_weights() -> None:
    solver = make_solver(max_iter=2)
    run = run_of(solver)
    net = run.net
    net.set_weights([w + 1 for w in net.weights()])
    solver.solve()
    net = run.net
    for name, blobs in solver.net.params.items():
        for mine, theirs in zip(net.net.params[name], blobs, strict=True):
            np.testing.assert_array_equal(mine.peek(), theirs.peek())


def test_gradients_are_those_of_the_net() -> None:
    source = Net(
        parse_text(TRAINABLE.replace("Dropout", "Power"), pb.NetParameter()), phase=TRAIN, engine="numpy", seed=1
    )
    run = run_of(TRAINABLE.replace("Dropout", "Power"))
    loss, gradient = run.net.gradient(run.batch(0))
    for name, array in run.batch(0).arrays.items():
        source.blobs[name].data[...] = array
    source.clear_param_diffs()
    total = sum(source.run_forward(i, i) for i, node in enumerate(source.nodes) if node.bottoms)
    source.run_backward()
    assert total == pytest.approx(loss, rel=1e-6)
    for p, g in zip(source.learnable, gradient, strict=True):
        np.testing.assert_allclose(p.blob.peek_diff(), g, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("text", "norm"), [(TRAINABLE, "bn"), (SPLIT, "scale")])
def test_names_of_blobs(text: str, norm: str) -> None:
    net = run_of(text).net
    names = [net.key(p) for p in net.net.learnable]
    assert names == ["conv", "conv/bias", f"{norm}/gamma", f"{norm}/beta", "ip", "ip/bias"]
    assert net.kernels() == {"conv": 0, "ip": 4}


def test_frozen_blobs_are_no_params() -> None:
    text = TRAINABLE.replace('top: "conv"\n  convolution', 'top: "conv" param { lr_mult: 0 } convolution')
    net = run_of(text).net
    assert [p.name for p in net.params] == ["conv/1", "bn/0", "bn/1", "ip/0", "ip/1"]
    assert net.kernels() == {"ip": 3}


def test_the_scores_are_found_through_a_split() -> None:
    """In TEST the accuracy reads them too."""
    run = run_of(TRAINABLE)
    for phase in (TRAIN, TEST):
        assert run.clone(phase).scores().name == "ip"


def test_a_net_without_a_loss_has_none() -> None:
    text = TRAINABLE[: TRAINABLE.index('layer { name: "accuracy"')]
    with pytest.raises(UsageError, match='net "toy" has no loss in phase TRAIN'):
        run_of(text).net.scores()


def test_options_are_those_of_the_source_but_for_another_engine() -> None:
    solver = make_solver(engine="onednn")
    solver.net.executor.options = replace(solver.net.executor.options, threads=1)
    assert ProbeNet(solver.net).net.executor.options.threads == 1
    assert ProbeNet(solver.net, engine="numpy").net.executor.options == Options()
