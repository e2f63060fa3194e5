"""Merging and splitting batch normalisation: the nets go on computing the same, in training too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format

from dragon.bases.layer import TEST, TRAIN
from dragon.errors import NumericError, UsageError, WeightsError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.surgery.fold import fold
from dragon.surgery.merge import merge, split
from dragon.surgery.model import Model, read_model, write_model
from dragon.surgery.prove import build_net, prove
from dragon.surgery.remove import remove
from dragon.surgery.retype import replace_type
from tests.surgery.helpers import CONV, FORMS, HEAD, SPLIT, TAIL, definition, largest, trained

TO_MERGE = [form for form in FORMS if not form.startswith(("merged", "renorm"))]
TO_SPLIT = [form for form in FORMS if form.startswith("merged") or form == "scale_bias"]


@pytest.mark.parametrize("form", TO_MERGE)
def test_merged_nets_compute_the_same(form: str) -> None:
    old = trained(definition(form))
    new, names = merge(old)
    assert names == ["bn1"]
    assert [layer.type for layer in new.net.layer].count("BN") == 1
    assert "Scale" not in {layer.type for layer in new.net.layer}
    assert largest(old, new, (TEST, TRAIN)) < 1e-6


@pytest.mark.parametrize("form", TO_SPLIT)
def test_split_nets_compute_the_same(form: str) -> None:
    old = trained(definition(form))
    new, names = split(old)
    assert names == ["bn1"]
    assert [layer.type for layer in new.net.layer][2:4] == ["BatchNorm", "Scale"]
    assert largest(old, new, (TEST, TRAIN)) < 1e-6


@pytest.mark.parametrize("form", ["split", "split, EMA", "split, fraction"])
def test_there_and_back(form: str) -> None:
    old = trained(definition(form))
    back = split(merge(old)[0])[0]
    assert [layer.type for layer in back.net.layer] == [layer.type for layer in old.net.layer]
    assert [p.lr_mult for p in back.net.layer[3].param] == [2, 3]
    for name, arrays in old.arrays.items():
        for a, b in zip(arrays, back.arrays[name], strict=True):
            np.testing.assert_array_equal(a, b)


def test_batch_renorm_stays() -> None:
    for change in (merge, split):
        with pytest.raises(UsageError, match="nothing to"):
            change(trained(definition("renorm")))


def test_what_a_frozen_layer_splits_into_learns_nothing() -> None:
    net = definition("merged, fork")
    net.layer[2].bn_param.frozen = True
    new, _ = split(trained(net))
    assert new.net.layer[2].batch_norm_param.use_global_stats
    assert [(p.lr_mult, p.decay_mult) for p in new.net.layer[3].param] == [(0, 0), (0, 0)]


def test_split_for_caffe_uses_its_fields_only_and_keeps_test() -> None:
    old = trained(definition("merged"))
    new, _ = split(old, caffe=True)
    fields = {f.name for f, _ in new.net.layer[2].batch_norm_param.ListFields()}
    assert fields <= {"eps", "moving_average_fraction", "use_global_stats"}
    assert largest(old, new, (TEST,)) < 1e-6
    cumulative = merge(trained(definition("split, cumulative")))[0]
    with pytest.raises(UsageError, match='layer "bn1": Caffe cannot read a cumulative average'):
        split(cumulative, caffe=True)


def test_what_counts_in_the_loss_goes_on_counting() -> None:
    """It is the top of the last layer of a normalisation."""
    one = FORMS["merged"][0].replace('top: "s1"', 'top: "s1" loss_weight: 0.5')
    two = FORMS["split"][0].replace('top: "s1"', 'top: "s1" loss_weight: 0.5 propagate_down: false')
    single, pair = (trained(parse_text(HEAD + CONV + text, pb.NetParameter())) for text in (one, two))
    for old, new in ((single, split(single)[0]), (pair, merge(pair)[0]), (pair, fold(pair)[0])):
        losses = []
        for model in (old, new):
            net = build_net(model, TEST, None)
            losses.append(net.run_forward())
        assert losses[0]
        assert losses[1] == pytest.approx(losses[0])
    assert list(merge(pair)[0].net.layer[2].propagate_down) == [False]
    for model in (single, pair):
        with pytest.raises(UsageError, match="its top counts in the loss: it can be neither removed nor moved"):
            remove(Model(model.net))
        renamed = replace_type(Model(model.net), {"bn1": "GroupNorm"}).net
        assert [list(layer.loss_weight) for layer in renamed.layer] == [[], [], [0.5]]


def test_caffes_fraction_is_the_weight_of_the_history() -> None:
    """LATEST gives that of the newest batch."""
    for settings, history in (("average: LATEST decay: 0.75", 0.25), ("decay: 0.75", 0.75), ("average: CAFFE", 0.95)):
        text = FORMS["merged"][0].replace("batch_norm_param {", f"batch_norm_param {{ {settings}")
        new, _ = split(Model(parse_text(HEAD + CONV + text, pb.NetParameter())), caffe=True)
        assert new.net.layer[2].batch_norm_param.moving_average_fraction == pytest.approx(history)


def test_what_caffe_cannot_normalise_by_is_not_split_for_it() -> None:
    for setting in ("ghost_batch: 2", "gradient_through_statistics: false"):
        old = definition("merged")
        text_format.Merge(setting, old.layer[2].batch_norm_param)
        message = f'layer "bn1": Caffe does not know {setting.split(":")[0]}; split without --caffe'
        with pytest.raises(UsageError, match=message):
            split(trained(old), caffe=True)


def test_names_of_new_scales_are_free() -> None:
    net = definition("merged")
    net.layer[1].name, net.layer[3].name = "scale1", "scale1_scale"
    assert split(Model(net))[0].net.layer[3].name == "scale1_scale_scale"


def test_a_scale_that_others_read_past_stays() -> None:
    text = HEAD + CONV + SPLIT + TAIL.replace("NAME", "s1")
    text += 'layer { name: "side" type: "Softmax" bottom: "bn1" top: "side" }'
    from dragon.proto.text import parse_text

    with pytest.raises(UsageError, match="nothing to merge"):
        merge(Model(parse_text(text, pb.NetParameter())))


def test_nothing_to_do_and_weights_that_do_not_fit() -> None:
    with pytest.raises(UsageError, match="nothing to split"):
        split(Model(definition("split")))
    with pytest.raises(UsageError, match="nothing to merge"):
        merge(Model(definition("merged")))
    model = trained(definition("split"))
    model.arrays["bn1"].pop()
    with pytest.raises(WeightsError, match=r'layer "bn1" .BatchNorm.: its weights have 2 blobs, expected 3; those of'):
        merge(model)
    del model.arrays["bn1"]
    with pytest.raises(WeightsError, match=r'its weights have 0 blobs, expected 3; those of "scale1" 2, expected 2'):
        merge(model)
    model.arrays["bn1"] = trained(definition("merged")).arrays["bn1"]
    with pytest.raises(WeightsError, match=r"the blobs of a BN: give the prototxt that they were trained with"):
        merge(model)


def test_weights_with_blobs_too_many_or_too_few_are_no_proof() -> None:
    """Of a blob that neither net has, and of one that neither net takes, a comparison would say nothing."""
    for change, count in ((lambda blobs: blobs[:1], 1), (lambda blobs: [*blobs, blobs[-1]], 3)):
        old = trained(definition("split"))
        old.arrays["ip"] = change(old.arrays["ip"])
        with pytest.raises(
            WeightsError, match=rf'layer "ip" .InnerProduct.: its weights have {count} blobs?, expected 2'
        ):
            prove(old, merge(old)[0])


def test_what_a_batch_norm_in_place_gives_to_its_scale_is_not_compared() -> None:
    text = SPLIT.replace('top: "bn1"', 'top: "conv1"').replace('bottom: "bn1"', 'bottom: "conv1"')
    old = trained(parse_text(HEAD + CONV + text + TAIL.replace("NAME", "s1"), pb.NetParameter()))
    new, _ = merge(old)
    compared = {d.blob for d in prove(old, new, (TEST, TRAIN))}
    assert compared == {"data", "s1", "ip"}
    assert largest(new, split(new)[0], (TEST, TRAIN)) < 1e-6


def test_the_proof_notices_a_difference() -> None:
    old = trained(definition("split"))
    new, _ = merge(old)
    new.arrays["bn1"][1] = new.arrays["bn1"][1] * 1.01
    with pytest.raises(NumericError, match=r'the nets differ: blob ".*" in TEST by'):
        prove(old, new, (TEST,))


def test_the_proof_notices_another_average() -> None:
    old = trained(definition("split"))
    new, _ = merge(old)
    new.net.layer[2].batch_norm_param.moving_average_fraction = 0.5
    prove(old, new, (TEST,))
    with pytest.raises(NumericError, match="in TEST after TRAIN"):
        prove(old, new, (TRAIN,))


def test_the_proof_notices_nan_and_infinity_in_one_of_the_nets() -> None:
    """Eps 0 and a variance of 0: 0 / 0 in TEST."""
    old = trained(definition("split"))
    for changed in (2, 3):
        new = old.copy()
        new.arrays["bn1"][1] = np.zeros_like(new.arrays["bn1"][1])
        new.net.layer[2].batch_norm_param.eps = 0
        if changed == 3:
            new.arrays["conv1"] = [np.zeros_like(a) for a in new.arrays["conv1"]]
            new.arrays["bn1"][0] = np.zeros_like(new.arrays["bn1"][0])
        with np.errstate(all="ignore"), pytest.raises(NumericError, match="has NaN or infinity in only one net"):
            prove(old, new, (TEST,))
        with np.errstate(all="ignore"):
            assert not any(d.difference for d in prove(new, new.copy(), (TEST,))), "alike in both"


def test_names_that_share_statistics_are_written_alone() -> None:
    net = definition("merged")
    net.layer[2].param.extend(pb.ParamSpec(name=name) for name in ("g", "b", "m", "v", "w"))
    assert "share_mode" not in str(split(Model(net))[0].net)
    net.layer[2].param[2].share_mode = pb.ParamSpec.PERMISSIVE
    assert str(split(Model(net))[0].net).count("share_mode: PERMISSIVE") == 1


def test_files(tmp_path: Path) -> None:
    old = trained(definition("split"))
    write_model(old, tmp_path / "n.prototxt", tmp_path / "n.caffemodel")
    back = read_model(tmp_path / "n.prototxt", tmp_path / "n.caffemodel")
    assert back.net == old.net
    assert list(back.arrays) == ["conv1", "bn1", "scale1", "ip"]
    (tmp_path / "other.prototxt").write_text('layer { name: "conv2" type: "Input" top: "x" }')
    with pytest.raises(WeightsError, match="weights of another net"):
        read_model(tmp_path / "other.prototxt", tmp_path / "n.caffemodel")
