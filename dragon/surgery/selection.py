"""Layers of a definition, chosen by name, pattern or type."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase

from dragon.bases.registry import canonical, class_of, find_class, spelled
from dragon.errors import LayerName, UsageError, nearest
from dragon.proto import dragon_pb2 as pb

__all__ = ["Words", "check_choice", "find_type", "list_words", "quote", "select", "sort_out", "suitable"]

Words = str | Sequence[str]  # one selector, several in a list, or several with commas between them


def list_words(words: Words) -> list[str]:
    """The selectors of a list, or of a text with commas. Raises UsageError for anything else and for none."""
    parts = words.split(",") if isinstance(words, str) else words
    if not isinstance(parts, Iterable) or not all(isinstance(part, str) for part in parts):
        raise UsageError(f"expected names or types of layers, got {words!r}")
    found = [part.strip() for part in parts if part.strip()]
    if not found:
        raise UsageError(f"expected names or types of layers, got {words!r}")
    return found


def find_type(word: str) -> str | None:
    """The main name of the layer type that a word means, in any case and with underscores; None if there is none."""
    found = spelled(word)
    return None if found is None else canonical(found)


def select(net: pb.NetParameter, words: Words) -> list[int]:
    """Positions of the layers that selectors name, in the order of the net.

    A selector is the name of a layer, a pattern of names with `*`, `?` or `[]`, or a type: `convolution` and
    `inner_product` are Convolution and InnerProduct, subclasses among them. Raises UsageError for one that names none.
    """
    return sorted({index for word in list_words(words) for index in _select_one(net, word)})


def _select_one(net: pb.NetParameter, word: str) -> list[int]:
    layers = list(enumerate(net.layer))
    found = [i for i, layer in layers if layer.name == word]
    if not found and any(mark in word for mark in "*?["):
        found = [i for i, layer in layers if fnmatchcase(layer.name, word)]
    if not found and (kind := find_type(word)) is not None:
        cls = find_class(kind)
        assert cls is not None
        found = [i for i, layer in layers if canonical(layer.type) == kind or issubclass(class_of(layer), cls)]
    if not found:
        known = [layer.name for layer in net.layer] + [layer.type for layer in net.layer]
        raise UsageError(f'net "{net.name}" has no layer of the name or type "{word}"{nearest(word, known)}')
    return found


def sort_out(
    net: pb.NetParameter,
    words: Words,
    chosen: Iterable[int],
    obstacle: Callable[[pb.LayerParameter], str],
    so: str = "",
) -> tuple[list[int], str]:
    """Those of the chosen layers that an operation can take, and which ones it leaves out and why, in words.

    chosen: positions that `select` gave for `words`. obstacle: why a layer cannot be taken; empty if it can. so: what
    follows from that. Raises UsageError for a layer that cannot be taken and was chosen by name, no pattern or type.
    """
    named = set(list_words(words))
    found: list[int] = []
    left: dict[str, list[str]] = {}  # names by obstacle
    for index in chosen:
        layer = net.layer[index]
        why = obstacle(layer)
        if why and layer.name in named:
            raise _refusal(layer, why, so)
        if why:
            left.setdefault(why, []).append(layer.name)
        else:
            found.append(index)
    text = ", ".join(f"{quote(names)} ({why})" for why, names in left.items())
    return found, f"{text}: {so}" if text and so else text


def suitable(
    net: pb.NetParameter,
    words: Words,
    obstacle: Callable[[pb.LayerParameter], str],
    note: Callable[[str], None],
    so: str = "",
) -> list[int]:
    """Positions of the layers that selectors name and an operation can take; a note says which ones are left out.

    As `sort_out`, and raises UsageError if none can be taken.
    """
    chosen = select(net, words)
    found, left = sort_out(net, words, chosen, obstacle, so)
    if not found:
        first = net.layer[chosen[0]]
        raise _refusal(first, obstacle(first), so)
    if left:
        note(f"left out {left}")
    return found


def _refusal(layer: pb.LayerParameter, why: str, so: str) -> UsageError:
    return UsageError(f"{why}: {so}" if so else why, layer=LayerName(layer.name, layer.type))


def check_choice(value: object, allowed: Sequence[str], what: str) -> str:
    """The value, if it is one of those allowed. Raises UsageError with the nearest."""
    if value in allowed:
        return str(value)
    raise UsageError(f'{what} is one of {", ".join(allowed)}, got "{value}"{nearest(str(value), allowed)}')


def quote(names: Iterable[str]) -> str:
    """Names as they stand in a message, each once."""
    return ", ".join(f'"{name}"' for name in dict.fromkeys(names))
