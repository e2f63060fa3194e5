"""Counter-based random numbers: the same on every engine and after every resume.

Each consumer (a layer, a filler) owns a Stream named after itself. A stream's n-th draw depends on the seed, the
name and n alone, so its whole state is the integer n. The generator is Philox-4x64-10 (Salmon et al. 2011): draw n,
word i is word i % 4 of the block with counter (i // 4 + 1, n, 0, 0), which NumPy computes and a GPU kernel can too.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from dragon.errors import ArgumentTypeError, UsageError
from dragon.share import ALONE, Share

__all__ = ["Stream", "checked_seed", "fresh_seed", "set_default_seed"]


_default_seed: int | None = None


def set_default_seed(seed: int | None) -> None:
    """Let `fresh_seed` return this seed from now on; None: a random one each time. Raises as `checked_seed`."""
    global _default_seed
    _default_seed = None if seed is None else checked_seed(seed)


def checked_seed(seed: int) -> int:
    """A seed, as a Python integer. Raises UsageError unless it is a whole number that a solver's state can hold."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise ArgumentTypeError(f"a seed is a whole number, got {seed!r}")
    if not 0 <= seed < 1 << 63:
        raise UsageError(f"a seed is a whole number from 0 to {(1 << 63) - 1}, got {seed}")
    return int(seed)


def fresh_seed() -> int:
    """The seed of a net without one of its own: the default seed if set, else a random one from the system."""
    return int.from_bytes(os.urandom(4), "little") >> 1 if _default_seed is None else _default_seed


_BLOCK = 4  # words of a block of the generator


def _key_of(content: bytes) -> NDArray[np.uint64]:
    import hashlib  # takes as long to load as a small file of weights, and many nets draw nothing

    return np.frombuffer(hashlib.blake2b(content, digest_size=16).digest(), np.uint64)


class Stream:
    """A named stream of random draws under a seed. Its whole state is `draws`, the number of draws so far.

    share: of a training on several ranks: the words of `raw` and `raw32` are those of this rank's rows of a draw for
    the rows of all ranks.
    """

    def __init__(self, seed: int, name: str, share: Share = ALONE) -> None:
        self._named = seed, name
        self._key: NDArray[np.uint64] | None = None  # until it is asked for
        self.draws = 0
        self.share = share

    @property
    def key(self) -> NDArray[np.uint64]:
        """The two words that seed, name and purpose make."""
        if self._key is None:
            seed, name = self._named
            self._key = _key_of(f"{seed}\0{name}".encode())
        return self._key

    @key.setter
    def key(self, key: NDArray[np.uint64]) -> None:
        self._key = key

    def child(self, name: str) -> Stream:
        """A separate stream for one purpose of the owner; depends on the key of this one, not on its draws."""
        stream = Stream(0, name, self.share)
        stream.key = _key_of(self.key.tobytes() + name.encode())
        return stream

    def bits(self, block: int = 0) -> np.random.Philox:
        """The bit generator of the next draw, from a block of four words on."""
        counter = np.array([block, self.draws, 0, 0], np.uint64)
        self.draws += 1
        return np.random.Philox(key=self.key, counter=counter)

    def raw(self, n: int) -> NDArray[np.uint64]:
        """`n` random 64-bit words."""
        return self._words(self.share.rank * n, n)

    def raw32(self, n: int) -> NDArray[np.uint32]:
        """`n` random 32-bit words: the little-endian halves of the 64-bit ones."""
        start = self.share.rank * n
        first = start // 2
        return self._words(first, (start + n + 1) // 2 - first).view(np.uint32)[start % 2 :][:n]

    def rows(self, n: int, *widths: int) -> list[NDArray[np.uint64]]:
        """One draw of several tables of `n` rows of 64-bit words, one for each of the widths."""
        draw, first, tables = self.draws, 0, []
        for width in widths:
            self.draws = draw
            tables.append(self._words(first + self.share.rank * n * width, n * width).reshape(n, width))
            first += self.share.ranks * n * width
        return tables

    def _words(self, start: int, n: int) -> NDArray[np.uint64]:
        """Words start to start + n of the next draw."""
        block, skipped = divmod(start, _BLOCK)
        words: NDArray[np.uint64] = self.bits(block).random_raw(skipped + n)
        return words[skipped:]

    def generator(self) -> np.random.Generator:
        """NumPy's distributions (normal, uniform, permutation) over the next draw."""
        return np.random.Generator(self.bits())
