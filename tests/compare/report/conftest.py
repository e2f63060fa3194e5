from __future__ import annotations

from typing import Any

import pytest

from tests.compare.report.results import make_results


@pytest.fixture
def results() -> dict[str, Any]:
    """The content of results.json."""
    return make_results()
