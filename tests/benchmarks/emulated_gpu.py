"""The worker of the GPU benchmarks on the emulated GPU."""

from __future__ import annotations

import pytest

from benchmarks.gpu_ours import main
from tests.engines.cuda.conftest import emulation

if __name__ == "__main__":
    running = emulation(pytest.MonkeyPatch())
    next(running)
    main()
