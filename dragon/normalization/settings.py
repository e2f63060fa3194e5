"""What the settings of a batch-normalising layer mean: its form, eps, average, blobs, and statistics by phase.

    form          type                            settings           blobs
    SPLIT         BatchNorm                       batch_norm_param   mean, variance, weight
    SPLIT_AFFINE  BatchNorm with scale_bias       batch_norm_param   mean, variance, weight, gamma, beta
    MERGED        BN                              batch_norm_param   gamma, beta, mean, variance, weight
    BN_PARAM      BN of PSPNet and yjxiong        bn_param           gamma, beta, mean, variance
    SEGNET        BN of SegNet                    bn_param           gamma, beta
    RENORM        BatchRenorm                     batch_renorm_param mean, variance, weight, iterations
    DRAGON_2016   BatchNorm, profile dragon-2016  batch_norm_param   beta, gamma, mean, standard deviation
    NEOPENX       BN, profile neopenx             batch_norm_param, scale_param   mean, variance, gamma, beta

The number of the running average, f in `rules`, is written in one of three fields; each is the weight of the history:

    moving_average_fraction  batch_norm_param, batch_renorm_param: 0.999 by default; BatchNorm's own
    decay                    batch_norm_param: 0.95 by default; BN's own; the same number under another name
    momentum                 bn_param: 0.9 by default

With `average: LATEST` it is the weight of the newest batch. If a layer sets both fields of batch_norm_param, the one
that is its type's own counts. Profiles are dialects of older programs (dragon.proto.dialects), with other defaults.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from dragon.normalization.rules import Averaging, averaging
from dragon.proto import dragon_pb2 as pb

__all__ = [
    "DRAGON_2016",
    "NEOPENX",
    "BlobLayout",
    "Form",
    "Normalization",
    "batch_renorm",
    "bn_param",
    "dragon_2016",
    "merged",
    "neopenx",
    "segnet",
    "split",
]

DRAGON_2016, NEOPENX = "dragon-2016", "neopenx"  # names of profiles


@dataclass(frozen=True)
class BlobLayout:
    """The index of each of a layer's blobs by its meaning; None for those that the form does not have."""

    mean: int | None = None
    variance: int | None = None
    weight: int | None = None  # of the running average, one element
    gamma: int | None = None
    beta: int | None = None
    iterations: int | None = None  # how many batches BatchRenorm was trained on, one element

    @property
    def count(self) -> int:
        """How many blobs the layer has."""
        everything = (self.mean, self.variance, self.weight, self.gamma, self.beta, self.iterations)
        return sum(index is not None for index in everything)

    @property
    def buffers(self) -> frozenset[int]:
        """The indices of the blobs that the solver does not learn."""
        found = (self.mean, self.variance, self.weight, self.iterations)
        return frozenset(index for index in found if index is not None)


class Form(Enum):
    """The forms in which a prototxt writes a batch normalisation; the value is the layout of the blobs."""

    SPLIT = BlobLayout(mean=0, variance=1, weight=2)
    SPLIT_AFFINE = BlobLayout(mean=0, variance=1, weight=2, gamma=3, beta=4)
    MERGED = BlobLayout(gamma=0, beta=1, mean=2, variance=3, weight=4)
    BN_PARAM = BlobLayout(gamma=0, beta=1, mean=2, variance=3)
    SEGNET = BlobLayout(gamma=0, beta=1)
    RENORM = BlobLayout(mean=0, variance=1, weight=2, iterations=3)
    DRAGON_2016 = BlobLayout(beta=0, gamma=1, mean=2, variance=3)  # the last is sqrt(variance + eps)
    NEOPENX = BlobLayout(mean=0, variance=1, gamma=2, beta=3)


@dataclass(frozen=True)
class Normalization:
    """The settings of one batch-normalising layer."""

    form: Form
    eps: float  # added to the variance
    rule: int = pb.EMA  # an AverageRule
    fraction: float = 0.0  # the number of the rule, f in `rules`
    fraction_field: str = ""  # the field that holds it
    running: bool | None = None  # True: running statistics in both phases; False: the batch's; None: the phase decides
    ghost_batch: int = 0  # items whose statistics are taken together; 0: all of the batch
    gradient_through_statistics: bool = True  # False: backward takes the statistics of the batch as constants

    @property
    def blobs(self) -> BlobLayout:
        """The layout of the layer's blobs."""
        return self.form.value

    @property
    def averages(self) -> bool:
        """Whether the layer keeps running statistics."""
        return self.blobs.mean is not None

    @property
    def affine(self) -> bool:
        """Whether scale and shift are learned in the layer itself."""
        return self.blobs.gamma is not None

    @property
    def fraction_is_caffes(self) -> bool:
        """Whether the fraction is in a field that Caffe or a public fork has too."""
        return self.fraction_field != "decay" and self.form is not Form.RENORM

    @property
    def averaging(self) -> Averaging:
        """The rule of the running average as numbers."""
        rule = averaging(self.rule, self.fraction)
        return replace(rule, deviation=self.eps) if self.form is Form.DRAGON_2016 else rule

    def by_running(self, phase: int) -> bool:
        """Whether the layer normalises by its running statistics in a phase; else by those of the batch."""
        return phase == pb.TEST if self.running is None else self.running

    @property
    def use_global_stats(self) -> bool | None:
        """The value of the field of this name; None if it is unset or the form has no such field."""
        return None if self.form in (Form.BN_PARAM, Form.SEGNET) else self.running

    def groups(self, items: int) -> list[slice]:
        """The parts of a batch of so many items, each with statistics of its own; the last may be smaller."""
        size = self.ghost_batch or max(1, items)
        return [slice(start, min(start + size, items)) for start in range(0, items, size)]

    def by_phase(self) -> Normalization:
        """The same settings, but with the statistics chosen by the phase if the layer keeps running ones."""
        return replace(self, running=None) if self.averages else self


