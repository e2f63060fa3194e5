"""Nets with recurrent layers: captions of images, and text in images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dragon.models.nets.body import MSRA, PLAIN, SPLIT, XAVIER, Body
from dragon.models.nets.maps import Fitted, Rows
from dragon.models.nets.model import Model, behind, solver
from dragon.proto import dragon_pb2 as pb

__all__ = ["MODELS", "Captions", "Reading", "crnn", "crnn_mnist", "lrcn"]

_UNIFORM = {"type": "uniform", "min": -0.08, "max": 0.08}
WORDS, FEATURES, STEPS, SENTENCES = 8801, 1000, 20, 100


def lrcn() -> Body:
    """The language part of LRCN (Donahue et al. 2014, arXiv 1411.4389): scores of the next word for each word.

    Inputs: input_sentence (T, N), the words so far; cont_sentence (T, N), 0 where a sentence begins; image_features
    (N, 1000), which the second LSTM reads in every step. Words are numbers; 0 begins and ends a sentence.
    """
    b = Body(lr=None, top="input_sentence")
    embed = {"num_output": FEATURES, "input_dim": WORDS, "bias_term": False, "weight_filler": _UNIFORM}
    b.add("embedding", "Embed", embed_param=embed)
    _lstm(b, "lstm1", FEATURES, "cont_sentence")
    _lstm(b, "lstm2", FEATURES, "cont_sentence", "image_features")
    return b.ip("predict", WORDS, _UNIFORM, axis=2)


def _lstm(b: Body, name: str, size: int, *more: str) -> None:
    """Add an LSTM. more: its bottoms behind the sequence."""
    cell = {"num_output": size, "weight_filler": _UNIFORM, "bias_filler": {"type": "constant"}}
    b.join(name, "LSTM", [b.top, *more], recurrent_param=cell)


@dataclass(frozen=True)
class Captions:
    """Sentences and features of their images in HDF5 files.

    A row of the sentences holds one step of 100 sentences, twenty rows are a batch; there is one row of features for
    each sentence.
    """

    folder: str = "data/coco"
    train: int = SENTENCES

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one step of a sentence: a number."""
        return ()

    def shapes(self, batch: int) -> Mapping[str, tuple[int, ...]]:
        """The shapes of a batch of so many sentences."""
        steps = (STEPS, batch)
        sentences = {"cont_sentence": steps, "input_sentence": steps, "target_sentence": steps}
        return {**sentences, "image_features": (batch, FEATURES)}

    def layers(self) -> list[pb.LayerParameter]:
        """The HDF5Data layers of TRAIN and of TEST."""
        step = (SENTENCES,)
        tops = {"cont_sentence": step, "input_sentence": step, "target_sentence": step}
        sentences = Rows(self.folder, "sentences", tops, STEPS, STEPS, name="sentences", shuffle=False)
        features = {"image_features": (FEATURES,)}
        images = Rows(self.folder, "features", features, SENTENCES, SENTENCES, name="features", shuffle=False)
        return [*sentences.layers(), *images.layers()]


def _words(kind: str, top: str, **more: Any) -> pb.LayerParameter:
    return behind(kind, top, "target_sentence", **more)


def _caption_losses(top: str) -> list[pb.LayerParameter]:
    test: list[dict[str, Any]] = [{"phase": pb.TEST}]
    accuracy = {"axis": 2, "ignore_label": -1}
    return [
        _words("Accuracy", top, name="accuracy", include=test, accuracy_param=accuracy),
        _words("SoftmaxWithLoss", top, weight=20, softmax_param={"axis": 2}, loss_param={"ignore_label": -1}),
    ]


def _prob(top: str) -> list[pb.LayerParameter]:
    return [behind("Softmax", top, name="prob", softmax_param={"axis": 2})]


def _read_digits(top: str) -> list[pb.LayerParameter]:
    return [*_prob(top), behind("CTCGreedyDecoder", "prob", name="labels", ctc_decoder_param={"blank_index": 10})]


def crnn(classes: int = 37) -> Body:
    """CRNN (Shi, Bai & Yao 2015, arXiv 1507.05717): convolutions, then two LSTMs in each direction along the width.

    The image (N, 1, 32, 100) gives 26 columns; for each there are scores (26, N, classes), class 0 being none.
    """
    b = Body(lr=None)
    kept = {"pool": "MAX", "kernel_h": 2, "kernel_w": 2, "stride_h": 2, "stride_w": 1, "pad_h": 0, "pad_w": 1}
    kept |= {"round_mode": "FLOOR"}  # the height is halved, the width grows by one
    for k, width in enumerate((64, 128, 256, 256, 512, 512, 512), 1):
        b.norm = SPLIT if k in (5, 6) else PLAIN
        kernel, pad = (2, 0) if k == 7 else (3, 1)
        b.conv(f"conv{k}", width, kernel, XAVIER, bias=True, pad=pad).bn(f"bn{k}").relu(f"relu{k}")
        if k in (1, 2):
            b.pool(f"pool{k}", "MAX", 2)
        elif k in (4, 6):
            b.add(f"pool{k}", "Pooling", pooling_param=kept)
    b.norm = PLAIN
    _columns(b)
    _both_ways(b, "1", 256)
    b.ip("blend", 256, XAVIER, axis=2)
    _both_ways(b, "2", 256)
    return b.ip("fc", classes, XAVIER, axis=2)


