"""TF32 in `dragon compare`: its name in results, the options of its nets, and where it is refused."""

from __future__ import annotations

import pytest

from dragon.compare import compare
from dragon.compare.arithmetic import arithmetic, options_for
from dragon.engines import Options
from dragon.errors import UsageError


def test_names_and_options() -> None:
    assert arithmetic("bf16", False) == "bf16"
    assert options_for(arithmetic("bf16", False), threads=2) == Options(precision="bf16", threads=2)
    assert options_for(arithmetic("fp32", True), fuse=False) == Options(precision="fp32", tf32=True, fuse=False)


def test_tf32_beside_16_bits_is_refused() -> None:
    with pytest.raises(UsageError, match="--precision bf16 multiplies in 16 bits"):
        arithmetic("bf16", True)


def test_tf32_on_a_cpu_is_refused() -> None:
    with pytest.raises(UsageError, match="--tf32 is for a GPU, and engine numpy runs on the CPU"):
        compare("naive_normalisation", quick=True, engine="numpy", tf32=True)
