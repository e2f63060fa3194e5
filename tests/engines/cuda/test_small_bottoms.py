"""Windows that are larger than their bottoms."""

from __future__ import annotations

import pytest

from tests.engines.cuda.running import same
from tests.engines.small_bottoms import CASES

pytestmark = pytest.mark.usefixtures("cuda")


@pytest.mark.parametrize("name", CASES)
def test_engines_agree(name: str) -> None:
    case = CASES[name]
    same(case.text().replace("force_backward: true\n", ""), case.values())
