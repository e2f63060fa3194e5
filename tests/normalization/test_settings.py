"""What is read from each layer that normalises by the batch, against the layers themselves."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format

from dragon.bases.batch_statistics import BatchStatistics, normalization_of
from dragon.bases.layer import TEST, TRAIN
from dragon.bases.registry import class_of
from dragon.normalization.settings import Form
from dragon.proto import dragon_pb2 as pb
from tests.layers.helpers import One

# prototxt -> form, rule, number of the rule, its field
READ = {
    'type: "BatchNorm"': (Form.SPLIT, "CAFFE", 0.999, "moving_average_fraction"),
    'type: "BatchNorm" batch_norm_param { decay: 0.7 average: EMA }': (Form.SPLIT, "EMA", 0.7, "decay"),
    'type: "BatchNorm" batch_norm_param { decay: 0.7 moving_average_fraction: 0.6 }': (
        Form.SPLIT, "CAFFE", 0.6, "moving_average_fraction"),
    'type: "BatchNorm" batch_norm_param { scale_bias: true }': (
        Form.SPLIT_AFFINE, "CAFFE", 0.999, "moving_average_fraction"),
    'type: "BatchNorm" batch_norm_param { bias_filler { value: 1 } }': (
        Form.SPLIT_AFFINE, "CAFFE", 0.999, "moving_average_fraction"),
    'type: "BN"': (Form.MERGED, "EMA", 0.95, "decay"),
    'type: "SyncBN"': (Form.MERGED, "EMA", 0.95, "decay"),
    'type: "BN" batch_norm_param { average: CAFFE }': (Form.MERGED, "CAFFE", 0.95, "decay"),
    'type: "BN" batch_norm_param { moving_average_fraction: 0.6 }': (
        Form.MERGED, "EMA", 0.6, "moving_average_fraction"),
    'type: "BN" batch_norm_param { moving_average_fraction: 0.6 decay: 0.7 }': (Form.MERGED, "EMA", 0.7, "decay"),
    'type: "BN" bn_param { }': (Form.BN_PARAM, "EMA", 0.9, "momentum"),
    'type: "BN" bn_param { momentum: 0.8 } batch_norm_param { average: CAFFE }': (
        Form.BN_PARAM, "EMA", 0.8, "momentum"),
    'type: "BatchRenorm" batch_renorm_param { moving_average_fraction: 0.9 }': (
        Form.RENORM, "CAFFE", 0.9, "moving_average_fraction"),
}  # fmt: skip
SEGNET = 'type: "BN" bn_param { bn_mode: %s }'


def read(text: str) -> pb.LayerParameter:
    param = pb.LayerParameter()
    text_format.Parse(text, param)
    return param


@pytest.mark.parametrize("text", READ)
def test_form_and_average(text: str) -> None:
    form, rule, fraction, field = READ[text]
    settings = normalization_of(read(text))
    assert settings is not None
    assert (settings.form, pb.AverageRule.Name(settings.rule), settings.fraction_field) == (form, rule, field)
    assert settings.fraction == pytest.approx(fraction)
    assert settings.averages == class_of(read(text)).keeps_statistics
    assert settings.eps == pytest.approx(1e-5)


@pytest.mark.parametrize("text", [*READ, SEGNET % "LEARN"])
def test_blobs_are_those_of_the_layer(text: str) -> None:
    """Named in the order in which the layer makes them: statistics start at 0, gamma at 1; the solver learns the affine
    part alone."""
    one = One(text, np.random.default_rng(0).normal(3, 2, (6, 3, 2)), dtype=np.float64)
    assert isinstance(one.layer, BatchStatistics)
    at = one.layer.normalization.blobs
    assert len(one.layer.blobs) == at.count
    assert one.layer.buffers == at.buffers
    one.forward()
    for index in (at.weight, at.iterations):
        assert index is None or one.layer.blobs[index].count == 1
    if at.mean is not None and at.variance is not None:
        x = one.bottom[0].data
        mean, variance = one.layer.running()
        assert one.layer.blobs[at.mean].count == one.layer.blobs[at.variance].count == 3
        if at.weight is not None:  # one batch is the whole average
            np.testing.assert_allclose(mean, x.mean((0, 2)))
            biased = one.layer.normalization.averaging.correction(12)
            np.testing.assert_allclose(variance, x.var((0, 2)) * biased)
    if one.layer.affine is not None and "filler" not in text:
        assert [np.unique(blob.data).tolist() for blob in one.layer.affine] == [[1], [0]]


# settings -> by running statistics in TRAIN, in TEST
BY_RUNNING = {
    'type: "BN"': (False, True),
    'type: "BatchNorm" batch_norm_param { use_global_stats: true }': (True, True),
    'type: "SyncBN" batch_norm_param { use_global_stats: false }': (False, False),
    'type: "BatchRenorm" batch_renorm_param { use_global_stats: true }': (True, True),
    'type: "BN" bn_param { }': (False, True),
    'type: "BN" bn_param { frozen: true }': (True, True),
    SEGNET % "LEARN": (False, False),
    SEGNET % "INFERENCE": (True, True),
}


@pytest.mark.parametrize("text", BY_RUNNING)
def test_statistics_by_phase(text: str) -> None:
    settings = normalization_of(read(text))
    assert settings is not None
    assert (settings.by_running(TRAIN), settings.by_running(TEST)) == BY_RUNNING[text]
    one = One(text, np.ones((2, 3)))
    assert isinstance(one.layer, BatchStatistics)
    for phase in (TRAIN, TEST):
        one.layer.phase = phase
        assert one.layer.use_global == settings.by_running(phase)
    free = settings.by_phase()
    left = (free.by_running(TRAIN), free.by_running(TEST))
    assert left == ((False, True) if settings.averages else BY_RUNNING[text]), "without an average there is no choice"


def test_the_phase_alone_decides_when_told_so() -> None:
    """Also for a layer that is frozen."""
    x = np.random.default_rng(0).normal(3, 2, (6, 3))
    one = One('type: "BN" bn_param { frozen: true }', x, dtype=np.float64)
    assert isinstance(one.layer, BatchStatistics)
    np.testing.assert_allclose(one.forward().mean(0), x.mean(0), rtol=1e-4)
    one.layer.let_phase_decide()
    np.testing.assert_allclose(one.forward().mean(0), 0, atol=1e-12)


@pytest.mark.parametrize("text", ['type: "Scale"', 'type: "LayerNorm"', 'type: "NoSuchLayer"'])
def test_other_layers(text: str) -> None:
    assert normalization_of(read(text)) is None
