"""Recurrent layers."""

from __future__ import annotations

from dragon.bases.recurrent import Recurrent
from dragon.export.torch.form import Call, form, number
from dragon.export.torch.state import Same
from dragon.layers.lstm import LSTM
from dragon.layers.lstm_unit import LSTMUnit
from dragon.layers.rnn import RNN
from dragon.layers.row_lstm import RowLSTM

__all__: list[str] = []


@form(LSTM, RNN)
def _recurrent(c: Call) -> str:
    """LSTM and RNN, with the blobs of inputs, of a static input, and of the recurrence."""
    layer = c.layer
    assert isinstance(layer, Recurrent)
    keys = ["weight_x", "bias", *(["weight_static"] if layer.static else []), "weight_h"]
    keys += ["weight_o", "bias_o"] if isinstance(layer, RNN) else []
    entries = [Same(key, i, layer.blobs[i].shape) for i, key in enumerate(keys)]
    name = c.part("RNN" if isinstance(layer, RNN) else "LSTM")
    module = f"{name}({layer.inputs}, {layer.static_inputs}, {layer.size}, exposed={layer.exposed})"
    return f"{c.declare(module, *entries)}({', '.join(c.xs)})"


@form(RowLSTM)
def _row_lstm(c: Call) -> str:
    layer = c.layer
    assert isinstance(layer, RowLSTM)
    entries = [Same(key, i, layer.blobs[i].shape) for i, key in enumerate(("weight_x", "weight_h", "bias"))]
    limit = number(layer.param.lstm_param.clipping_threshold)
    batch = None if layer.has_batch_axis else layer.n
    module = f"{c.part('RowLSTM')}({layer.inputs}, {layer.size}, {batch}, {limit})"
    return f"{c.declare(module, *entries)}({', '.join(c.xs)})"


@form(LSTMUnit)
def _lstm_unit(c: Call) -> str:
    return f"{c.part('lstm_step')}({c.x}, {c.xs[1]}, {c.xs[2]}[..., None])"
