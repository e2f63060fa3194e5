"""forward_all and forward_backward_all: each example's rows are those of its own run, whatever the batch size is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dragon as caffe
from dragon.errors import UsageError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text

BATCH = 4
NET = f"""layer {{ name: "a" type: "Input" top: "a" input_param {{ shape {{ dim: {BATCH} dim: 3 }} }} }}
layer {{ name: "b" type: "Input" top: "b" input_param {{ shape {{ dim: {BATCH} dim: 2 }} }} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "a" top: "ip" inner_product_param {{ num_output: 2
  weight_filler {{ type: "gaussian" std: 1 }} }} }}
layer {{ name: "product" type: "Eltwise" bottom: "ip" bottom: "b" top: "product" eltwise_param {{ operation: PROD }} }}
"""
SUM = 'layer { name: "sum" type: "Reduction" bottom: "product" top: "sum" }'


def net(engine: str = "numpy", more: str = "") -> Any:
    return caffe.Net(parse_text(NET + more, pb.NetParameter()), phase=caffe.TEST, engine=engine, seed=1)


def examples(count: int) -> dict[str, Any]:
    rng = np.random.default_rng(count)
    return {"a": rng.standard_normal((count, 3)), "b": rng.standard_normal((count, 2))}


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 8, 11])
def test_forward_of_any_number(engine: str, count: int) -> None:
    made, given = net(engine), examples(count)
    w, bias = (blob.peek() for blob in made.params["ip"])
    found = made.forward_all(blobs=["ip"], **given)
    ip = given["a"] @ w.T + bias
    assert sorted(found) == ["ip", "product"]
    for name, expected in (("ip", ip), ("product", ip * given["b"])):
        assert found[name].shape == (count, 2)
        np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 4, 7])
def test_backward_of_any_number(count: int) -> None:
    made = caffe.Net(
        parse_text("force_backward: true " + NET, pb.NetParameter()), phase=caffe.TRAIN, engine="numpy", seed=1
    )
    given, diff = examples(count), np.random.default_rng(9).standard_normal((count, 2))
    w = made.params["ip"][0].peek()
    outs, diffs = made.forward_backward_all(diffs=["ip"], product=diff, **given)
    assert {name: array.shape for name, array in diffs.items()} == {"a": (count, 3), "b": (count, 2), "ip": (count, 2)}
    np.testing.assert_allclose(diffs["ip"], diff * given["b"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(diffs["a"], diff * given["b"] @ w, rtol=1e-5, atol=1e-6)
    assert outs["product"].shape == (count, 2)


@pytest.mark.parametrize(
    ("more", "changed", "kind", "message"),
    [
        ("", {"b": np.zeros((6, 2))}, ValueError, r'"a" has shape \(5, 3\), "b" \(6, 2\)'),
        ("", {"b": None}, ValueError, r'"a" has shape \(5, 3\), "b" \(\)'),
        ("", {"c": np.zeros((5, 2))}, UsageError, 'arrays of all examples for a, b.*, got "c"'),
        (SUM, {}, TypeError, '"sum" is one number for a batch: it has no rows to collect'),
    ],
)
def test_what_cannot_be_run(more: str, changed: dict[str, Any], kind: type[Exception], message: str) -> None:
    for run in (net(more=more).forward_all, net(more=more).forward_backward_all):
        with pytest.raises(kind, match=message) as raised:
            run(**(examples(5) | changed))
        assert isinstance(raised.value, caffe.DragonError)


def test_nothing_to_run() -> None:
    with pytest.raises(UsageError, match="expected arrays of all examples for a, b, got none"):
        net().forward_all()


def test_a_batch_of_none() -> None:
    made = net()
    made.blobs["a"].reshape(0, 3)
    with pytest.raises(ValueError, match=r'input "a" of shape \(0, 3\) takes no examples') as raised:
        made.forward_all(**examples(5))
    assert isinstance(raised.value, caffe.DragonError)
