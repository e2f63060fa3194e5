"""Python layers of py-faster-rcnn's nets whose modules are not on the path: Dragon's own take their place."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN, Context, Layer, create, find_class
from dragon.bases.rcnn_settings import STAND_INS
from dragon.errors import EngineError, PrototxtError
from dragon.layers.anchor_target import AnchorTarget
from dragon.layers.proposal import Proposal
from dragon.layers.proposal_target import ProposalTarget
from dragon.proto import dragon_pb2 as pb
from tests.layers.helpers import One
from tests.layers.rcnn_images import write_images
from tests.layers.rcnn_nets import python

LAYERS = {find_class(one.type): names for names, one in STAND_INS.items() if one.type != "RoIData"}
PARAM: dict[type[Layer] | None, str] = {
    AnchorTarget: "'feat_stride': 16",
    Proposal: "'feat_stride': 16",
    ProposalTarget: "'num_classes': 21",
}


def make(cls: type[Layer], text: str | None = None, phase: int = TRAIN, folder: Path | None = None) -> Layer:
    module, layer = LAYERS[cls]
    param = pb.LayerParameter(name="one", type="Python")
    param.python_param.module, param.python_param.layer = module, layer
    param.python_param.param_str = PARAM[cls] if text is None else text
    return create(param, phase, Context(folder=folder, allow_python=False))


@pytest.mark.parametrize("cls", LAYERS)
def test_they_are_dragons_and_need_no_permission(cls: type[Layer]) -> None:
    layer = make(cls)
    assert type(layer) is cls
    assert not layer.runs_user_code
    assert layer.name == "one"


def test_defaults_are_those_of_py_faster_rcnn() -> None:
    p = make(AnchorTarget).param.anchor_target_param
    assert (p.feat_stride, p.batch_size, p.fg_fraction, p.positive_overlap, p.negative_overlap) == (
        16,
        256,
        0.5,
        0.7,
        0.3,
    )
    assert (p.positive_weight, list(p.inside_weight), p.clobber_positives) == (-1, [1, 1, 1, 1], False)
    for phase, before, after in ((TRAIN, 12000, 2000), (TEST, 6000, 300)):
        q = make(Proposal, phase=phase).param.proposal_param
        assert (q.pre_nms_topn, q.post_nms_topn, q.min_size) == (before, after, 16)
        assert q.nms_thresh == pytest.approx(0.7)
    r = make(ProposalTarget).param.proposal_target_param
    assert (r.num_classes, r.batch_size, r.fg_fraction, r.fg_thresh) == (21, 128, 0.25, 0.5)
    assert (r.bg_thresh_hi, r.bg_thresh_lo, r.class_agnostic, r.normalize_targets) == (0.5, 0.1, False, False)
    assert list(r.bbox_std) == pytest.approx([0.1, 0.1, 0.2, 0.2])


def test_keys_of_param_str() -> None:
    text = "{feat_stride: 8, scales: [2, 4], ratios: [1], allowed_border: 3, TRAIN: {RPN_BATCHSIZE: 32}}"
    p = make(AnchorTarget, text).param.anchor_target_param
    assert (p.feat_stride, list(p.scale), list(p.ratio), p.allowed_border, p.batch_size) == (8, [2, 4], [1], 3, 32)


def test_files_of_settings(tmp_path: Path) -> None:
    """A file beside the prototxt; one that param_str names wins over it, and param_str's own groups over both."""
    (tmp_path / "rcnn.yml").write_text(
        "EXP_DIR: rfcn\nTRAIN:\n  HAS_RPN: True\n  BATCH_SIZE: -1\n  AGONISTIC: True\n  BG_THRESH_LO: 0.0\n"
    )
    (tmp_path / "other.yml").write_text("TRAIN: {BBOX_NORMALIZE_TARGETS_PRECOMPUTED: True, BATCH_SIZE: 64}\n")
    p = make(ProposalTarget, folder=tmp_path).param.proposal_target_param
    assert (p.batch_size, p.class_agnostic, p.bg_thresh_lo, p.normalize_targets) == (-1, True, 0, False)
    text = "{num_classes: 3, cfg: other.yml, TRAIN: {BATCH_SIZE: 16}}"
    p = make(ProposalTarget, text, folder=tmp_path).param.proposal_target_param
    assert (p.batch_size, p.class_agnostic, p.normalize_targets, p.num_classes) == (16, False, True, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{feat_stride: 16, scale: [8]}", r'param_str of AnchorTargetLayer has no key "scale" \(did you mean "scales"'),
        ("[1", "param_str of AnchorTargetLayer is not YAML"),
        ("{feat_stride: 2001-99-99}", "param_str of AnchorTargetLayer is not YAML"),
        ("{feat_stride: 0x_}", "param_str of AnchorTargetLayer is not YAML"),
        ("{feat_stride: !!int ''}", "param_str of AnchorTargetLayer is not YAML"),
        ("[" * 2000, "param_str of AnchorTargetLayer is not YAML"),
        ("feat_stride", "param_str of AnchorTargetLayer must be a mapping"),
        ("{feat_stride: x}", "feat_stride: 'x' is not a value for it"),
        ("{feat_stride: -1}", "feat_stride: -1 is not a value for it"),
        ("{feat_stride: 1.5}", "feat_stride: 1.5 is not a value for it"),
        ("{feat_stride: [16, 8]}", "is not a value for it"),
        ("{TRAIN: {RPN_BATCH_SIZE: 1}}", r'TRAIN has no setting "RPN_BATCH_SIZE" \(did you mean "RPN_BATCHSIZE"'),
        ("{TRAIN: {RPN_CLOBBER_POSITIVES: 1}}", "RPN_CLOBBER_POSITIVES: 1 is not a value"),
        ("{TRAIN: {RPN_BATCHSIZE: true}}", "RPN_BATCHSIZE: True is not a value"),
        ("{TRAIN: 3}", "TRAIN must be a mapping"),
        ("{cfg: none.yml}", 'settings "none.yml" do not exist'),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(PrototxtError, match=message) as raised:
        make(AnchorTarget, text)
    assert 'layer "one"' in str(raised.value)


def test_a_wrong_file(tmp_path: Path) -> None:
    path = tmp_path / "rcnn.yml"
    path.write_text("TRIAN: {}\n")
    with pytest.raises(PrototxtError, match=r'rcnn.yml: py-faster-rcnn has no setting "TRIAN" \(did you mean "TRAIN"'):
        make(Proposal, folder=tmp_path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PrototxtError, match="cannot be read"):
        make(Proposal, folder=tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yml")
    with pytest.raises(PrototxtError, match=r"pipe.yml.*a pipe"):
        make(Proposal, "{cfg: pipe.yml}", folder=tmp_path)


def test_the_users_own_module_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "rpn"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('nothing of it may run before it is allowed')\n")
    (package / "proposal_layer.py").write_text("")
    with pytest.raises(EngineError, match="would run the Python code of module"):
        make(Proposal, folder=tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EngineError, match="pass --allow-python"):
        make(Proposal)
    assert type(make(AnchorTarget)) is AnchorTarget  # its package has no such module


def test_it_computes_as_the_layer_of_its_own() -> None:
    rng = np.random.default_rng(2)
    bottoms = rng.uniform(size=(1, 18, 4, 5)), rng.standard_normal((1, 36, 4, 5)) / 4, [[64.0, 80.0, 1.0]]
    python = One(
        "type: 'Python' python_param { module: 'rpn.proposal_layer' layer: 'ProposalLayer' "
        "param_str: \"'feat_stride': 16\" }", *bottoms, phase=TEST,
    )  # fmt: skip
    np.testing.assert_array_equal(python.forward(), One("type: 'Proposal'", *bottoms).forward())


def test_the_data_of_fast_rcnn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its nets name the same layer as the others, for other tops."""
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path)
    (tmp_path / "rcnn.yml").write_text(
        "TRAIN: {SCALES: [20], BATCH_SIZE: 8, BBOX_NORMALIZE_STDS: [1, 1, 1, 1]}\n"
        "DATA: {source: voc, region_file: regions.h5}\n"
    )
    with h5py.File("regions.h5", "w") as file:
        for i in range(4):
            file[str(i)] = np.array([[0, 0, 9, 9], [3, 4, 15, 15]])
    for tops in ("data rois labels", "data rois labels bbox_targets bbox_inside_weights bbox_outside_weights"):
        text = python("d", "roi_data_layer.layer", "RoIDataLayer", "", tops, "'num_classes': 21")
        inner = text[text.index("{") + 1 : text.rindex("}")]
        one = One(inner, n_top=len(tops.split()), context=Context(folder=tmp_path, allow_python=False))
        assert one.layer.type == "RegionData"
        assert min(one.forward().shape[2:]) == 20
        p = one.layer.param.proposal_target_param
        assert (p.num_classes, p.batch_size, p.normalize_targets, list(p.bbox_std)) == (21, 8, True, [1, 1, 1, 1])
