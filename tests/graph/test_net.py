"""Net: wiring, sharing, loss weights, who needs a gradient, and errors that say where."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import dragon
from dragon.errors import UsageError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text

INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 3 } } }'
TARGET = 'layer { name: "target" type: "Input" top: "target" input_param { shape { dim: 4 dim: 2 } } }'
FC = """layer { name: "%s" type: "InnerProduct" bottom: "%s" top: "%s" %s
  inner_product_param { num_output: %d weight_filler { type: "gaussian" std: 0.5 } } }"""
LOSS = 'layer { name: "loss" type: "EuclideanLoss" bottom: "%s" bottom: "target" top: "loss" %s }'


def fc(name: str, bottom: str, outputs: int = 2, extra: str = "") -> str:
    return FC % (name, bottom, name, extra, outputs)


def make(*layers: str, head: str = "", phase: int = dragon.TRAIN, engine: str = "numpy") -> dragon.Net:
    definition = parse_text(head + "\n".join(layers), pb.NetParameter())
    return dragon.Net(definition, phase=phase, engine=engine, seed=3, dtype=np.float32)


def fill(net: dragon.Net) -> dragon.Net:
    rng = np.random.default_rng(0)
    for name in net.inputs:
        net.blobs[name].data[...] = rng.normal(size=net.blobs[name].shape)
    return net


@pytest.mark.parametrize("phase", [7, -1, "TEST", [1], 1.0])
def test_a_phase_that_there_is_not(tmp_path: Path, phase: object) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(INPUT)
    with pytest.raises(dragon.UsageError, match=r"the phase of a net is TRAIN \(0\) or TEST \(1\), got "):
        dragon.Net(str(path), phase=phase)  # type: ignore[arg-type]
    if phase == 7:
        with pytest.raises(dragon.UsageError, match="got 7"):
            dragon.Net(str(path), 7)
    assert dragon.Net(str(path), np.int64(1)).phase == dragon.TEST  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["phase", "weights phase", "keywords", "param"])
def test_every_way_to_make_a_net(form: str, tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(INPUT + fc("fc", "data"))
    source = dragon.Net(str(path), dragon.TEST, seed=1)
    weights = str(tmp_path / "w.caffemodel")
    source.save(weights)
    match form:
        case "phase":
            net = dragon.Net(str(path), dragon.TEST)
        case "weights phase":
            net = dragon.Net(str(path), weights, dragon.TEST)
            assert (net.params["fc"][0].data == source.params["fc"][0].data).all()
        case "keywords":
            net = dragon.Net(network_file=str(path), phase=dragon.TRAIN, weights=weights, level=1, stages=["a"])
            assert (net.params["fc"][0].data == source.params["fc"][0].data).all()
        case _:
            net = dragon.Net(parse_text(INPUT + fc("fc", "data"), pb.NetParameter()), dragon.TEST)
    assert net.inputs == ["data"]
    assert net.outputs == ["fc"]
    assert net.forward()["fc"].shape == (4, 2)


def test_more_arguments_than_have_a_meaning(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text("")
    with pytest.raises(UsageError, match="Net takes a model, weights and a phase by position, got 1 more"):
        dragon.Net(tmp_path / "net.prototxt", "w.caffemodel", dragon.TEST, 0)


def test_shared_parameters_are_one_memory_and_collect_both_gradients() -> None:
    tied = 'param { name: "w" } param { name: "b" }'
    net = fill(make(INPUT, TARGET, fc("a", "data", 3, tied), fc("b", "a", 3, tied), fc("c", "b"), LOSS % ("c", "")))
    assert [p.name for p in net.learnable] == ["w", "b", "c/0", "c/1"]
    net.clear_param_diffs()
    net.forward_backward()
    together = net.params["a"][0].diff.copy()
    net.params["b"][0].data[0, 0] += 1
    assert net.params["a"][0].data[0, 0] == net.params["b"][0].data[0, 0]
    # the same net untied, from the same weights: its two gradients add up to the shared one
    net.params["b"][0].data[0, 0] -= 1
    free = fill(make(INPUT, TARGET, fc("a", "data", 3), fc("b", "a", 3), fc("c", "b"), LOSS % ("c", "")))
    for layer in ("a", "b", "c"):
        for i in range(2):
            free.params[layer][i].data[...] = net.params[layer][i].data
    free.clear_param_diffs()
    free.forward_backward()
    assert np.allclose(free.params["a"][0].diff + free.params["b"][0].diff, together, rtol=1e-5)


def test_sharing_checks_shapes_and_multipliers() -> None:
    strict = 'param { name: "w" } param { name: "b" }'
    with pytest.raises(dragon.ShapeError, match=r'layer "b".*"w" shared with layer "a": shape \(2, 2\) here, \(2, 3\)'):
        make(INPUT, fc("a", "data", 2, strict), fc("b", "a", 2, strict))
    with pytest.raises(dragon.PrototxtError, match="lr_mult is 3 here, 2 there"):
        make(
            INPUT,
            fc("a", "data", 3, 'param { name: "w" lr_mult: 2 }'),
            fc("b", "a", 3, 'param { name: "w" lr_mult: 3 }'),
        )
    net = make(
        INPUT,
        fc("a", "data", 2, 'param { name: "w" }'),
        'layer { name: "t" type: "InnerProduct" bottom: "a" top: "t" param { name: "w" share_mode: PERMISSIVE }'
        " inner_product_param { num_output: 3 } }",
    )
    assert net.params["t"][0].shape == (3, 2)


def test_loss_is_weighted_and_so_are_gradients() -> None:
    single = fill(make(INPUT, TARGET, fc("fc", "data"), LOSS % ("fc", "")))
    triple = fill(make(INPUT, TARGET, fc("fc", "data"), LOSS % ("fc", "loss_weight: 3")))
    for net in (single, triple):
        net.clear_param_diffs()
    assert triple.forward_backward() == pytest.approx(3 * single.forward_backward())
    assert np.allclose(triple.params["fc"][0].diff, 3 * single.params["fc"][0].diff)


def test_a_loss_weight_on_any_top_makes_it_a_loss() -> None:
    weighted = fc("fc", "data", 2, "loss_weight: 0.5")
    net = fill(make(INPUT, weighted))
    net.clear_param_diffs()
    assert net.forward_backward() == pytest.approx(0.5 * net.blobs["fc"].data.sum(), rel=1e-5)
    assert np.allclose(net.params["fc"][1].diff, 0.5 * 4)


def test_a_missing_loss_top_is_made() -> None:
    net = fill(
        make(INPUT, TARGET, fc("fc", "data"), 'layer { name: "l" type: "EuclideanLoss" bottom: "fc" bottom: "target" }')
    )
    assert net.run_forward() > 0


def test_backward_stops_at_frozen_layers_and_without_a_loss() -> None:
    frozen = "param { lr_mult: 0 } param { lr_mult: 0 }"
    net = make(INPUT, TARGET, fc("a", "data", 3, frozen), fc("b", "a"), fc("side", "data"), LOSS % ("b", ""))
    need = dict(zip(net.layer_names, net.layer_need_backward, strict=True))
    assert not need["a"]
    assert need["b"]
    assert not need["side"], "it leads to no loss"
    assert net.bottom_need_backward[net.layer_names.index("b")] == [False]


def test_propagate_down_and_force_backward() -> None:
    cut = make(INPUT, TARGET, fc("a", "data", 3), fc("b", "a", 2, "propagate_down: false"), LOSS % ("b", ""))
    assert not cut.layer_need_backward[cut.layer_names.index("a")]
    forced = fill(make(INPUT, TARGET, fc("a", "data"), LOSS % ("a", ""), head="force_backward: true "))
    forced.clear_param_diffs()
    forced.forward_backward()
    assert np.abs(forced.blobs["data"].diff).max() > 0
    with pytest.raises(dragon.PrototxtError, match="propagate_down is given 2 times for 1 bottom"):
        make(INPUT, fc("a", "data", 2, "propagate_down: true propagate_down: true"))


def test_batch_norm_statistics_are_not_learned() -> None:
    norm = 'layer { name: "bn" type: "BatchNorm" bottom: "a" top: "bn" param { lr_mult: 1 } }'
    net = make(INPUT, TARGET, fc("a", "data"), norm, LOSS % ("bn", ""))
    assert {p.layer for p in net.learnable} == {"a"}
    assert len(net.owned) == 5


def test_the_same_seed_and_layer_names_give_the_same_weights_whatever_stands_between() -> None:
    plain = make(INPUT, fc("a", "data"), fc("b", "a"))
    more = make(
        INPUT,
        fc("new", "data", 5),
        fc("a", "data"),
        'layer { name: "r" type: "ReLU" bottom: "a" top: "a" }',
        fc("b", "a"),
    )
    assert (plain.params["b"][0].data == more.params["b"][0].data).all()


@pytest.mark.parametrize("engine", ["numpy", "auto"])
def test_changed_input_shape_goes_through(engine: str) -> None:
    net = fill(make(INPUT, fc("a", "data"), engine=engine))
    first = net.forward()["a"].copy()
    data = net.blobs["data"].data.copy()
    net.blobs["data"].reshape(2, 3)
    net.blobs["data"].data[...] = data[:2]
    assert np.allclose(net.forward()["a"], first[:2], rtol=1e-5)
    net.blobs["data"].reshape(9, 3)
    net.reshape()
    assert net.blobs["a"].shape == (9, 2)


RELU = 'layer {{ name: "a" type: "{type}" bottom: "{bottom}" top: "{top}" {more} }}'


def relu(type: str = "ReLU", bottom: str = "data", top: str = "a", more: str = "") -> str:
    return RELU.format(type=type, bottom=bottom, top=top, more=more)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (relu(type="ReLu"), r'layer "a": unknown layer type "ReLu".*"ReLU"'),
        (
            relu(type="Correlation"),
            r'layer "a": unknown layer type "Correlation": FlowNet.s comparison of feature maps.*Python layer',
        ),
        (relu(bottom="dta"), r'layer "a" \(ReLU\): unknown bottom "dta".*"data"'),
        (relu(more='top: "b"'), r'layer "a" \(ReLU\): takes exactly 1 top blob, got 2'),
        (relu(more="loss_weight: [1, 2]"), r'layer "a" \(ReLU\): loss_weight is given 2 times for 1 top'),
        (relu(more="include { } exclude { }"), r'layer "a" \(ReLU\): give include rules or exclude rules'),
        (relu("Pooling", more="pooling_param { kernel_size: 3 }"), r'layer "a" \(Pooling\): needs a bottom'),
    ],
)
def test_errors_are_one_line_with_file_line_and_layer(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(f"{INPUT}\n\n{text}\n")
    with pytest.raises(dragon.DragonError, match=f"net.prototxt:3: {message}") as caught:
        dragon.Net(str(path), dragon.TRAIN)
    assert "\n" not in str(caught.value)


def test_two_layers_must_not_make_one_top() -> None:
    with pytest.raises(dragon.PrototxtError, match=r'layer "b" \(ReLU\): top "a" is made by another layer'):
        make(INPUT, relu(), relu().replace('name: "a"', 'name: "b"'))


def test_first_nonfinite_names_the_layer() -> None:
    net = fill(make(INPUT, TARGET, fc("a", "data"), fc("b", "a"), LOSS % ("b", "")))
    net.params["a"][0].data[0, 0] = np.inf
    with pytest.raises(dragon.NumericError, match=r'iteration 7: loss is (nan|inf); first in layer "a"'):
        net.check_finite(net.run_forward(), 7)
    assert net.first_nonfinite() is not None


def test_loading_reads_large_blobs_into_place(tmp_path: Path) -> None:
    wide = 512  # 1 MiB for each of 6 layers
    text = (
        f'layer {{ name: "d" type: "Input" top: "x0" input_param {{ shape {{ dim: 1 dim: {wide} }} }} }}\n'
        + "".join(
            f'layer {{ name: "ip{i}" type: "InnerProduct" bottom: "x{i}" top: "x{i + 1}" '
            f"inner_product_param {{ num_output: {wide} bias_term: false }} }}\n"
            for i in range(6)
        )
    )
    net = dragon.Net(parse_text(text, pb.NetParameter()), dragon.TEST, engine="numpy")
    net.save(tmp_path / "w.caffemodel")
    net.copy_from(tmp_path / "w.caffemodel")  # everything is imported
    saved = {name: blobs[0].data.copy() for name, blobs in net.params.items()}
    for blobs in net.params.values():
        blobs[0].data[...] = 0
    tracemalloc.start()
    net.copy_from(tmp_path / "w.caffemodel")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.5 * (1 << 20)
    assert all(np.array_equal(blobs[0].data, saved[name]) for name, blobs in net.params.items())


@pytest.mark.parametrize(
    "text",
    [
        'layer { name: "e" type: "Embed" bottom: "data" top: "data" embed_param { num_output: 3 input_dim: 2 } }',
        'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "data" inner_product_param { num_output: 5 } }',
        TARGET + 'layer { name: "l" type: "EuclideanLoss" bottom: "data" bottom: "target" top: "data" }',
    ],
)
def test_a_layer_that_changes_shapes_cannot_work_in_place(text: str) -> None:
    with pytest.raises(dragon.DragonError, match="work in place"):
        dragon.Net(parse_text(INPUT + text, pb.NetParameter()), dragon.TEST, engine="numpy")
