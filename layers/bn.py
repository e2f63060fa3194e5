"""The layer type BN, with the alias SyncBN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from dragon.bases.batch_statistics import BatchStatistics
from dragon.bases.layer import LayerClass, register
from dragon.layers.neopenx_bn import NeopenxBN
from dragon.layers.segnet_bn import SegNetBN
from dragon.memory.blob import Blob
from dragon.normalization.arithmetic import channel_count
from dragon.normalization.settings import NEOPENX, Form, Normalization, bn_param, merged
from dragon.proto import dragon_pb2 as pb

__all__ = ["BN"]


@register("SyncBN")
class BN(BatchStatistics):
    """Batch normalisation in the merged form: statistics, scale and shift in one layer.

    Blobs: gamma (C), beta (C), mean (C), variance (C), weight of the average (1). The running average follows the rule
    EMA with `decay` unless `average` names another.

    With `bn_param` it is the layer BN of the forks for temporal segment and pyramid scene parsing networks: blobs
    slope, bias, mean, variance of shape (1, C, 1, 1), a running average with `momentum`, and `frozen` to normalise by
    the stored statistics in TRAIN, where gamma and beta then stay as they are. With SegNet's settings in `bn_param` it
    is `SegNetBN`, with the profile "neopenx" `NeopenxBN`.

    Of several ranks that train together each normalises by its own rows; by those of all with the type SyncBN, as in
    forks for several devices, or with `dragon train --sync-bn`.
    """

    type = "BN"
    settings = ("batch_norm_param", "bn_param")
    one_of_settings = True
    defaults: ClassVar[Mapping[str, str]] = {
        **BatchStatistics.defaults, "moving_average_fraction": "unset", "average": "EMA",
    }  # fmt: skip
    buffers = Form.MERGED.value.buffers  # those of other forms are set when the layer is made

    @classmethod
    def form(cls, param: pb.LayerParameter) -> LayerClass:
        if param.profile == NEOPENX:
            return NeopenxBN
        p = param.bn_param
        segnet = any(p.HasField(name) for name in ("scale_filler", "shift_filler", "bn_mode"))
        return SegNetBN if segnet else cls

    @classmethod
    def explain_blobs(cls, count: int) -> str:
        return {
            2: "SegNet's BN has two: bn_param { bn_mode: INFERENCE }, or LEARN",
            4: "a BN with bn_param has four: bn_param { }, or profile neopenx; a file of the first Dragon is turned "
            "into one of today by dragon upgrade --profile dragon-2016",
        }.get(count, "")

    @classmethod
    def read_settings(cls, param: pb.LayerParameter) -> Normalization:
        return bn_param(param) if param.HasField("bn_param") else merged(param)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.check_settings()
        zero, one = pb.FillerParameter(), pb.FillerParameter(value=1)
        channels = channel_count(bottom[0].shape)
        if self.normalization.form is Form.BN_PARAM:
            f = self.param.bn_param
            shape: tuple[int, ...] = (1, channels, 1, 1)
            self.add_blob(shape, f.slope_filler if f.HasField("slope_filler") else one, "slope")
            self.add_blob(shape, f.bias_filler, "bias")
            self.add_blob(shape, zero, "mean")
            self.add_blob(shape, one if f.frozen else zero, "variance")
            if f.frozen:
                self._freeze()
            return
        p = self.param.batch_norm_param
        shape = (channels,)
        self.add_blob(shape, p.scale_filler if p.HasField("scale_filler") else one, "scale")
        self.add_blob(shape, p.bias_filler, "bias")
        self.add_blob(shape, zero, "mean")
        self.add_blob(shape, zero, "variance")
        self.add_blob((1,), zero, "weight of the average")

    def _freeze(self) -> None:
        specs = self.param.param
        while len(specs) < 2:
            specs.add()
        for spec in specs[:2]:
            spec.lr_mult = spec.decay_mult = 0
