"""Python layers, which run code of the user: whether they may run, and which of them raised an exception.

In the library they may run; the command line asks for `--allow-python`, see `user_code`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dragon.errors import DragonError, LayerName
from dragon.files.permission import Permission

__all__ = ["failing_layer", "mark_errors", "user_code", "user_code_allowed", "user_error"]

_ATTRIBUTE = "dragon_layer"  # of an exception that user code raised: the name of its layer


user_code = Permission()  # for Python layers in nets that are made now, unless a net has its own setting


def user_code_allowed() -> bool:
    """Whether a net that is made now may have Python layers."""
    return user_code.granted


@contextmanager
def mark_errors(layer: LayerName) -> Iterator[None]:
    """Mark an exception of the block, unless a DragonError, as raised by the user code of `layer`; re-raise it."""
    try:
        yield
    except DragonError:
        raise
    except Exception as error:
        if failing_layer(error) is None:
            BaseException.__setattr__(error, _ATTRIBUTE, layer)  # its class may forbid attributes, as frozen ones do
        raise


def failing_layer(error: BaseException) -> LayerName | None:
    """The layer whose user code raised an exception; None if no user code did."""
    found = getattr(error, _ATTRIBUTE, None)
    return found if isinstance(found, LayerName) else None


def user_error(error: BaseException) -> BaseException | None:
    """The exception of a user's layer that this one is, or that it came from; None where no user's layer raised one.

    Python puts a RuntimeError in place of a StopIteration that leaves a generator, and code that runs on the way up may
    fail in its turn. A DragonError says itself what is wrong.
    """
    found: BaseException | None = error
    while found is not None and not isinstance(found, DragonError):
        if failing_layer(found) is not None:
            return found
        found = found.__cause__ or found.__context__
    return None
