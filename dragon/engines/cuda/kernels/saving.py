"""The kernel of saving.cu: copies of many arrays."""

from __future__ import annotations

from dragon.engines.cuda.kernels.kernel import Kernel

__all__ = ["CHUNK", "copy_arrays"]

CHUNK = 4096  # elements of a block, as in saving.cu

copy_arrays = Kernel("saving", "copy_arrays", """
    const Entry* entries, const Chunk* chunks
""")  # fmt: skip
