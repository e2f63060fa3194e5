"""The loops that `dragon export` writes for LSTM and RNN, with the products before and behind them."""

from __future__ import annotations

from typing import Any

from dragon.importing.graph import Node
from dragon.importing.patterns.view import Found, View

__all__ = ["joined_directions", "lstm", "rnn"]

# One step, as its outputs follow from its inputs: states, gates, marks that are 0 where a sequence begins.
_I, _F, _O, _G = (f"Split(Gemm(Mul(0, 3), outer, 2), outer)[{k}]" for k in range(4))
_CELL = f"Add(Mul(Mul(3, Sigmoid({_F})), 1), Mul(Sigmoid({_I}), Tanh({_G})))"
_OUT = f"Mul(Sigmoid({_O}), Tanh({_CELL}))"
_LSTM = [_OUT, _CELL, _OUT]
_RNN = ["Tanh(Gemm(Mul(0, 2), outer, 1))"] * 2
_DEFAULTS = [("alpha", 1.0), ("beta", 1.0), ("transA", 0)]


def joined_directions(view: View, node: Node) -> Found | None:
    """The sequence (T, directions, N, H) of an LSTM, put together as (T, N, directions * H): an attribute of it."""
    inner = view.source(node.inputs[0], "LSTM") if node.op == "Transpose" else None
    if inner is None or node.integers("perm") != (0, 2, 1, 3) or inner.outputs[0] != node.inputs[0]:
        return None
    steps, directions, batch, size = view.graph.shapes.get(inner.outputs[0]) or (0, 0, 0, 0)
    readers = view.graph.readers(node.outputs[0])
    if not steps or node.outputs[0] in view.graph.outputs.values() or any(one.op != "Reshape" for one in readers):
        return None
    view.graph.shapes[node.outputs[0]] = (steps, batch, directions * size)  # which a Reshape reads in the same order
    outputs = [node.outputs[0], *inner.outputs[1:]]
    new = Node(inner.op, inner.name, inner.inputs, outputs, inner.attributes | {"joined": 1}, inner.opset, inner.titled)
    return [inner, node], new


def lstm(view: View, node: Node) -> Found | None:
    """The loop of an LSTM: a Scan that reads what its converter needs, see `_joined`."""
    recurrent = _recurrent_weight(node, _LSTM)
    new = None if recurrent is None else _joined(view, node, node, "LSTM", recurrent)
    return None if new is None else ([node], new)


def rnn(view: View, node: Node) -> Found | None:
    """The loop of an RNN, and the product that makes its outputs."""
    bent = view.source(node.inputs[0], "Tanh") if node.op == "Reshape" else None
    product = None if bent is None else view.source(bent.inputs[0], "Gemm")
    flat = None if product is None or not _plain(product) else view.source(product.inputs[0], "Reshape")
    scan = None if flat is None else view.source(flat.inputs[0], "Scan")
    if scan is None or product is None or flat is None or flat.inputs[0] != scan.outputs[-1]:
        return None
    recurrent = _recurrent_weight(scan, _RNN)
    if recurrent is None or view.graph.shapes.get(node.outputs[0]) != view.graph.shapes.get(scan.outputs[-1]):
        return None
    new = _joined(view, scan, node, "RNN", recurrent, product.inputs[1:3])
    return None if new is None else ([scan, node], new)


def _joined(
    view: View, scan: Node, last: Node, layer: str, recurrent: str, output: list[str] | None = None
) -> Node | None:
    """A Scan of x, marks, static input, the weights and bias of these, the recurrent and output weights, and states.

    Its outputs are those of `last`, then the final states. What is not there is "".
    """
    states = len(scan.inputs) - 2
    gates, going = scan.inputs[states:]
    shapes = view.graph.shapes
    full = view.graph.shape_of(gates)
    static, static_weight = "", ""
    projected = gates
    total = view.given.get(gates)
    if total is not None and total.op == "Add":
        still = view.given.get(total.inputs[1])
        if still is None or still.op != "Gemm" or not _plain(still) or still.has_input(2):
            return None
        projected, (static, static_weight) = total.inputs[0], still.inputs[:2]
    steps = view.given.get(projected)
    if steps is None or steps.op != "Reshape" or full is None or shapes.get(projected) != full:
        return None
    product = view.given.get(steps.inputs[0])
    if product is None or product.op != "Gemm" or not _plain(product) or not product.has_input(2):
        return None
    x = _unshaped(view, product.inputs[0], full[:2])
    marks = _unshaped(view, going, full[:2])
    inputs = [x, marks, static, product.inputs[1], product.inputs[2], static_weight, recurrent, *(output or ["", ""])]
    starts = [_unshaped(view, start, (1, full[1])) for start in scan.inputs[:states]]
    outputs = [last.outputs[0] if last is not scan else scan.outputs[-1], *scan.outputs[:-1]]
    name = scan.name.rpartition("/")[0] or scan.name  # dragon export calls the nodes of a layer LAYER/OPERATOR
    return Node("Scan", name, [*inputs, *starts], outputs, {"layer": layer, "steps": full[:2]}, scan.opset)


def _unshaped(view: View, value: str, begin: tuple[int, ...]) -> str:
    """The value before a Reshape, if that begins with these dimensions; else the value."""
    node = view.given.get(value)
    if node is not None and node.op == "Reshape":
        before = view.graph.shape_of(node.inputs[0])
        if before is not None and before[: len(begin)] == begin:
            return node.inputs[0]
    return value


def _plain(product: Node) -> bool:
    """Whether a Gemm is x times the transpose of a weight, with what is added as it is."""
    numbers = {name: value for name, value in product.attributes.items() if name != "transB"}
    return product.integer("transB", 0) == 1 and all(
        value == (0 if name == "transA" else 1) for name, value in numbers.items()
    )


def _recurrent_weight(node: Node, wanted: list[str]) -> str | None:
    """The weight that the loop of a Scan multiplies its first state by; None for another loop than the wanted one."""
    body = node.attributes.get("body")
    if node.op != "Scan" or body is None or set(node.attributes) != {"body", "num_scan_inputs"}:
        return None
    step = _Step(body)
    if node.integer("num_scan_inputs", 0) != 2 or len(body.input) != len(wanted) + 1:
        return None
    if [step.expression(one.name) for one in body.output] != wanted:
        return None
    return step.weight


class _Step:
    """The body of a loop. weight: what a Gemm in it multiplies by."""

    def __init__(self, body: Any) -> None:
        self.weight = ""
        self._texts = {one.name: str(k) for k, one in enumerate(body.input)}
        for node in body.node:
            self._enter(node)

    def _enter(self, node: Any) -> None:
        if node.op_type == "Gemm" and len(node.input) > 1:
            self.weight = node.input[1]
        settings = {one.name: one.f or one.i for one in node.attribute}
        expected = {"Gemm": {"transB": 1}, "Split": {"axis": 1}}.get(node.op_type, {})
        known = {name: value for name, value in settings.items() if (name, value) not in _DEFAULTS}
        text = f"{node.op_type}({', '.join(map(self.expression, node.input))})"
        if node.op_type == "Identity" and len(node.input) == 1:
            text = self.expression(node.input[0])
        if known != expected:
            text = "?"
        for k, name in enumerate(node.output):
            self._texts[name] = f"{text}[{k}]" if len(node.output) > 1 else text

    def expression(self, value: str) -> str:
        """A value of the body as a text of operators and inputs; "outer" for one of the graph around it."""
        return self._texts.get(value, "outer")
