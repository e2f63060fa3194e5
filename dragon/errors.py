"""Dragon's exceptions.

DragonError
├── PrototxtError   a text or binary definition cannot be parsed, upgraded or built
├── ShapeError      blob shapes do not fit the layer that receives them
├── WeightsError    weights or a snapshot are damaged or belong to another net
├── DataError       a data source is missing, empty, damaged or of another shape
├── EngineError     an engine is not available or failed
├── NumericError    a value became NaN or infinite
├── LayerFileError  a file of `layers/` or of an engine's lowerings cannot be loaded
└── UsageError      a command-line option or a configuration value is wrong
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

__all__ = [
    "ArgumentTypeError",
    "ArrayShapeError",
    "BlobCountError",
    "DataError",
    "DragonError",
    "EngineError",
    "ImageFileError",
    "InputArraysError",
    "LayerFileError",
    "LayerName",
    "MissingImageError",
    "MissingModelError",
    "MissingWeightsError",
    "NumericError",
    "Position",
    "PrototxtError",
    "SettingNameError",
    "SettingValueError",
    "ShapeError",
    "SolverFieldError",
    "UnknownBlobError",
    "UnknownLayerError",
    "UnknownNumberError",
    "UsageError",
    "WeightsError",
    "first_line",
    "nearest",
    "one_line",
    "text_of",
]


@dataclass(frozen=True)
class LayerName:
    """A layer as messages name it: `layer "conv1" (Convolution)`, without brackets where the type is not known."""

    name: str
    type: str | None = None

    def __str__(self) -> str:
        return f'layer "{self.name}"' + ("" if self.type is None else f" ({self.type})")


@dataclass(frozen=True)
class Position:
    """A place in a file: `file:line:column`. Lines and columns count from 1; 0 where they are not known."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part)


class DragonError(Exception):
    """Base of all errors that a user's input can cause: what is wrong, and where, as far as that is known.

    layer: the layer concerned. position: in a definition, or the file that cannot be used. task: what could not be done
    because of the error. hint: what may help. Code that the error passes through adds what it knows by `at`.
    `str()` is one line, whatever the names in files hold: `task: file:line: layer "x" (Type): message; hint`, or
    `file:line:column: message, in layer "x"` for a mistake within a layer's text.
    """

    layer: LayerName | None = None
    position: Position | None = None
    task: str = ""
    hint: str = ""

    def __init__(self, *args: object, layer: LayerName | None = None, position: Position | None = None) -> None:
        super().__init__(*args)
        self.at(layer, position)

    def at(self, layer: LayerName | None = None, position: Position | None = None) -> Self:
        """Add layer and position unless they are known already; return the error itself."""
        self.layer = self.layer or layer
        self.position = self.position or position
        return self

    @property
    def message(self) -> str:
        """What is wrong, without layer and position."""
        return BaseException.__str__(self)  # KeyError and OSError have forms of their own

    def __str__(self) -> str:
        text, layer, position = self.message, self.layer, self.position
        if layer is not None:
            within = position is not None and position.column
            text = f'{text}, in layer "{layer.name}"' if within else f"{layer}: {text}"
        if position is not None:
            text = f"{position}: {text}"
        if self.task:
            text = f"{self.task}: {text}"
        return one_line(f"{text}; {self.hint}" if self.hint else text)


class PrototxtError(DragonError):
    """A prototxt, net or solver definition is wrong."""


class ShapeError(DragonError):
    """Shapes of blobs or arrays do not fit together."""


class WeightsError(DragonError):
    """A weights file or snapshot cannot be used for this net."""


class DataError(DragonError):
    """A data source cannot be read, or its content is not what was expected."""


class EngineError(DragonError):
    """An engine is missing or failed."""


class NumericError(DragonError):
    """A value became NaN or infinite; the message names the first layer where it did."""


class LayerFileError(DragonError):
    """A file of layers or of lowerings raises an exception when it is imported; the cause has the traceback."""


class UsageError(DragonError):
    """An option or a configuration value is wrong."""


# -- errors that are also of the type that pycaffe raises, so that a script's `except` catches them --------------


class ArrayShapeError(ShapeError, ValueError):
    """An array does not fit a blob."""


class BlobCountError(WeightsError, ValueError):
    """The values of a BlobProto do not fit its shape."""


class ImageFileError(DataError, OSError):
    """An image file cannot be read."""


class InputArraysError(DataError, RuntimeError):
    """A net has no MemoryData layer to set arrays of."""


class MissingImageError(DataError, FileNotFoundError):
    """An image file does not exist."""


class MissingModelError(PrototxtError, RuntimeError):
    """The file of a definition cannot be opened."""


class MissingWeightsError(WeightsError, RuntimeError):
    """A weights file does not exist."""


class SettingNameError(PrototxtError, AttributeError):
    """A message has no field of that name."""


class SettingValueError(PrototxtError, TypeError, ValueError):
    """A value does not fit its field."""


class KeptAttributeError(UsageError, AttributeError):
    """An attribute of a net that the net keeps for itself."""


class ArgumentTypeError(UsageError, TypeError):
    """An argument is of a type that cannot be used."""


class SolverFieldError(PrototxtError):
    """A setting of a solver is wrong. field: its name, by which the line is found on which it is given."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class UnknownNameError(UsageError, KeyError):
    """A dictionary of a net or solver has no such key."""


class UnknownBlobError(UnknownNameError):
    """A net has no blob of that name."""


class UnknownLayerError(PrototxtError, ValueError):
    """A net has no layer of that name."""


class UnknownNumberError(UsageError, IndexError):
    """A net has no layer, or a solver no test net, of that number."""


def nearest(name: str, known: Iterable[str]) -> str:
    """`` (did you mean "x"?)`` for the closest known name, or an empty string."""
    import difflib

    candidates = list(known)
    lowered = {c.lower(): c for c in candidates}
    if name.lower() in lowered:
        close = [lowered[name.lower()]]
    else:
        close = difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
    if not close:
        close = [lowered[c] for c in difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)]
    return f' (did you mean "{close[0]}"?)' if close else ""


def one_line(text: str) -> str:
    """The text with line breaks and control characters escaped, since names from files may contain any."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def first_line(error: BaseException) -> str:
    """The first line of an error's text that is not empty, as `one_line`; the error's type without one."""
    return next((one_line(line.strip()) for line in str(error).splitlines() if line.strip()), type(error).__name__)


def text_of(error: BaseException) -> str:
    """`str(error)`; empty for an exception of a user's program whose own `__str__` fails."""
    try:
        return str(error)
    except Exception:
        return ""
