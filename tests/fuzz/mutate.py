"""Random damage to bytes and to prototxt."""

from __future__ import annotations

import random
import re

__all__ = ["damage", "damage_text"]

# lengths, counts and offsets at which programs go wrong
_EDGES = [0, 1, 2, 3, 4, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 2**64 - 1]
_TOKENS = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'|[A-Za-z_]\w*|[-+.\w]+|\s+|.", re.DOTALL)
_NUMBERS = ["0", "-1", "1", "2", "3", "5", "1.5", "-0.5", "1e9", "1e-30", "1e38", "inf", "-inf", "nan", "0x10", "010"]
_NUMBERS += ["2147483647", "-2147483648", "4294967295", "9223372036854775807", "99999999999999999999", "1e400", "3f"]
_WORDS = [*"{}<>[]:,;-#'\"\\", "\n", '""', "'", '"\\n"', '"x0"', '"one"', "true", "false", "MAX", "é", "\x00", "\ufeff"]


def damage(content: bytes, chance: random.Random, other: bytes = b"") -> bytes:
    """The content with one to six changes: bytes replaced, cut out, doubled, lengths put in, parts of `other`."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 6))):
        at = chance.randrange(len(data) + 1)
        what = chance.randrange(8)
        if what <= 2 and data:
            data[at % len(data)] = chance.choice(
                (chance.randrange(256), data[at % len(data)] ^ 1 << chance.randrange(8))
            )
        elif what == 3:
            size = chance.choice((1, 2, 4, 8))
            edge = chance.choice(_EDGES) % 2 ** (8 * size)
            data[at : at + size] = edge.to_bytes(size, chance.choice(("little", "big")))
        elif what == 4:
            del data[at : at + chance.choice((1, 2, 8, 64, len(data)))]
        elif what == 5:
            piece = data[at : at + chance.choice((1, 4, 32, 256))]
            target = chance.randrange(len(data) + 1)
            data[target:target] = piece
        elif what == 6 and other:
            start = chance.randrange(len(other))
            piece = bytearray(other[start : start + chance.choice((4, 32, 256))])
            data[at : at + len(piece)] = piece
        else:
            data[at:at] = chance.randbytes(chance.choice((1, 2, 5)))
    return bytes(data)


def damage_text(text: str, chance: random.Random, other: str = "") -> str:
    """Prototxt with one to four tokens changed, doubled, swapped, dropped or taken from `other`."""
    tokens = _TOKENS.findall(text)
    for _ in range(chance.choice((1, 1, 1, 2, 2, 4))):
        full = [i for i, token in enumerate(tokens) if not token.isspace()]
        if not full:
            break
        at = chance.choice(full)
        what = chance.randrange(9)
        numbers = [i for i in full if tokens[i][0] in "0123456789.-"]
        if what <= 3 and numbers:
            tokens[chance.choice(numbers)] = chance.choice(_NUMBERS)
        elif what == 4:
            tokens[at] = chance.choice(_WORDS)
        elif what == 5:
            del tokens[at]
        elif what == 6:
            tokens.insert(at, tokens[chance.choice(full)])
        elif what == 7:
            to = chance.choice(full)
            tokens[at], tokens[to] = tokens[to], tokens[at]
        elif other:
            taken = _TOKENS.findall(other)
            start = chance.randrange(len(taken))
            tokens[at:at] = [" ", *taken[start : start + chance.choice((1, 3, 12))], " "]
    return "".join(tokens)
