from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.importing.helpers import Case, c, case, run_case, x

A = x(2, 3, 5, 4)
f = np.float32
CASES = [
    case("Relu", A, types="ReLU"),
    case("LeakyRelu", A, alpha=0.2),
    case("PRelu", A, np.abs(c(3, 1, 1)), types="PReLU"),
    case("PRelu", A, np.array([0.3], f)),
    case("PRelu", x(2, 3), c(3)),
    case("PRelu", x(2, 3), c(1, 3)),
    case("Clip", A, np.array(0, f), np.array(6, f), types="ReLU6"),
    case("Clip", A, np.array(-0.5, f), np.array(0.5, f), types="Clip"),
    case("Clip", A, np.array(0, f), types="ReLU"),
    case("Clip", A, None, np.array(0.25, f)),
    case("Clip", A, opset=6, min=0.0, max=6.0, types="ReLU6"),
    case("Clip", A, opset=6, min=-1.0, max=0.3),
    case("Sigmoid", A, types="Sigmoid"),
    case("Tanh", A, types="TanH"),
    case("HardSigmoid", A, alpha=1 / 6, types="HardSigmoid"),
    case("HardSigmoid", A, alpha=0.3, beta=0.4, types="Power Clip"),
    case("HardSwish", A, types="HardSwish"),
    case("Elu", A, alpha=0.7),
    case("Selu", A, types="SeLU"),
    case("Selu", A, alpha=1.5, gamma=1.1, types="ELU Power"),
    case("Celu", A, alpha=2.0),
    case("Softplus", A, types="BNLL"),
    case("Mish", A, opset=18, types="Mish"),
    case("Softsign", A),
    case("ThresholdedRelu", A, alpha=0.4),
    case("Gelu", A, opset=20),
    case("Gelu", A, opset=20, approximate="tanh"),
    case("Exp", A, types="Exp"),
    case("Log", A, types="Log"),
    case("Abs", A, types="AbsVal"),
    case("Neg", A, types="Power"),
    case("Sqrt", A),
    case("Reciprocal", A),
    case("Softmax", A, axis=1, types="Softmax"),
    case("Softmax", A),
    case("Softmax", A, opset=11),
    case("Softmax", A, opset=11, axis=2),
    case("Softmax", x(2, 7), opset=11, types="Softmax"),
    case("LogSoftmax", x(2, 7), axis=1, types="Softmax Log"),
]


@pytest.mark.parametrize("one", CASES, ids=lambda one: one.id)
def test_case(one: Case, tmp_path: Path) -> None:
    run_case(one, tmp_path)
