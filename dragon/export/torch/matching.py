"""Which tensors of a state_dict belong to which layers of a net: by the names of the exported module, or by shape.

A state_dict of another module is cut into units, a layer with weights and the normalisation behind it, as the net is.
Units of equal shapes are matched in their order, and only if that leaves no choice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dragon.bases.layer import Layer
from dragon.errors import WeightsError, nearest
from dragon.export.torch.state import Array, Entry
from dragon.layers.scale import Scale

__all__ = ["Matched", "match"]

_OPTIONAL = ("average_weight", "iterations")  # what other modules do not have
_Shapes = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass
class Matched:
    """The values of the blobs by layer and index, and how they were found.

    by: "name" or "order and shape". pairs: layers of the net with the prefixes of the state_dict, where these differ.
    unused: keys that no layer takes.
    """

    blobs: dict[str, dict[int, Array]]
    by: str
    pairs: list[tuple[str, str]]
    unused: list[str]


@dataclass
class _Part:
    """What one prefix holds: shapes by the last word of the key, and for a net the entries by that word."""

    name: str
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)  # of the state_dict or the exported module, by the last word

    @property
    def signature(self) -> _Shapes:
        return tuple(sorted(self.shapes.items()))

    @property
    def normalises(self) -> bool:
        return "running_mean" in self.shapes


@dataclass
class _Unit:
    parts: list[_Part]

    @property
    def signature(self) -> tuple[_Shapes, ...]:
        return tuple(part.signature for part in self.parts)

    def __str__(self) -> str:
        return " + ".join(part.name for part in self.parts)


def match(entries: Sequence[tuple[Layer, Entry]], state: Mapping[str, Array], names: Mapping[str, str]) -> Matched:
    """Find the values of the blobs of a net's `entries` in a state_dict.

    names: prefixes of the state_dict by layer, which come before what is found by shape. Raises WeightsError where
    tensors are missing, do not fit, or could belong to several layers.
    """
    owned = _without_shared(entries)
    expected = {key: shape for _, entry in owned for key, shape in entry.keys.items() if not key.endswith(_OPTIONAL)}
    if not names and expected.keys() <= state.keys():
        for key, shape in expected.items():
            if state[key].shape != shape:
                raise WeightsError(f'"{key}" has shape {state[key].shape}, the net needs {shape}')
        known = {key for _, entry in entries for key in entry.keys}
        return Matched(_values(owned, state), "name", [], [key for key in state if key not in known])
    return _by_shape(owned, state, names)


def _without_shared(entries: Sequence[tuple[Layer, Entry]]) -> list[tuple[Layer, Entry]]:
    seen: set[tuple[int, ...]] = set()
    found = []
    for layer, entry in entries:
        storages = tuple(id(layer.blobs[i].data_storage) for i in entry.indices)
        if storages not in seen:
            seen.add(storages)
            found.append((layer, entry))
    return found


def _values(entries: Sequence[tuple[Layer, Entry]], state: Mapping[str, Array]) -> dict[str, dict[int, Array]]:
    found: dict[str, dict[int, Array]] = {}
    for layer, entry in entries:
        if all(key in state or key.endswith(_OPTIONAL) for key in entry.keys) and _has_any(entry, state):
            found.setdefault(layer.name, {}).update(entry.to_blobs(state))
    return found


def _has_any(entry: Entry, state: Mapping[str, Array]) -> bool:
    return any(key in state for key in entry.keys)


def _net_parts(entries: Sequence[tuple[Layer, Entry]]) -> list[_Part]:
    """The layers of the net; a BatchNorm with the Scale behind it is one, as PyTorch has it."""
    parts: list[_Part] = []
    newest: Layer | None = None
    for layer, entry in entries:
        if layer is not newest:
            joins = parts and parts[-1].normalises and "weight" not in parts[-1].shapes and isinstance(layer, Scale)
            if not joins:
                parts.append(_Part(layer.name))
            newest = layer
        for key, shape in entry.keys.items():
            word = key.rpartition(".")[2]
            if word not in _OPTIONAL:
                parts[-1].shapes[word] = shape
                parts[-1].keys[word] = key
    return parts


def _state_parts(state: Mapping[str, Array]) -> list[_Part]:
    parts: dict[str, _Part] = {}
    for key, value in state.items():
        prefix, _, word = key.rpartition(".")
        part = parts.setdefault(prefix, _Part(prefix))
        part.shapes[word] = value.shape
        part.keys[word] = key
    return list(parts.values())


def _units(parts: Sequence[_Part]) -> list[_Unit]:
    """Each layer with weights together with a normalisation of as many channels right behind it."""
    units: list[_Unit] = []
    for part in parts:
        before = units[-1].parts[-1] if units else None
        if part.normalises and before is not None and not before.normalises and "weight" in before.shapes:
            (channels,) = part.shapes["running_mean"]
            if channels in before.shapes["weight"][:2] and len(units[-1].parts) == 1:
                units[-1].parts.append(part)
                continue
        units.append(_Unit([part]))
    return units


def _by_shape(entries: Sequence[tuple[Layer, Entry]], state: Mapping[str, Array], names: Mapping[str, str]) -> Matched:
    mine, theirs = _net_parts(entries), _state_parts(state)
    pairs = _named(mine, theirs, names)
    taken = {id(part) for pair in pairs for part in pair}
    ours = _units([part for part in mine if id(part) not in taken])
    given = _units([part for part in theirs if id(part) not in taken])
    pairs += [p for unit, other in _pair(ours, given) for p in zip(unit.parts, other.parts, strict=True)]
    renamed = {
        part.keys[word]: state[other.keys[word]] for part, other in pairs for word in part.keys if word in other.keys
    }
    used = {key for _, other in pairs for key in other.keys.values()}
    listed = [(part.name, other.name) for part, other in pairs]
    return Matched(_values(entries, renamed), "order and shape", listed, [key for key in state if key not in used])


def _named(mine: Sequence[_Part], theirs: Sequence[_Part], names: Mapping[str, str]) -> list[tuple[_Part, _Part]]:
    found = []
    for layer, prefix in names.items():
        part = next((part for part in mine if part.name == layer), None)
        other = next((part for part in theirs if part.name == prefix), None)
        if part is None:
            raise WeightsError(f'the net has no layer "{layer}" with weights{nearest(layer, [p.name for p in mine])}')
        if other is None:
            raise WeightsError(f'the file has no tensors "{prefix}.*"{nearest(prefix, [p.name for p in theirs])}')
        if part.signature != other.signature:
            raise WeightsError(f'layer "{layer}" needs {_described(part)}, "{prefix}" has {_described(other)}')
        found.append((part, other))
    return found


def _described(part: _Part) -> str:
    return ", ".join(f"{word} {shape}" for word, shape in part.signature)


def _pair(ours: Sequence[_Unit], given: Sequence[_Unit]) -> list[tuple[_Unit, _Unit]]:
    """The units of the net with those of the state_dict. Raises WeightsError unless there is one way."""
    need, have = Counter(unit.signature for unit in ours), Counter(unit.signature for unit in given)
    for unit in ours:
        if need[unit.signature] > have[unit.signature]:
            what = " and ".join(_described(part) for part in unit.parts)
            raise WeightsError(
                f"the net has {need[unit.signature]} of {unit} ({what}), the file {have[unit.signature]} of such shapes"
            )
    wanted = [unit for unit in given if unit.signature in need]
    if [unit.signature for unit in wanted] == [unit.signature for unit in ours]:
        return list(zip(ours, wanted, strict=True))
    pairs, choices = [], []
    for signature in need:
        mine = [unit for unit in ours if unit.signature == signature]
        theirs = [unit for unit in wanted if unit.signature == signature]
        if len(mine) == len(theirs) == 1:
            pairs.append((mine[0], theirs[0]))
        else:
            choices.append(f"{_listed(mine)} could be {_listed(theirs)}")
    if choices:
        raise WeightsError(
            f"the layers come in another order than in the file, and shapes leave a choice: {'; '.join(choices)}; "
            "say which with --map LAYER=PREFIX, once for each"
        )
    return pairs


def _listed(units: Sequence[_Unit]) -> str:
    return ", ".join(f'"{unit}"' for unit in units)