def crnn_mnist() -> Body:
    """A small CRNN for lines of digits: five convolutions, then one LSTM in each direction along the width.

    The image (N, 1, 32, 100) gives 25 columns; for each there are scores (25, N, 11), class 10 being none.
    """
    b = Body(SPLIT, lr=None)
    for k, width in enumerate((16, 40, 64, 96), 1):
        b.conv(f"conv{k}", width, 3, MSRA, pad=1).bn(f"bn{k}").relu(f"relu{k}")
        if k < 3:
            b.pool(f"pool{k}", "MAX", 2)
        elif k == 3:
            b.add(
                f"pool{k}",
                "Pooling",
                pooling_param={"pool": "MAX", "kernel_h": 2, "kernel_w": 1, "stride_h": 2, "stride_w": 1},
            )
    b.conv("conv5", 128, (4, 3), MSRA, pad=(0, 1)).bn("bn5").relu("relu5")  # all rows of a column
    b.add("drop5", "Dropout", True, dropout_param={"dropout_ratio": 0.3})
    _columns(b)
    _both_ways(b, "1", 64)
    b.add("drop_lstm1", "Dropout", True, dropout_param={"dropout_ratio": 0.3})
    return b.ip("fc", 11, XAVIER, axis=2)


def _columns(b: Body) -> None:
    """The columns of a map as steps (T, N, C * H), and `cont`, which says that each image is a sequence."""
    b.add("columns", "Permute", permute_param={"order": [3, 0, 1, 2]})
    b.add("sequence", "Flatten", flatten_param={"axis": 2})
    b.join("cont", "ContinuationIndicator", ["sequence"]).at("sequence")


def _both_ways(b: Body, name: str, size: int) -> None:
    """An LSTM forward and one backward in time, joined."""
    start = b.top
    _lstm(b, f"lstm{name}_forward", size, "cont")
    b.at(start).add(f"reverse{name}", "Reverse", reverse_param={"axis": [0]})
    _lstm(b, f"lstm{name}_reversed", size, "cont")
    b.add(f"lstm{name}_backward", "Reverse", reverse_param={"axis": [0]})
    b.join(f"lstm{name}", "Concat", [f"lstm{name}_forward", b.top], concat_param={"axis": 2})


@dataclass(frozen=True)
class Reading:
    """The layers behind scores (T, N, classes): sequence accuracy and the loss. blank: the class that is none.

    normalised: loss and gradient are means of the batch; else the gradient is the sum's, as crnn.caffe has it.
    """

    blank: int
    normalised: bool = False

    def __call__(self, top: str) -> list[pb.LayerParameter]:
        """The layers, given the name of the scores."""
        test: list[dict[str, Any]] = [{"phase": pb.TEST}]
        first = behind("Permute", top, name="batch_first", include=test, permute_param={"order": [1, 0, 2]})
        read = {"blank_label": self.blank}
        accuracy = behind(
            "LabelsequenceAccuracy", "batch_first", "label", name="accuracy", include=test,
            labelsequence_accuracy_param=read,
        )  # fmt: skip
        loss = behind("CtcLoss", top, "label", ctc_loss_param=read)
        if self.normalised:
            loss.loss_param.normalization = pb.LossParameter.BATCH_SIZE
        return [first, accuracy, loss]


MODELS: dict[str, Model] = {
    "lrcn": Fitted(
        "LRCN, captions of images", Captions(), lrcn,
        solver(
            110000, 0.01, lr_policy="step", gamma=0.5, stepsize=20000, weight_decay=0, clip_gradients=10,
            test_iter=[25], test_interval=1000, snapshot=5000,
        ),
        losses=_caption_losses, answers=_prob,
        inputs={"cont_sentence": (1, 1), "input_sentence": (1, 1), "image_features": (1, FEATURES)},
    ),
    "crnn": Fitted(
        "CRNN, which reads words in images",
        Rows("data/synth90k", "words", {"data": (1, 32, 100), "label": (23,)}, train=64, test=64), crnn,
        solver(
            50000, 0.0001, lr_policy="step", gamma=0.1, stepsize=25000, weight_decay=0.0005, clip_gradients=5000,
            test_iter=[50], test_interval=200, display=50,
        ),
        losses=Reading(blank=0), answers=_prob, inputs={"data": (1, 1, 32, 100)},
    ),
    "crnn_mnist": Fitted(
        "A small CRNN, which reads lines of digits",
        Rows("data/mnist_lines", "", {"data": (1, 32, 100), "label": (5,)}, train=32, test=20), crnn_mnist,
        solver(
            6000, 0.0015, type="Adam", momentum2=0.999, lr_policy="poly", power=1, weight_decay=0.0001,
            test_interval=500,
        ),
        losses=Reading(blank=10, normalised=True), answers=_read_digits, inputs={"data": (1, 1, 32, 100)},
    ),
}  # fmt: skip