# -- one reader for each layer class --------------------------------------------------------------------------
def split(param: pb.LayerParameter) -> Normalization:
    """BatchNorm: CAFFE's average unless `average` names another; affine with `scale_bias` or one of its fillers."""
    p = param.batch_norm_param
    if param.profile == NEOPENX:
        return _neopenx(Form.SPLIT, p, pb.CAFFE)
    own = p.scale_bias or p.HasField("scale_filler") or p.HasField("bias_filler")
    field = "decay" if p.HasField("decay") and not p.HasField("moving_average_fraction") else "moving_average_fraction"
    return _batch_norm(Form.SPLIT_AFFINE if own else Form.SPLIT, p, p.average, field)


def merged(param: pb.LayerParameter) -> Normalization:
    """BN: EMA unless `average` names another rule."""
    p = param.batch_norm_param
    field = "moving_average_fraction" if p.HasField("moving_average_fraction") and not p.HasField("decay") else "decay"
    return _batch_norm(Form.MERGED, p, p.average if p.HasField("average") else pb.EMA, field)


def _batch_norm(form: Form, p: pb.BatchNormParameter, rule: int, field: str) -> Normalization:
    fraction, running = getattr(p, field), _use_global_stats(p)
    return Normalization(
        form, p.eps, rule, fraction, field, running, p.ghost_batch, p.gradient_through_statistics
    )  # fmt: skip


def bn_param(param: pb.LayerParameter) -> Normalization:
    """BN with `bn_param`: EMA by `momentum`; `frozen` layers always use their running statistics."""
    p = param.bn_param
    return Normalization(Form.BN_PARAM, p.eps, pb.EMA, p.momentum, "momentum", True if p.frozen else None)


def segnet(param: pb.LayerParameter) -> Normalization:
    """SegNet's BN, by its mode.

    INFERENCE is scale x + shift, as with a running mean of 0 and variance of 1; LEARN normalises by the batch in both
    phases, with an eps of 1e-9.
    """
    inference = param.bn_param.bn_mode == pb.BNParameter.INFERENCE
    return Normalization(Form.SEGNET, 0.0 if inference else 1e-9, running=inference)


def batch_renorm(param: pb.LayerParameter) -> Normalization:
    """BatchRenorm: CAFFE's average."""
    p = param.batch_renorm_param
    field = "moving_average_fraction"
    return Normalization(Form.RENORM, p.eps, pb.CAFFE, p.moving_average_fraction, field, _use_global_stats(p))


def dragon_2016(param: pb.LayerParameter) -> Normalization:
    """The first Dragon's BatchNorm: LATEST by `decay`, an eps of 1e-10.

    use_global_stats is looked at in TEST only: true, its default there, leaves the choice to the phase; with false TEST
    normalises by its own batches too, which also move the average.
    """
    p = param.batch_norm_param
    eps = p.eps if p.HasField("eps") else 1e-10
    running = False if p.HasField("use_global_stats") and not p.use_global_stats else None
    return Normalization(Form.DRAGON_2016, eps, pb.LATEST, p.decay, "decay", running)


def neopenx(param: pb.LayerParameter) -> Normalization:
    """BN of the Dragon of 2017: EMA by `moving_average_fraction`, 0.9 by default; an eps of 1e-3."""
    return _neopenx(Form.NEOPENX, param.batch_norm_param, pb.EMA)


def _neopenx(form: Form, p: pb.BatchNormParameter, rule: int) -> Normalization:
    field = "moving_average_fraction"
    fraction = p.moving_average_fraction if p.HasField(field) else 0.9
    eps, running = p.eps if p.HasField("eps") else 1e-3, _use_global_stats(p)
    return Normalization(form, eps, rule, fraction, field, running, p.ghost_batch, p.gradient_through_statistics)


def _use_global_stats(p: pb.BatchNormParameter | pb.BatchRenormParameter) -> bool | None:
    return p.use_global_stats if p.HasField("use_global_stats") else None
