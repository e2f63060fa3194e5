"""With and without probes, training on this engine gives the same bits."""

from __future__ import annotations

import pytest

from dragon.probes import probe_names
from tests.probes.test_leaves_training_alone import same, trained


@pytest.mark.usefixtures("cuda")
def test_the_same_bits_with_all_probes_at_once() -> None:
    same(trained("cuda", *probe_names()), trained("cuda"))
