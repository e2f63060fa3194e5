"""Counter-based random numbers: the same on every engine and after every resume.

Each consumer (a layer, a filler) owns a Stream named after itself. A stream's n-th draw depends on the seed, the
name and n alone, so its whole state is the integer n. The generator is Philox-4x64-10 (Salmon et al. 2011): draw n,
word i is word i % 4 of the block with counter (i // 4 + 1, n, 0, 0), which NumPy computes and a GPU kernel can too.
"""

from __future__ import annotations

import hashlib
import secrets

import numpy as np
from numpy.typing import NDArray

__all__ = ["Stream", "fresh_seed", "set_default_seed"]


_default_seed: int | None = None


def set_default_seed(seed: int | None) -> None:
    """Let `fresh_seed` return this seed from now on; None: a random one each time."""
    global _default_seed
    _default_seed = seed


def fresh_seed() -> int:
    """The seed of a net without one of its own: the default seed if set, else a random one from the system."""
    return secrets.randbits(31) if _default_seed is None else _default_seed


class Stream:
    """A named stream of random draws under a seed. Its whole state is `draws`, the number of draws so far."""

    def __init__(self, seed: int, name: str) -> None:
        digest = hashlib.blake2b(f"{seed}\0{name}".encode(), digest_size=16).digest()
        self.key: NDArray[np.uint64] = np.frombuffer(digest, np.uint64)
        self.draws = 0

    def child(self, name: str) -> Stream:
        """A separate stream for one purpose of the owner; depends on the key of this one, not on its draws."""
        stream = Stream(0, name)
        digest = hashlib.blake2b(self.key.tobytes() + name.encode(), digest_size=16).digest()
        stream.key = np.frombuffer(digest, np.uint64)
        return stream

    def bits(self) -> np.random.Philox:
        """The bit generator of the next draw."""
        counter = np.array([0, self.draws, 0, 0], np.uint64)
        self.draws += 1
        return np.random.Philox(key=self.key, counter=counter)

    def raw(self, n: int) -> NDArray[np.uint64]:
        """`n` random 64-bit words."""
        words: NDArray[np.uint64] = self.bits().random_raw(n)
        return words

    def raw32(self, n: int) -> NDArray[np.uint32]:
        """`n` random 32-bit words: the little-endian halves of the 64-bit ones."""
        return self.raw((n + 1) // 2).view(np.uint32)[:n]

    def generator(self) -> np.random.Generator:
        """NumPy's distributions (normal, uniform, permutation) over the next draw."""
        return np.random.Generator(self.bits())
