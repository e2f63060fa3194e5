"""GoogLeNet (Szegedy et al. 2014) and its successor with batch normalisation (Ioffe & Szegedy 2015).

Both have two further classifiers on lower layers, which only training uses. Layers are named as in BVLC's and Intel's
Caffe files.
"""

from __future__ import annotations

from dragon.models.nets.body import ACROSS, PLAIN, SPLIT, XAVIER, Body
from dragon.models.nets.datasets import imagenet
from dragon.models.nets.model import Model, solver
from dragon.proto import dragon_pb2 as pb

__all__ = ["MODELS", "bn_inception", "googlenet"]

# outputs of 1x1, 3x3_reduce, 3x3, 5x5_reduce, 5x5 and pool_proj
_GOOGLENET = {
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64), "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64), "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128), "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128),
}  # fmt: skip
# outputs of 1x1, 3x3_reduce, 3x3, double3x3_reduce, both of double3x3, and pool_proj; without 1x1 the stride is 2
_BN_INCEPTION = {
    "3a": (64, 64, 64, 64, 96, 32), "3b": (64, 64, 96, 64, 96, 64), "3c": (0, 128, 160, 64, 96, 0),
    "4a": (224, 64, 96, 96, 128, 128), "4b": (192, 96, 128, 96, 128, 128), "4c": (160, 128, 160, 128, 160, 96),
    "4d": (96, 128, 192, 160, 192, 96), "4e": (0, 128, 192, 192, 256, 0), "5a": (352, 192, 320, 160, 224, 128),
    "5b": (352, 192, 320, 192, 224, 128),
}  # fmt: skip


def googlenet() -> Body:
    """GoogLeNet up to `loss3/classifier`."""
    b = Body(decays=(1, 0))
    _stem(b)
    for name, widths in _GOOGLENET.items():
        if name in ("4a", "5a"):
            b.pool(f"pool{int(name[0]) - 1}/3x3_s2", "MAX")
        _module(b, f"inception_{name}", widths)
        if name in ("4a", "4d"):
            with b.only_training():
                _classifier(b, "loss1" if name == "4a" else "loss2", dropout=0.7)
    b.pool("pool5/7x7_s1", "AVE", 7, 1).dropout("pool5/drop_7x7_s1", 0.4)
    return b.ip("loss3/classifier", 1000, XAVIER)


def bn_inception() -> Body:
    """The net with batch normalisation up to `loss3/classifier`: 5x5 convolutions become two of 3x3, LRN is gone."""
    b = Body(SPLIT, lr=(1,), decays=(1, 0))
    _stem(b)
    for name, widths in _BN_INCEPTION.items():
        _double_module(b, f"inception_{name}", widths, "MAX" if name in ("3c", "4e", "5b") else "AVE")
        if name in ("3c", "4e"):
            with b.only_training():
                _classifier(b, "loss1" if name == "3c" else "loss2")
    b.pool("pool5/7x7_s1", "AVE", 7, 1)
    b.lr = (1, 2)
    return b.ip("loss3/classifier", 1000, XAVIER)


