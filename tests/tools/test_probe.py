"""`dragon probe`, and `dragon train --probe`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dragon.probes import parse, probe_names
from dragon.tools.observers.probes import RecordedProbes
from tests.helpers import toy_solver
from tests.tools.conftest import Dragon, edit

SOLVER = ("--solver", "solver.prototxt")
MODEL = ("--model", "net.prototxt")
NUMBER = r"\d[\d.e+-]*"


def values_of(folder: Path, name: str = "weight_norm") -> list[tuple[int, dict[str, Any]]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return [(r["iteration"], r["values"]) for r in records if r["event"] == "probe" and r["name"] == name]


# -- dragon probe ----------------------------------------------------------------------------------------------
def test_one_row_a_layer(work: Path, dragon: Dragon) -> None:
    result = dragon("probe", *MODEL, "--probe", "weight_norm", "--probe", "moments:batch_size=4")
    assert result.code == 0, result.err
    norms, moments = result.out.split("\n\n")
    lines = norms.splitlines()
    assert lines[0] == "weight_norm, iteration 0"
    assert lines[1].split() == ["value", "gamma", "beta", "bias"]
    assert re.fullmatch(f"conv +{NUMBER}", lines[3])
    assert re.fullmatch(r"bn +2 +0", lines[4])
    assert re.fullmatch(f"ip +{NUMBER} +0", lines[5])
    assert moments.splitlines()[0] == "moments, iteration 0"
    assert [line.split()[0] for line in moments.splitlines()[3:]] == ["conv", "bn", "relu", "drop", "ip"]


def test_json_after_training(work: Path, dragon: Dragon) -> None:
    before = sorted(work.iterdir())
    probes = ("--probe", "rotation:every=2", "--probe", "test_batch:images=8,sizes=2,4")
    result = dragon("probe", *SOLVER, "--iterations", "3", *probes, "--json")
    assert result.code == 0, result.err
    series = json.loads(result.out)
    assert series["probe/rotation/conv"][0] == [2, 3]
    assert series["probe/test_batch/acc/batch/2"][0] == [3]
    assert sorted(work.iterdir()) == before


def test_weights_are_taken(work: Path, dragon: Dragon) -> None:
    assert dragon("train", *SOLVER, "--iterations", "5").code == 0
    told = {}
    for how in (MODEL, SOLVER):
        result = dragon("probe", *how, "--weights", "out/x_iter_5.caffemodel", "--probe", "drift:batches=2", "--json")
        assert result.code == 0, result.err
        told[how] = json.loads(result.out)
    assert told[MODEL] == told[SOLVER]
    assert set(told[MODEL]) == {"probe/drift/bn/mean", "probe/drift/bn/variance"}


def test_the_list_has_all(dragon: Dragon) -> None:
    result = dragon("probe", "--list")
    assert result.code == 0
    assert [part.partition(":")[0] for part in result.out.split("\n\n")] == list(probe_names())
    assert re.search(r"^  every +end +measure after every so many updates", result.out, re.MULTILINE)
    assert re.search(r"^  percentiles +15,50,85 ", result.out, re.MULTILINE)


def test_what_has_no_value_is_said(work: Path, dragon: Dragon) -> None:
    assert dragon("probe", *SOLVER, "--probe", "rotation").out == "rotation: nothing to measure here\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (MODEL, "which probe? --probe NAME; --list shows them all"),
        (("--probe", "moments"), "give either --model or --solver"),
        ((*MODEL, *SOLVER, "--probe", "moments"), "give either --model or --solver"),
        ((*MODEL, "--probe", "moments", "--iterations", "3"), "--iterations needs --solver, which says how to train"),
        ((*MODEL, "--probe", "moment"), 'unknown probe "moment" (did you mean "moments"?)'),
        ((*MODEL, "--probe", "moments", "--probe", "moments"), 'probe "moments" is given twice'),
        (
            (*MODEL, "--probe", "moments", "--probe", "landscape"),
            'probe "landscape": which learning rate? give rate=NUMBER',
        ),
        ((*MODEL, "--probe", "ulp"), 'probe "ulp": needs a training run (--solver), not a net alone (--model)'),
        ((*MODEL, "--probe", "rotation"), "needs a training run (--solver), not a net alone (--model)"),
        (
            (*MODEL, "--probe", "hessian:step=1e-300"),
            'probe "hessian": step 1e-300 is too short: it leaves the weights',
        ),
        ((*MODEL, "--probe", "percentiles:units=10"), 'unit 10 of "ip", which has 10, counted from 0'),
        ((*MODEL, "--probe", "percentiles:layer=cnv"), 'the net has no layer "cnv" (did you mean "conv"?)'),
        ((*MODEL, "--probe", "moments", "--weights", "none"), "none"),
    ],
)
def test_wrong_usage(work: Path, dragon: Dragon, args: tuple[str, ...], message: str) -> None:
    result = dragon("probe", *args)
    assert result.code == 2
    assert message in result.error
    assert not result.out


def test_a_net_without_a_test_phase_says_so(work: Path, dragon: Dragon) -> None:
    text = (work / "solver.prototxt").read_text()
    (work / "solver.prototxt").write_text(text.replace("test_iter: 2\ntest_interval: 10\n", ""))
    result = dragon("probe", *SOLVER, "--probe", "adversarial")
    assert result.code == 2
    assert "the probe needs a net of phase TEST, and there is none" in result.error


def test_a_net_without_data_says_so(work: Path, dragon: Dragon) -> None:
    (work / "deploy.prototxt").write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
        'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 2 } }'
    )
    result = dragon("probe", "--model", "deploy.prototxt", "--probe", "moments")
    assert result.code == 2
    assert 'layer "x" takes what a program gives it' in result.error
    assert dragon("probe", "--model", "deploy.prototxt", "--probe", "weight_norm").code == 0
    text = (work / "deploy.prototxt").read_text().partition("\n")[2]
    (work / "memory.prototxt").write_text(
        'layer { name: "m" type: "MemoryData" top: "x" top: "t" '
        "memory_data_param { batch_size: 2 channels: 3 height: 1 width: 1 } }\n" + text
    )
    result = dragon("probe", "--model", "memory.prototxt", "--probe", "moments")
    assert result.code == 2
    assert 'probes need data layers that read by themselves: layer "m" takes what a program gives it' in result.error
    assert "set_input_arrays" not in result.error, "nobody can call it on the command line"


def test_a_net_without_a_loss_says_so(work: Path, dragon: Dragon) -> None:
    (work / "features.prototxt").write_text(
        'name: "n" layer { name: "x" type: "DummyData" top: "x" dummy_data_param { shape { dim: 2 dim: 3 } } }\n'
        'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 2 } }'
    )
    features = ("--model", "features.prototxt", "--probe")
    for name in ("gradient_norm", "gradient_quantiles", "hessian", "adversarial", "landscape:rate=1"):
        result = dragon("probe", *features, name)
        assert result.code == 2
        assert 'the probe needs a gradient, and net "n" has no loss in phase T' in result.error
    for name in ("jacobian", "percentiles"):
        result = dragon("probe", *features, name)
        assert result.code == 2
        assert 'net "n" has no loss in phase TRAIN: which layer makes the scores? give layer=NAME' in result.error
        assert dragon("probe", *features, f"{name}:layer=ip").code == 0


# -- dragon train --probe --------------------------------------------------------------------------------------
def test_values_go_to_the_metrics(work: Path, dragon: Dragon) -> None:
    result = dragon("train", *SOLVER, "--probe", "weight_norm:every=8", "--probe", "precise_bn:samples=10,images=8")
    assert result.code == 0, result.err
    found = values_of(work / "out")
    assert [iteration for iteration, _ in found] == [0, 8, 16, 20]
    assert set(found[0][1]) == {"conv", "bn/gamma", "bn/beta", "ip", "ip/bias"}
    assert [iteration for iteration, _ in values_of(work / "out", "precise_bn")] == [20]
    events = [json.loads(line)["event"] for line in (work / "out/metrics.jsonl").read_text().splitlines()]
    assert (events[0], events[1], events[-1]) == ("start", "probe", "end")


def test_measuring_does_not_count_as_training() -> None:
    """The meter leaves out the iterations in which probes did something: a measurement, or what one needs before."""
    solver, skipped = toy_solver(max_iter=6), []
    probes = RecordedProbes([parse("weight_norm:every=4")], lambda *_: None, lambda: skipped.append(solver.iter))
    solver.observers.append(probes)
    solver.solve()
    assert skipped == [0, 3, 4, 5]


def test_weights_are_those_of_a_run_without(work: Path, dragon: Dragon) -> None:
    flags = [
        flag for name in ("gradient_norm:every=3", "rotation:every=5", "drift:every=7") for flag in ("--probe", name)
    ]
    assert dragon("train", *SOLVER, *flags).code == 0
    (work / "out").rename(work / "with")
    assert dragon("train", *SOLVER).code == 0
    with_probes, without = (work / folder / "x_iter_20.caffemodel" for folder in ("with", "out"))
    assert with_probes.read_bytes() == without.read_bytes()


@pytest.mark.parametrize("at", [10, 15])
def test_a_resumed_run_writes_the_same_values(work: Path, dragon: Dragon, at: int) -> None:
    names = ("ulp:until=18", "weight_norm:every=4", "rotation:every=5")
    flags = [flag for name in names for flag in ("--probe", name)]
    assert dragon("train", *SOLVER, *flags).code == 0
    titles = ("ulp", "weight_norm", "rotation")
    whole = {name: values_of(work / "out", name) for name in titles}
    assert len(whole["ulp"]) == 19
    assert dragon("train", *SOLVER, *flags, "--snapshot", f"out/x_iter_{at}.solverstate").code == 0
    assert {name: values_of(work / "out", name) for name in titles} == whole


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "damaged, it is no JSON"),
        ("[]", "not the state of probes"),
        ('{"series": {"a": 1}}', "not the state of probes"),
    ],
)
def test_a_damaged_file_of_states(work: Path, dragon: Dragon, content: str, message: str) -> None:
    assert dragon("train", *SOLVER, "--probe", "weight_norm").code == 0
    path = work / "out/x_iter_10.probes.json"
    assert path.is_file()
    path.write_text(content)
    result = dragon("train", *SOLVER, "--probe", "weight_norm", "--snapshot", "out/x_iter_10.solverstate")
    assert result.code == 2
    assert result.error.startswith("out/x_iter_10.probes.json: ")
    assert message in result.error


def test_probes_that_were_not_there_begin_at_the_snapshot(work: Path, dragon: Dragon) -> None:
    assert dragon("train", *SOLVER).code == 0
    assert not list((work / "out").glob("*.probes.json"))
    assert (
        dragon("train", *SOLVER, "--snapshot", "out/x_iter_10.solverstate", "--probe", "weight_norm:every=5").code == 0
    )
    assert [iteration for iteration, _ in values_of(work / "out")] == [10, 15, 20]


def test_a_wrong_probe_is_found_before_the_net_is_made(work: Path, dragon: Dragon) -> None:
    edit(work / "net.prototxt", "Convolution", "Nothing")
    result = dragon("train", *SOLVER, "--probe", "x")
    assert result.code == 2
    assert 'unknown probe "x"' in result.error
