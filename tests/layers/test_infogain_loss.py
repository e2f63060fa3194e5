from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dragon.errors import DataError, PrototxtError, ShapeError
from dragon.gradient import check_gradient
from dragon.proto.blobs import array_to_blobproto
from tests.layers.helpers import One

RNG = np.random.default_rng(3)
X = RNG.standard_normal((3, 4, 2))
LABEL = RNG.integers(0, 4, (3, 2))
LABEL[0, 0] = 1
H = RNG.uniform(0, 1, (4, 4))


def expected(ignore: int | None) -> float:
    total, valid = 0.0, 0
    for n in range(3):
        for s in range(2):
            if LABEL[n, s] != ignore:
                valid += 1
                p = np.exp(X[n, :, s]) / np.exp(X[n, :, s]).sum()
                total -= sum(H[LABEL[n, s], k] * np.log(p[k]) for k in range(4))
    return total / valid


@pytest.mark.parametrize("ignore", [None, 1])
def test_value_and_gradient(ignore: int | None) -> None:
    text = 'type: "InfogainLoss"' + ("" if ignore is None else f" loss_param {{ ignore_label: {ignore} }}")
    one = One(text, X, LABEL, H, n_top=2, dtype=np.float64)
    assert float(one.forward()) == pytest.approx(expected(ignore), rel=1e-9)
    np.testing.assert_allclose(one.top[1].data.sum(axis=1), 1)
    check_gradient(text, [X, LABEL, H])


def test_other_axis() -> None:
    text = 'type: "InfogainLoss" infogain_loss_param { axis: -1 }'
    moved = np.moveaxis(X, 1, 2)
    assert float(One(text, moved, LABEL, H).forward()) == pytest.approx(expected(None), rel=1e-6)
    check_gradient(text, [moved, LABEL, H])


def test_identity_is_softmax_with_loss() -> None:
    one = One('type: "InfogainLoss"', X, LABEL, np.eye(4))
    other = One('type: "SoftmaxWithLoss"', X, LABEL)
    assert float(one.forward()) == pytest.approx(float(other.forward()), rel=1e-6)
    np.testing.assert_allclose(one.backward(1.0), other.backward(1.0), atol=1e-6)


def test_matrix_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "H.binaryproto"
    path.write_bytes(array_to_blobproto(H.reshape(1, 1, 4, 4)).SerializeToString())
    text = f'type: "InfogainLoss" infogain_loss_param {{ source: "{path}" }}'
    assert float(One(text, X, LABEL).forward()) == pytest.approx(expected(None), rel=1e-6)


def test_messages(tmp_path: Path) -> None:
    with pytest.raises(PrototxtError, match="needs the matrix H"):
        One('type: "InfogainLoss"', X, LABEL)
    with pytest.raises(DataError, match=r"infogain matrix .*nowhere"):
        One(f'type: "InfogainLoss" infogain_loss_param {{ source: "{tmp_path}/nowhere" }}', X, LABEL)
    with pytest.raises(ShapeError, match=r"must have shape \(4, 4\), got \(3, 3\)"):
        One('type: "InfogainLoss"', X, LABEL, np.eye(3))