def _conv(b: Body, place: str, name: str, n: int, kernel: int, **geometry: int) -> Body:
    """A convolution, batch normalisation where the body has it, and a ReLU."""
    whole = f"{place}/{name}"
    b.conv(whole, n, kernel, XAVIER, bias=0.2 if b.norm == PLAIN else False, pad=kernel // 2, **geometry)
    b.bn(f"{whole}/bn", scale=f"{whole}/bn/sc")
    return b.relu(f"{place}/relu_{name.removesuffix('_s2')}" if b.norm == PLAIN else f"{whole}/bn/sc/relu")


def _stem(b: Body) -> None:
    """The layers before the modules; LRN where the body has no batch normalisation."""
    _conv(b, "conv1", "7x7_s2", 64, 7, stride=2).pool("pool1/3x3_s2", "MAX")
    if b.norm == PLAIN:
        b.lrn("pool1/norm1", **ACROSS)
    _conv(b, "conv2", "3x3_reduce", 64, 1)
    _conv(b, "conv2", "3x3", 192, 3)
    if b.norm == PLAIN:
        b.lrn("conv2/norm2", **ACROSS)
    b.pool("pool2/3x3_s2", "MAX")


def _module(b: Body, place: str, widths: tuple[int, ...]) -> None:
    one, reduce3, three, reduce5, five, project = widths
    start = b.top
    tops = [_conv(b, place, "1x1", one, 1).top]
    for name, reduce, n, kernel in (("3x3", reduce3, three, 3), ("5x5", reduce5, five, 5)):
        _conv(b.at(start), place, f"{name}_reduce", reduce, 1)
        tops.append(_conv(b, place, name, n, kernel).top)
    b.at(start).pool(f"{place}/pool", "MAX", 3, 1, pad=1)
    tops.append(_conv(b, place, "pool_proj", project, 1).top)
    b.join(f"{place}/output", "Concat", tops)


def _double_module(b: Body, place: str, widths: tuple[int, ...], pooling: str) -> None:
    one, reduce, three, reduce_double, double, project = widths
    stride = 1 if one else 2
    start, tops = b.top, []
    if one:
        tops.append(_conv(b, place, "1x1", one, 1).top)
    _conv(b.at(start), place, "3x3_reduce", reduce, 1)
    tops.append(_conv(b, place, "3x3", three, 3, stride=stride).top)
    _conv(b.at(start), place, "double3x3_reduce", reduce_double, 1)
    _conv(b, place, "double3x3a", double, 3)
    tops.append(_conv(b, place, "double3x3b", double, 3, stride=stride).top)
    b.at(start).pool(f"{place}/pool", pooling, 3, stride, **({"pad": 1} if one else {}))
    if project:
        _conv(b, place, "pool_proj", project, 1)
    b.join(f"{place}/output", "Concat", [*tops, b.top])


def _classifier(b: Body, name: str, dropout: float = 0) -> None:
    """A classifier on lower layers: its scores, its loss with weight 0.3 and its accuracies."""
    b.pool(f"{name}/ave_pool", "AVE", 5, 3)
    _conv(b, name, "conv", 128, 1)
    lr, b.lr = b.lr, (1, 2)
    b.ip(f"{name}/fc", 1024, XAVIER, bias=0.2).relu(f"{name}/relu_fc")
    if dropout:
        b.dropout(f"{name}/drop_fc", dropout)
    b.ip(f"{name}/classifier", 1000, XAVIER)
    b.lr = lr
    b.layers.extend(_scores(b.top, name, f"{name}/loss", f"{name}/loss1", 0.3))


def _scores(scores: str, place: str, name: str, top: str, weight: float) -> list[pb.LayerParameter]:
    """Loss, and accuracies of the best class and of the best five, with the names of BVLC's file."""
    bottom = [scores, "label"]
    made = [pb.LayerParameter(name=name, type="SoftmaxWithLoss", bottom=bottom, top=[top], loss_weight=[weight])]
    for k in (1, 5):
        layer = pb.LayerParameter(name=f"{place}/top-{k}", type="Accuracy", bottom=bottom, top=[f"{place}/top-{k}"])
        layer.include.add(phase=pb.TEST)
        if k > 1:
            layer.accuracy_param.top_k = k
        made.append(layer)
    return made


class _GoogLeNet(Model):
    def scores(self, top: str) -> list[pb.LayerParameter]:
        return _scores(top, "loss3", "loss3/loss3", "loss3/loss3", 1)


_DATA = imagenet(224, 32, values=(104, 117, 123))

MODELS: dict[str, Model] = {
    "googlenet": _GoogLeNet(
        "GoogLeNet on ImageNet", _DATA, googlenet,
        solver(
            2400000, 0.01, lr_policy="poly", power=0.5, weight_decay=2e-4, test_iter=[1000], test_interval=4000,
            snapshot=40000, display=40, average_loss=40,
        ),
    ),
    "bn_inception": _GoogLeNet(
        "BN-Inception on ImageNet", _DATA, bn_inception,
        solver(
            4000000, 0.0075, lr_policy="step", gamma=0.96, stepsize=53000, weight_decay=4e-5, test_iter=[1000],
            test_interval=4000, snapshot=40000, display=40, average_loss=40,
        ),
    ),
}  # fmt: skip
