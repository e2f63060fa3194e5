"""What is shown of batch normalisations: effective numbers in every form, drift, dead channels."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.bases.layer import TRAIN
from dragon.errors import UsageError, WeightsError
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.surgery.merge import merge
from dragon.surgery.model import Model
from dragon.surgery.show import measure_drift, show
from tests.surgery.helpers import FORMS, definition, trained
from tests.surgery.test_phase_pairs import FORMS as PAIRS
from tests.surgery.test_phase_pairs import definition as pair


@pytest.mark.parametrize("form", FORMS)
def test_every_form(form: str) -> None:
    model = trained(definition(form))
    (one,) = show(model)
    net = Net(model.net, TRAIN, engine="numpy", seed=1)
    for name, arrays in model.arrays.items():
        for blob, array in zip(net.params[name], arrays, strict=True):
            blob.data[...] = array
    mean, variance = net.layer_dict["bn1"].running()  # type: ignore[attr-defined]
    np.testing.assert_allclose(one.mean, mean, rtol=1e-5)
    np.testing.assert_allclose(one.variance, variance, rtol=1e-5)
    assert one.gamma.shape == one.beta.shape == (6,)
    assert one.before_relu
    assert one.name == "bn1"


@pytest.mark.parametrize("form", PAIRS)
def test_a_pair_counts_once(form: str) -> None:
    assert [one.name for one in show(trained(pair(form)))] == ["bn1"]


def test_forms_show_the_same() -> None:
    model = trained(definition("split"))
    a, b = show(model)[0], show(merge(model)[0])[0]
    for name in ("mean", "variance", "gamma", "beta"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-6)


def dead_model() -> Model:
    model = trained(definition("merged"))
    gamma, beta, mean, variance, weight = (a.copy() for a in model.arrays["bn1"])
    gamma[0], beta[0] = 1e-5, 1.0
    variance[1] = 1e-9 * weight[0]
    gamma[2], beta[2] = 0.5, -2.0
    beta[3:] = 0
    model.arrays["bn1"] = [gamma, beta, mean, variance, weight]
    return model


def test_dead_channels() -> None:
    (one,) = show(dead_model())
    assert one.dead == {"scale": [0], "variance": [1], "negative": [2]}
    assert one.dead_count == 3
    assert one.eps_share == pytest.approx(1e-5 / (1e-5 + 1e-9), rel=1e-3)
    model = dead_model()
    next(layer for layer in model.net.layer if layer.type == "ReLU").relu_param.negative_slope = 0.1
    assert "negative" not in show(model)[0].dead, "the slope lets it through"


def test_drift_against_the_data() -> None:
    model = trained(definition("merged"))
    net = Net(model.net, TRAIN, engine="numpy", seed=3)
    for name, arrays in model.arrays.items():
        for blob, array in zip(net.params[name], arrays, strict=True):
            blob.data[...] = array
    shown = show(model)
    assert shown[0].mean_drift is None
    assert shown[0].variance_drift is None
    measure_drift(shown, net, 20)
    assert shown[0].mean_drift is not None
    assert shown[0].variance_drift is not None
    assert shown[0].mean_drift < 0.6, "three batches gave the running mean"
    assert shown[0].variance_drift[0] > 0.3
    model.arrays["bn1"][2] = model.arrays["bn1"][2] + 100 * model.arrays["bn1"][4]
    moved = show(model)
    measure_drift(moved, net, 20)
    assert moved[0].mean_drift is not None
    assert moved[0].mean_drift > 5 * shown[0].mean_drift


@pytest.mark.parametrize("form", ["a Scale each", "one Scale"])
def test_the_data_of_a_pair_is_seen_by_running_statistics(form: str, recwarn: pytest.WarningsRecorder) -> None:
    """By those of the batch, a running mean that is far off would not show in the largest outputs."""
    model = trained(pair(form))
    model.arrays["bn1"][0] = model.arrays["bn1"][0] + 1e4 * model.arrays["bn1"][2]
    net = Net(model.net, TRAIN, engine="numpy", seed=3)
    for name, arrays in model.arrays.items():
        for blob, array in zip(net.params[name], arrays, strict=True):
            blob.data[...] = array
    shown = show(model)
    measure_drift(shown, net, 2)
    assert shown[0].largest is not None
    assert shown[0].largest.max() < -100
    assert not [w for w in recwarn if "use_global_stats" in str(w.message)], "the pair is usual"


def test_channels_that_are_never_positive_are_seen_in_the_data() -> None:
    model = trained(definition("merged"))
    gamma, beta, *rest = (a.copy() for a in model.arrays["bn1"])
    gamma[0], beta[0] = 1, -50
    model.arrays["bn1"] = [gamma, beta, *rest]
    net = Net(model.net, TRAIN, engine="numpy", seed=3)
    for name, arrays in model.arrays.items():
        for blob, array in zip(net.params[name], arrays, strict=True):
            blob.data[...] = array
    shown = show(model)
    measure_drift(shown, net, 2)
    assert shown[0].dead == {"negative": [0]}
    assert shown[0].largest is not None
    assert shown[0].largest[0] < 0 < shown[0].largest[1]


def test_what_cannot_be_shown() -> None:
    with pytest.raises(UsageError, match="needs the weights"):
        show(Model(definition("split")))
    model = trained(definition("merged"))
    del model.arrays["bn1"]
    notes: list[str] = []
    with pytest.raises(WeightsError, match="the weights have none for a batch normalisation of the net: bn1"):
        show(model, notes.append)
    assert notes == ["left bn1: the weights have none for it"]
    net = definition("split")
    del net.layer[2:4]
    with pytest.raises(UsageError, match="has no batch normalisation"):
        show(Model(net))


def test_a_layer_that_train_lacks_is_shown_without_drift() -> None:
    net = definition("merged")
    other = net.layer.add()
    other.CopyFrom(net.layer[2])
    other.name = "test_only"
    other.include.add(phase=pb.TEST)
    other.bottom[:] = other.top[:] = net.layer[2].top
    model = trained(net)
    model.arrays["test_only"] = model.arrays["bn1"]
    found = show(model)
    measure_drift(found, Net(net, TRAIN, engine="numpy", seed=1), 2)
    assert [(one.name, one.mean_drift is None) for one in found] == [("bn1", False), ("test_only", True)]
