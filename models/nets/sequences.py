"""Nets with recurrent layers: captions of images, and text in images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dragon.models.nets.body import PLAIN, SPLIT, XAVIER, Body
from dragon.models.nets.maps import Fitted, Rows
from dragon.models.nets.model import Deployed, Model, behind, solver
from dragon.proto import dragon_pb2 as pb

__all__ = ["MODELS", "Captions", "crnn", "lrcn"]

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


def crnn(classes: int = 37, steps: int = 26) -> Body:
    """CRNN (Shi, Bai & Yao 2015, arXiv 1507.05717): convolutions, then two LSTMs in each direction along the width.

    The image (1, 1, 32, 100) gives `steps` columns; for each there are scores (steps, 1, classes), class 0 being none.
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
    b.add("columns", "Permute", permute_param={"order": [3, 0, 1, 2]})
    b.add("sequence", "Flatten", flatten_param={"axis": 2})
    _continuation(b, steps)
    _both_ways(b, "1", 256)
    b.ip("blend", 256, XAVIER, axis=2)
    _both_ways(b, "2", 256)
    return b.ip("fc", classes, XAVIER, axis=2)


def _continuation(b: Body, steps: int) -> None:
    """Add the blob `cont` (steps, 1): 0, then ones, since each image is a sequence."""
    top = b.top
    for name, count, value in (("begin", 1, 0), ("go_on", steps - 1, 1)):
        settings = {"shape": [{"dim": [count, 1]}], "data_filler": [{"type": "constant", "value": value}]}
        b.layers.append(pb.LayerParameter(name=name, type="DummyData", top=[name], dummy_data_param=settings))
    b.join("cont", "Concat", ["begin", "go_on"], concat_param={"axis": 0}).at(top)


def _both_ways(b: Body, name: str, size: int) -> None:
    """An LSTM forward and one backward in time, joined."""
    start = b.top
    _lstm(b, f"lstm{name}_forward", size, "cont")
    b.at(start).add(f"reverse{name}", "Reverse", reverse_param={"axis": [0]})
    _lstm(b, f"lstm{name}_reversed", size, "cont")
    b.add(f"lstm{name}_backward", "Reverse", reverse_param={"axis": [0]})
    b.join(f"lstm{name}", "Concat", [f"lstm{name}_forward", b.top], concat_param={"axis": 2})


MODELS: dict[str, Model | Deployed] = {
    "lrcn": Fitted(
        "LRCN, captions of images", Captions(), lrcn,
        solver(
            110000, 0.01, lr_policy="step", gamma=0.5, stepsize=20000, weight_decay=0, clip_gradients=10,
            test_iter=[25], test_interval=1000, snapshot=5000,
        ),
        losses=_caption_losses, answers=_prob,
        inputs={"cont_sentence": (1, 1), "input_sentence": (1, 1), "image_features": (1, FEATURES)},
    ),
    "crnn": Deployed("CRNN, which reads words in images", {"data": (1, 1, 32, 100)}, crnn, answers=_prob),
}  # fmt: skip
