"""Losses, divided as Caffe divides them."""

from __future__ import annotations

from dragon.bases.loss import Loss
from dragon.export.torch.form import Call, NoForm, form, number
from dragon.layers.contrastive_loss import ContrastiveLoss
from dragon.layers.euclidean_loss import EuclideanLoss
from dragon.layers.focal_loss import FocalLoss
from dragon.layers.hinge_loss import HingeLoss
from dragon.layers.infogain_loss import InfogainLoss
from dragon.layers.l1_loss import L1Loss
from dragon.layers.multinomial_logistic_loss import MultinomialLogisticLoss
from dragon.layers.sigmoid_cross_entropy_loss import SigmoidCrossEntropyLoss
from dragon.layers.smooth_l1_loss import SmoothL1Loss
from dragon.layers.softmax_with_loss import SoftmaxWithLoss
from dragon.layers.triplet_loss import TripletLoss
from dragon.proto import dragon_pb2 as pb

__all__: list[str] = []


def _normalizer(layer: Loss) -> str:
    """The mode, the label to ignore and the fixed divisor, as the code in `parts` takes them."""
    mode = pb.LossParameter.NormalizationMode.Name(layer.normalization)
    return f'"{mode}", {layer.ignore_label}, {number(layer.param.loss_param.pre_fixed_normalizer)}'


def _with_probabilities(c: Call, loss: str, axis: int) -> list[str]:
    """The loss and, where the layer has a second top, the probabilities, through which no gradient passes."""
    return [loss, f"torch.softmax({c.x}.detach(), dim={axis})"][: c.tops]


@form(SoftmaxWithLoss)
def _softmax_with_loss(c: Call) -> list[str]:
    """SoftmaxWithLoss."""
    layer = c.layer
    assert isinstance(layer, SoftmaxWithLoss)
    axis = c.axis(layer.param.softmax_param.axis)
    weights = f"[{', '.join(number(w) for w in layer.weights)}]"
    loss = f"{c.part('softmax_loss')}({c.x}, {c.xs[1]}, {axis}, {_normalizer(layer)}, {weights})"
    return _with_probabilities(c, loss, axis)


@form(InfogainLoss)
def _infogain_loss(c: Call) -> list[str]:
    """InfogainLoss with its matrix as a bottom."""
    layer = c.layer
    assert isinstance(layer, InfogainLoss)
    if len(c.xs) < 3:
        raise NoForm("reads its matrix from a file: give it as a third bottom, an Input", layer=layer.where)
    axis = c.axis(layer.param.infogain_loss_param.axis)
    loss = f"{c.part('infogain_loss')}({c.x}, {c.xs[1]}, {c.xs[2]}, {axis}, {_normalizer(layer)})"
    return _with_probabilities(c, loss, axis)


@form(EuclideanLoss)
def _euclidean_loss(c: Call) -> str:
    return f"({c.x} - {c.xs[1]}.reshape({c.x}.shape)).square().sum() / (2 * {c.x}.shape[0])"


@form(SigmoidCrossEntropyLoss)
def _sigmoid_cross_entropy_loss(c: Call) -> str:
    layer = c.layer
    assert isinstance(layer, SigmoidCrossEntropyLoss)
    return f"{c.part('sigmoid_cross_entropy_loss')}({c.x}, {c.xs[1]}, {_normalizer(layer)})"


@form(HingeLoss)
def _hinge_loss(c: Call) -> str:
    squared = c.layer.param.hinge_loss_param.norm == pb.HingeLossParameter.L2
    return f"{c.part('hinge_loss')}({c.x}, {c.xs[1]}, {squared})"


@form(MultinomialLogisticLoss)
def _multinomial_logistic_loss(c: Call) -> str:
    return f"{c.part('multinomial_logistic_loss')}({c.x}, {c.xs[1]})"


@form(SmoothL1Loss)
def _smooth_l1_loss(c: Call) -> str:
    """SmoothL1Loss, with its optional weights inside and outside."""
    inside, outside, *_ = [*c.xs[2:], "None", "None"]
    beta = number(1 / c.layer.param.smooth_l1_loss_param.sigma**2)
    return f"{c.part('smooth_l1_loss')}({c.x}, {c.xs[1]}, {inside}, {outside}, {beta})"


@form(ContrastiveLoss)
def _contrastive_loss(c: Call) -> str:
    p = c.layer.param.contrastive_loss_param
    return f"{c.part('contrastive_loss')}({', '.join(c.xs)}, {number(p.margin)}, {p.legacy_version})"


@form(L1Loss)
def _l1_loss(c: Call) -> str:
    """L1Loss, plain or with FlowNet's settings; one bottom is the difference."""
    difference = f"{c.x} - {c.xs[1]}.reshape({c.x}.shape)" if len(c.xs) > 1 else c.x
    if not c.layer.param.HasField("l1_loss_param"):
        return f"({difference}).abs().sum() / {c.x}.shape[0]"
    p = c.layer.param.l1_loss_param
    flags = f"{p.l2_per_location}, {p.l2_prescale_by_channels}, {p.normalize_by_num_entries}"
    return f"{c.part('flow_loss')}({difference}, {flags}, {number(p.epsilon)}, {number(p.plateau)})"


@form(FocalLoss)
def _focal_loss(c: Call) -> list[str]:
    """FocalLoss."""
    layer = c.layer
    assert isinstance(layer, FocalLoss)
    p = layer.param.focal_loss_param
    settings = f"{number(p.alpha)}, {number(p.gamma)}, {_normalizer(layer)}"
    if layer.binary:
        return [f"{c.part('binary_focal_loss')}({c.x}, {c.xs[1]}, {settings})"]
    axis = c.axis(layer.param.softmax_param.axis)
    loss = f"{c.part('focal_loss')}({c.x}, {c.xs[1]}, {axis}, {settings})"
    return _with_probabilities(c, loss, axis)


@form(TripletLoss)
def _triplet_loss(c: Call) -> str:
    return f"{c.part('triplet_loss')}({', '.join(c.xs)}, {number(c.layer.param.triplet_loss_param.margin)})"
