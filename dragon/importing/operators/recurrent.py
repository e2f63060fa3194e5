"""Long short-term memory."""

from __future__ import annotations

from functools import partial

import numpy as np

from dragon.counting import how_many
from dragon.importing.context import Context
from dragon.importing.graph import OWN_GRAPH, Array, NoForm
from dragon.importing.operators.cutting import cut
from dragon.importing.registry import operator

_GATES = (0, 2, 1, 3)  # of ONNX's order i, o, f, c, those of Caffe's i, f, o, g


@operator("LSTM")
def lstm(c: Context) -> None:
    """LSTM, one for each direction, with Reverse around the one backwards; states begin at 0 or at constants."""
    steps, batch, _ = c.shape()
    size = c.node.integer("hidden_size", 0)
    directions = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}.get(
        c.node.text("direction", "forward"), []
    )
    if not directions or c.node.integer("layout", 0) or c.node.integer("input_forget", 0) or c.node.has_input(7):
        raise NoForm("it has a layout, coupled gates or peepholes, which Caffe's LSTM does not have")
    if c.node.attributes.get("activations") or c.node.attributes.get("clip"):
        raise NoForm("it has other activations or a limit, which Caffe's LSTM does not have")
    if c.node.has_input(4):
        lengths = c.needed_constant(4, "list of lengths")
        if not (lengths == steps).all():
            raise NoForm("its sequences have different lengths")
    goes_on = np.ones((steps, batch), np.float32)
    exposed = c.node.has_output(2) or any(map(partial(_begins, c), (5, 6)))
    in_a_row = c.node.integer("joined", 0) == 1  # given by patterns alone: (T, N, directions * H)
    goes_on[0] = 1 if exposed else 0
    on = c.parameter(goes_on, f"{c.node.name or 'lstm'}/cont")
    tops: list[list[str]] = [[], [], []]
    for k, backwards in enumerate(directions):
        weight, recurrent = (_reordered(c.needed_constant(i, what)[k], size) for i, what in ((1, "W"), (2, "R")))
        bias = _bias(c, k, size)
        x = c.reverse(c.blob(), 0, steps, f"reverse{k}") if backwards else c.blob()
        bottoms = [x, on]
        if exposed:
            bottoms += [_state(c, i, k, batch, size) for i in (5, 6)]
        param = {"num_output": size} | ({"expose_hidden": True} if exposed else {})
        c.layer("LSTM", bottoms, f"lstm{k}", 3 if exposed else 1, [weight, bias, recurrent], recurrent_param=param)
        y, *states = c.last_tops()
        last = cut(c, y, (steps, batch, size), 0, steps - 1, steps) if c.node.has_output(1) and not exposed else ""
        if backwards:
            y = c.reverse(y, 0, steps, f"back{k}")
        tops[0].append(y if in_a_row else c.reshape(y, (steps, batch, size), (steps, 1, batch, size), f"direction{k}"))
        for one, top in zip(tops[1:], states or [last], strict=False):
            one.append(top)
    for index, axis in ((0, 2 if in_a_row else 1), (1, 0), (2, 0)):
        if c.node.has_output(index):
            blobs = tops[index]
            joined = (
                c.layer("Concat", blobs, f"directions{index}", concat_param={"axis": axis})
                if len(blobs) > 1
                else blobs[0]
            )
            c.result(joined, index)


@operator("Scan")
def scan(c: Context) -> None:
    """LSTM or RNN, where it is the loop that `dragon export` writes for one; other loops have no form."""
    kind = c.node.attributes.get("layer")
    if kind is None:
        raise NoForm(OWN_GRAPH)
    named = ((3, "W"), (4, "bias"), (5, "static W"), (6, "R"), (7, "output W"), (8, "output bias"))
    arrays = [c.needed_constant(i, what) for i, what in named if c.node.has_input(i)]
    steps, batch = c.node.attributes["steps"]
    size = c.needed_constant(6, "R").shape[1]
    shape = c.shape()
    x = c.blob() if shape[:2] == (steps, batch) else c.reshape(c.blob(), shape, (steps, batch, shape[-1]), "steps")
    bottoms = [x, c.reshape(c.blob(1), c.shape(1), (steps, batch), "cont")]
    bottoms += [c.blob(2)] if c.node.has_input(2) else []
    starts = range(9, len(c.node.inputs))
    given = [c.constant(i) for i in starts]
    exposed = any(start is None or start.any() for start in given) or any(map(c.node.has_output, range(1, 3)))
    if exposed:
        bottoms += [c.reshape(c.blob(i), c.shape(i), (1, batch, size), f"state{i}") for i in starts]
    param = {"num_output": size} | ({"expose_hidden": True} if exposed else {})
    c.layer(kind, bottoms, tops=1 + len(starts) if exposed else 1, arrays=arrays, recurrent_param=param)
    y, *states = c.last_tops()
    c.result(y)
    for k, state in enumerate(states, 1):
        c.result(c.reshape(state, (1, batch, size), (batch, size), f"end{k}"), k)


def _begins(c: Context, index: int) -> bool:
    """Whether a state to begin with is another one than 0."""
    constant = c.constant(index)
    return c.node.has_input(index) and (constant is None or bool(constant.any()))


def _reordered(rows: Array, size: int) -> Array:
    """Rows of four gates in Caffe's order."""
    if size < 1 or len(rows) != 4 * size:
        raise NoForm(f"it has {how_many(len(rows), 'row')} of weights for a state of {size}")
    return np.concatenate([rows[g * size : (g + 1) * size] for g in _GATES])


def _bias(c: Context, direction: int, size: int) -> Array:
    if not c.node.has_input(3):
        return np.zeros(4 * size, np.float32)
    both = c.needed_constant(3, "bias")[direction]
    return _reordered(both[: 4 * size] + both[4 * size :], size)


def _state(c: Context, index: int, direction: int, batch: int, size: int) -> str:
    """A state to begin with (1, N, size): constant, computed, or 0."""
    suffix = f"state{index}_{direction}"
    if not c.node.has_input(index):
        return c.parameter(np.zeros((1, batch, size), np.float32), f"{c.node.name or 'lstm'}/{suffix}")
    constant = c.constant(index)
    if constant is not None:
        return c.parameter(constant[direction : direction + 1], f"{c.node.name or 'lstm'}/{suffix}")
    return cut(c, c.blob(index), c.shape(index), 0, direction, direction + 1)
