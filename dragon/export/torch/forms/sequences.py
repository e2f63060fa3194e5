"""Layers of label sequences."""

from __future__ import annotations

from dragon.export.torch.form import Call, form, number
from dragon.layers.continuation_indicator import ContinuationIndicator
from dragon.layers.ctc_greedy_decoder import CTCGreedyDecoder
from dragon.layers.ctc_loss import CTCLoss
from dragon.layers.labelsequence_accuracy import LabelsequenceAccuracy
from dragon.proto import dragon_pb2 as pb

__all__: list[str] = []


@form(CTCLoss)
def _ctc_loss(c: Call) -> str:
    """CTCLoss: torch.nn.functional.ctc_loss where repeated classes are merged."""
    layer = c.layer
    assert isinstance(layer, CTCLoss)
    p, delay = layer.param.ctc_loss_param, layer.param.ctc_loss_param.output_delay
    rows = c.xs[-1] if len(c.xs) == 2 else f"{c.xs[-1]}.flatten(1).T"
    more = f", counts={c.xs[2]}" if len(c.xs) == 4 else ""
    more += ", collapse=True" if p.preprocess_collapse_repeated else ""
    labels = f"*{c.part('label_rows')}({rows}, {layer.blank}{more})"
    if len(c.xs) == 2:
        lengths = "None"
    else:
        given = f"{c.part('sequence_lengths')}({c.xs[1]})" if len(c.xs) == 3 else f"{c.xs[1]}.flatten().long()"
        lengths = f"{given}.clamp(max={layer.steps}) - {delay}"
    settings = f"{layer.blank}, {p.ctc_merge_repeated}"
    if layer.is_divided:
        settings += f', "{pb.LossParameter.NormalizationMode.Name(layer.normalization)}"'
        if layer.normalization == pb.LossParameter.PRE_FIXED:
            settings += f", {number(layer.param.loss_param.pre_fixed_normalizer)}"
    return f"{c.part('ctc_loss')}({c.x}[{delay}:{layer.steps}], {labels}, {lengths}, {settings})"


@form(LabelsequenceAccuracy)
def _labelsequence_accuracy(c: Call) -> str:
    layer = c.layer
    assert isinstance(layer, LabelsequenceAccuracy)
    found = f"*{c.part('best_path')}({c.x}.transpose(0, 1), {layer.blank}, True)[:2]"
    return f"{c.part('reading_accuracies')}({found}, *{c.part('label_rows')}({c.xs[1]}, {layer.blank}))[1]"


@form(CTCGreedyDecoder)
def _ctc_greedy_decoder(c: Call) -> str | list[str]:
    """CTCGreedyDecoder, in each form of its tops."""
    layer = c.layer
    assert isinstance(layer, CTCGreedyDecoder)
    cont = f", {c.xs[1]}" if layer.marked else ""
    path = f"{c.part('best_path')}({c.x}, {layer.blank}, {layer.param.ctc_decoder_param.ctc_merge_repeated}{cont})"
    label = c.xs[-1] if layer.only_scored else f"{c.xs[-1]}.flatten(1).T"
    scored = f"{c.part('reading_accuracies')}(*{path}[:2], *{c.part('label_rows')}({label}, {layer.blank}))"
    if layer.only_scored:
        return f"torch.stack({scored}).reshape(1, 2, 1, 1)"
    tops = [f"{path}[0][:, :, None, None].to({c.x}.dtype)"]
    if c.tops == len(c.xs) > 1:
        tops.append(f"-{path}[2][:, None, None, None]")
    if c.tops > 1 and len(c.xs) == 3:
        tops.append(f"{scored}[0].reshape(1, 1, 1, 1)")
    return tops if len(tops) > 1 else tops[0]


@form(ContinuationIndicator)
def _continuation_indicator(c: Call) -> str:
    """ContinuationIndicator, for the batch that the bottom has where it takes its sizes from there."""
    layer = c.layer
    assert isinstance(layer, ContinuationIndicator)
    going_on = ", 1.0" if layer.param.continuation_indicator_param.flag else ""
    if layer.measures:
        return f"{c.part('continuation')}({c.x}{going_on})"
    if c.xs and not going_on:
        going_on = f", (({c.x}.flatten() - 1).abs() <= 0.01).to({c.x}.dtype)"
    return f"{c.part('continuation')}(torch.ones({c.top()}){going_on})"
