"""The keys of runs: fields without effect are not in them, and those of experiments that ship stay as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dragon.compare import build, store
from dragon.compare.data_files import forget_files
from dragon.compare.listing import find_experiment
from dragon.compare.plan import make_plan
from dragon.compare.reading import read_experiment
from dragon.compare.store import run_key
from dragon.compare.training import train
from dragon.engines import Options
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text

# values that differ from the defaults, and from what an experiment sets itself
WITHOUT_EFFECT: dict[str, Any] = {
    "average_loss": 20, "debug_info": True, "device_id": 1, "display": 7, "engine": "numpy", "layer_wise_reduce": False,
    "precision": pb.SolverParameter.BF16, "show_per_class_result": True, "snapshot": 5, "snapshot_after_train": True,
    "snapshot_diff": True, "snapshot_format": pb.SolverParameter.HDF5, "snapshot_prefix": "elsewhere/run",
    "solver_mode": pb.SolverParameter.GPU,
}  # fmt: skip
# the first run of an experiment with the oneDNN engine, at full length and quick; data sets by their names
KEYS = {
    "placement": ("81cc2e6e6279da93781a", "023500ed29e455fdcb11"),
    "regulariser": ("366679eed834a989b614", "662d23e2d580b5f4f661"),
    "adversarial": ("6fe72526d468663b873c", "d1528c60287aef0b0cef"),
    "dragon2016": ("d9a8bed1dfa3d59dea5b", "eebb721943baec5c9d58"),
    "demo_mnist": ("ad0677e936c98d5d145e", "ad0677e936c98d5d145e"),
    "deep_linear": ("4b5e2a3bc5ffaa618981", "c85d296f3c4bd3fa4462"),
}


def key(**fields: Any) -> str:
    solver = parse_text('base_lr: 0.1 train_net_param { name: "a" }', pb.SolverParameter())
    for name, value in fields.items():
        known = pb.SolverParameter.DESCRIPTOR.fields_by_name[name]
        if known.is_repeated:
            getattr(solver, name).extend([value])
        else:
            setattr(solver, name, value)
    return run_key(solver, None, {})


def test_fields_that_decide_nothing_are_not_in_the_key() -> None:
    for name, value in WITHOUT_EFFECT.items():
        assert key(**{name: value}) == key(), name


def test_the_loss_that_plateau_averages_is_in_the_key() -> None:
    """The policy steps down by it."""
    assert key(lr_policy="plateau", average_loss=20) != key(lr_policy="plateau")


LAYER = """layer {{ name: "a" type: "Python" top: "t"
  python_param {{ module: "{}" layer: "{}" param_str: "{}" }} }}"""
TARGETS = "rpn.anchor_target_layer", "AnchorTargetLayer", "'feat_stride': 16"
IMAGES = "roi_data_layer.layer", "RoIDataLayer", "'num_classes': 3"


@pytest.mark.parametrize("own", [False, True], ids=["Faster R-CNN", "another"])
@pytest.mark.parametrize(
    ("layer", "settings", "data"),
    [
        (TARGETS, ("TRAIN: {RPN_BATCHSIZE: 32}", "TRAIN: {RPN_BATCHSIZE: 64}"), ("", "")),
        (IMAGES, ("DATA: {source: list.txt}",) * 2, ("a b", "a c")),
    ],
)
def test_settings_beside_the_net_are_in_the_key(
    layer: tuple[str, str, str], settings: tuple[str, str], data: tuple[str, str], own: bool, tmp_path: Path
) -> None:
    """Of a Python layer of py-faster-rcnn: rcnn.yml, and the files that it names."""
    text = f'lr_policy: "fixed" train_net_param {{ {LAYER.format(*layer)} }}'
    if own:
        text = text.replace(layer[0], "my_own")
    keys = set()
    for one, content in zip(settings, data, strict=True):
        (tmp_path / "rcnn.yml").write_text(one)
        (tmp_path / "list.txt").write_text(content)
        forget_files()
        keys.add(run_key(parse_text(text, pb.SolverParameter()), None, {}, str(tmp_path)))
    assert len(keys) == (1 if own else 2)


def test_all_other_fields_are() -> None:
    """Also those that come later: one that decides nothing is listed in the store, and here."""
    for name, field in pb.SolverParameter.DESCRIPTOR.fields_by_name.items():
        if name in WITHOUT_EFFECT or field.message_type is not None:
            continue
        value: Any = "x" if field.cpp_type == field.CPPTYPE_STRING else 3
        if field.cpp_type == field.CPPTYPE_BOOL:
            value = not field.default_value
        assert key(**{name: value}) != key(), name


def test_fields_that_are_not_in_the_key_have_no_effect(comparison: Path, tmp_path: Path) -> None:
    results = []
    for number, fields in enumerate(({}, WITHOUT_EFFECT)):
        run = make_plan(read_experiment(comparison), "numpy", "fp32").first("merged")
        for name, value in fields.items():
            setattr(run.solver, name, value)
        run.solver.display = 0  # as an experiment sets it: debug_info prints nothing then
        results.append(train(run.solver, None, "numpy", Options(), tmp_path / f"run{number}", lambda message: None))
    assert results[0] is not None
    assert results[1] is not None
    assert results[0]["series"] == results[1]["series"]


@pytest.mark.parametrize("name", KEYS)
def test_keys_of_experiments_that_ship(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stored runs of these experiments, and their results, are found by their keys: a change costs days of training.

    A key that changes on purpose, say since a net of the zoo has changed, is written here anew.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(build, "_records", lambda layer: 1000)
    monkeypatch.setattr(store, "data_digest", lambda path, backend: Path(path).name)
    monkeypatch.setattr(store, "__version__", "0.1.0")
    for data in ("cifar10", "mnist"):
        for part in ("train", "test", "val"):
            (tmp_path / "data" / data / f"{data}_{part}_lmdb").mkdir(parents=True)
        (tmp_path / "data" / data / "mean.binaryproto").write_text("mean")
    file = find_experiment(name)
    found = [make_plan(read_experiment(file, quick), "onednn", "fp32").runs[0].id for quick in (False, True)]
    assert tuple(found) == KEYS[name]


RUN = {
    "series": {}, "chance": {}, "iterations": 4, "done": 4, "train_s": 0.1, "batch_size": 20, "diverged": None,
    "stopped": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "content", "wrong"),
    [
        *(("", RUN, {name: [1]}) for name in ("series", "chance", "iterations", "done", "train_s", "batch_size")),
        ("pair_", {"settings": [], "own_start": []}, {"settings": 1}),
        ("budget_", {"iterations": 4}, {"iterations": "4"}),
        ("cost_", {"series": []}, {"series": {}}),
    ],
)
def test_a_result_without_what_its_kind_has_is_damaged(
    kind: str, content: dict[str, Any], wrong: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / f"{kind}{store.key_of('x')}.json"
    for found, given in ((True, content), (False, content | wrong), (False, {}), (False, [])):
        path.write_text(json.dumps(given))
        assert (store.read_result(path) is not None) == found
    for name in content:
        path.write_text(json.dumps({key: value for key, value in content.items() if key != name}))
        assert store.read_result(path) is None
