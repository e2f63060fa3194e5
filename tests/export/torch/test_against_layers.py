"""The modules of exported nets compute what the layers compute: both phases, gradients, running statistics.

These tests need PyTorch (`make test-peers`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN, Layer, find_class
from dragon.export.torch.form import reason_of
from dragon.export.torch.module import Exported, export
from dragon.graph.net import Net
from tests.engines.ignored_labels import KINDS, definition
from tests.export.torch.helpers import learned_gradients, make_net, run_source
from tests.layers.catalogue import CASES, Case

torch = pytest.importorskip("torch")

CLOSE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-6}
DRAWS = ("Dropout", "NoisyBN", "DummyData", "Insanity", "SpatialDropout")  # each side draws numbers of its own

WITH_FORM = [name for name, case in CASES.items() if reason_of(find_class(case.kind) or Layer) is None]


def values(case: Case) -> dict[str, Any]:
    """The case's inputs; where a maximum of several is taken, without equal values, whose gradient PyTorch shares."""
    found = case.values()
    if "MAX" in case.settings and len(found) > 1:
        found = {name: value + 1e-3 * i for i, (name, value) in enumerate(found.items())}
    return found


def draws(case: Case, phase: int) -> bool:
    random = case.kind in DRAWS or "STOCHASTIC" in case.settings or "use_dropout" in case.settings
    return case.kind == "DummyData" or (random and phase == TRAIN)


def backward(net: Net, module: Any, outputs: dict[str, Any]) -> bool:
    """Run both sides backward from the losses, or from random gradients of the outputs; whether there is a gradient."""
    losses = {
        name for node in net.nodes for name, weight in zip(node.top_names, node.loss_weights, strict=False) if weight
    }
    rng = np.random.default_rng(2)
    net.clear_param_diffs()
    total = module.loss(outputs) if losses else torch.zeros((), dtype=torch.float64)
    for name, value in outputs.items():
        if name not in losses and value.requires_grad:
            gradient = rng.normal(size=tuple(value.shape))
            net.blobs[name].diff[...] = gradient
            total = total + (value * torch.from_numpy(np.array(gradient))).sum()
    if not total.requires_grad or not any(node.need_backward for node in net.nodes):
        return False
    net.backward()
    total.backward()
    return True


def check_parameters(module: Any, exported: Exported) -> None:
    for key, gradient, expected in learned_gradients(module, exported):
        np.testing.assert_allclose(gradient, expected, err_msg=key, **CLOSE)


@pytest.mark.parametrize("phase", [TRAIN, TEST])
@pytest.mark.parametrize("name", WITH_FORM)
def test_module_computes_what_the_layer_computes(name: str, phase: int, caplog: pytest.LogCaptureFixture) -> None:
    case = CASES[name]
    net = make_net(case.text(), phase)
    given = values(case)
    for blob, value in given.items():
        net.blobs[blob].data[...] = value
    exported = export(net)
    module = run_source(exported).train(phase == TRAIN)
    inputs = [torch.from_numpy(np.array(net.blobs[blob].peek())).requires_grad_() for blob in given]
    returned = module(*inputs)
    outputs = returned if isinstance(returned, dict) else {net.outputs[0]: returned}
    net.forward()
    assert set(outputs) == set(net.outputs)
    for blob, value in outputs.items():
        assert tuple(value.shape) == net.blobs[blob].shape
        if not draws(case, phase):
            np.testing.assert_allclose(value.detach().numpy(), net.blobs[blob].peek(), err_msg=blob, **CLOSE)
    if draws(case, phase) or not backward(net, module, outputs):
        return
    node = net.nodes[net.layer_names.index("one")] if "one" in net.layer_names else net.nodes[-1]
    for i, blob in enumerate(node.bottom_names):
        if node.propagate_down[i] and inputs[i].grad is not None:
            np.testing.assert_allclose(inputs[i].grad.numpy(), node.bottoms[i].peek_diff(), err_msg=blob, **CLOSE)
    check_parameters(module, exported)
    after = {key: value.numpy() for key, value in module.state_dict().items()}
    for layer, entry in exported.entries:
        for index, value in entry.to_blobs(after).items():
            np.testing.assert_allclose(value.reshape(-1), layer.blobs[index].peek().reshape(-1), **CLOSE)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.kind == "BN" and case.settings == ""])
def test_a_wrong_value_is_noticed(name: str) -> None:
    """The comparison above can fail: another eps changes the outputs by more than it allows."""
    case = replace(CASES[name], settings="batch_norm_param { eps: 0.1 }")
    net, other = make_net(CASES[name].text(), TEST), make_net(case.text(), TEST)
    module = run_source(export(other)).eval()
    for blob, value in case.values().items():
        net.blobs[blob].data[...] = value
    net.forward()
    y = module(*(torch.from_numpy(value) for value in case.values().values()))
    assert not np.allclose(y.detach().numpy(), net.blobs[net.outputs[0]].peek(), **CLOSE)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "softmax with hard examples"])
def test_what_stands_at_ignored_labels_does_not_count(kind: str) -> None:
    text, given, ignored = definition(kind)
    module = run_source(export(make_net(text, TRAIN))).train()
    found = []
    for planted in (0, np.nan, np.inf):
        x = torch.from_numpy(np.where(ignored, planted, given["x"]).astype(np.float64)).requires_grad_()
        others = [torch.from_numpy(value.astype(np.float64)) for name, value in given.items() if name != "x"]
        loss = module.loss(module(x, *others))
        loss.backward()
        assert x.grad is not None
        found.append((loss.item(), x.grad.numpy()))
    assert found[0][0] > 0
    assert not found[0][1][ignored].any()
    for loss, gradient in found[1:]:
        np.testing.assert_allclose(loss, found[0][0], **CLOSE)
        np.testing.assert_allclose(gradient, found[0][1], **CLOSE)
