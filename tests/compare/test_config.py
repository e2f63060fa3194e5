"""Comparison files: what they may say, and one line for every mistake."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from dragon.compare.plan import Plan, make_plan
from dragon.compare.reading import read_comparison
from dragon.engines.base import MOST_THREADS
from dragon.errors import DragonError, UsageError
from dragon.proto import dragon_pb2 as pb


def plan_of(path: Path) -> Plan:
    return make_plan(read_comparison(path), "numpy", "fp32")


def replaced(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_runs_are_variants_rates_and_seeds(comparison: Path) -> None:
    replaced(comparison, "name: A", "seeds: [3, 4]\nlearning_rates: [1e-3, 0.1]\niterations: 20\nname: A")
    plan = plan_of(comparison)
    assert [(r.variant, r.base_lr, r.seed) for r in plan.runs[:4]] == [
        ("plain", 0.001, 3),
        ("plain", 0.001, 4),
        ("plain", 0.1, 3),
        ("plain", 0.1, 4),
    ]
    assert len(plan.runs) == 12
    assert {r.solver.max_iter for r in plan.runs} == {20}
    assert plan.runs[0].solver.base_lr == pytest.approx(0.001)
    assert plan.dataset == "synthetic"
    assert plan.synthetic
    assert [r.start_from is not None for r in plan.runs] == [False] * 8 + [True] * 4
    assert [r.batch_statistics for r in plan.runs] == [False] * 4 + [True] * 8


def test_overrides(comparison: Path) -> None:
    replaced(
        comparison,
        "    net: merged.prototxt",
        "    net: merged.prototxt\n    set: {momentum: 0.5, stepvalue: [3, 4], lr_policy: multistep}\n"
        "    layers: {BN: {batch_norm_param: {eps: 1e-10, average: CUMULATIVE}}}",
    )
    run = plan_of(comparison).first("merged")
    assert run.solver.momentum == pytest.approx(0.5)
    assert list(run.solver.stepvalue) == [3, 4]
    (bn,) = (layer for layer in run.solver.train_net_param.layer if layer.type == "BN")
    assert bn.batch_norm_param.eps == pytest.approx(1e-10)
    assert bn.batch_norm_param.average == pb.CUMULATIVE


def test_schedule_in_proportion(comparison: Path) -> None:
    solver = comparison.with_name("solver.prototxt")
    replaced(solver, "max_iter: 10", "max_iter: 10 stepvalue: 8")
    replaced(comparison, "name: A", "iterations: 100\nscale_schedule: true\nname: A")
    assert list(plan_of(comparison).runs[0].solver.stepvalue) == [80]
    assert list(plan_of(comparison).with_iterations(50).runs[0].solver.stepvalue) == [40]


def test_a_schedule_beyond_what_a_field_takes_ends_there(comparison: Path) -> None:
    solver = comparison.with_name("solver.prototxt")
    replaced(solver, "max_iter: 10", "max_iter: 10 stepvalue: 2000000000 stepsize: 2000000000")
    replaced(comparison, "name: A", "iterations: 2000000000\nscale_schedule: true\nname: A")
    found = plan_of(comparison).runs[0].solver
    assert (list(found.stepvalue), found.stepsize) == ([2**31 - 1], 2**31 - 1)


def test_a_type_is_overridden_under_every_name(comparison: Path) -> None:
    replaced(
        comparison, "net: merged.prototxt", "net: merged.prototxt\n    layers: {SyncBN: {batch_norm_param: {eps: 0.5}}}"
    )
    merged = next(run for run in plan_of(comparison).runs if run.variant == "merged")
    bn = next(layer for layer in merged.solver.train_net_param.layer if layer.type == "BN")
    assert bn.batch_norm_param.eps == 0.5


def test_only_changed_definitions_get_new_ids(comparison: Path) -> None:
    before = {r.variant: r.id for r in plan_of(comparison).runs}
    replaced(
        comparison, "net: split.prototxt", "net: split.prototxt\n    layers: {conv: {convolution_param: {pad: 1}}}"
    )
    after = {r.variant: r.id for r in plan_of(comparison).runs}
    assert before["plain"] == after["plain"]
    assert before["split"] != after["split"]
    assert before["merged"] != after["merged"], "it starts from the weights of split"


def swap(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new)


def add(line: str) -> Callable[[str], str]:
    return lambda text: f"{text}    {line}\n"


MISTAKES: dict[str, tuple[Callable[[str], str], str]] = {
    "unknown key": (
        swap("name: A", "sedes: [1]\nname: A"),
        r'small\.yaml:2: unknown key "sedes" \(did you mean "seeds"\?\)',
    ),
    "unknown variant key": (
        swap("    net: split", "    nett: split"),
        r'yaml:9: unknown key "variants\[1\]\.nett" \(did you mean "net"',
    ),
    "no variants": (lambda text: text[: text.index("variants")], '"variants" is missing'),
    "missing file": (swap("split.prototxt", "spilt.prototxt"), r"yaml:9: .* no such file: spilt\.prototxt"),
    "wrong type": (swap("name: A", "iterations: many\nname: A"), "whole number of at least 1, got 'many'"),
    "too many threads": (
        swap("net: split.prototxt", "net: split.prototxt\n    threads: 100000"),
        rf'yaml:10: "variants\[1\]\.threads" must be a whole number of at most {MOST_THREADS}, got 100000$',
    ),
    "bad rate": (swap("name: A", "learning_rates: [fast]\nname: A"), "positive numbers, got 'fast'"),
    "bad pair": (swap("[split, merged]", "[split, merge]"), r'"merge" \(did you mean "merged"\?\)'),
    "bad budget": (swap("name: A", "budget: soon\nname: A"), "must be a time such as"),
    "twice": (swap("name: split", "name: plain"), '"plain" is named twice'),
    "not yaml": (lambda text: text + "\n  ]", r"small\.yaml:\d+:\d+: "),
    "unknown solver field": (
        add("set: {momentun: 1}"),
        r'SolverParameter has no field "momentun" \(did you mean "momentum"',
    ),
    "unknown layer": (add("layers: {bnn: {name: x}}"), r'no layer of this name or type \(did you mean "bn"'),
    "unknown layer field": (
        add("layers: {bn: {batch_norm_param: {epsi: 1}}}"),
        r'has no field "epsi" \(did you mean "eps"',
    ),
    "a layer field of no layer": (
        add("layers: {conv: {batch_norm_param: {eps: 1}}}"),
        r'yaml:12: "variants\[2\]\.layers\.conv\.batch_norm_param": Convolution does not read batch_norm_param: the '
        r"type reads convolution_param",
    ),
    "wrong average": (
        add("layers: {bn: {batch_norm_param: {average: EMMA}}}"),
        r"""yaml:12: .*"average" is one of CAFFE, EMA, CUMULATIVE, LATEST, got 'EMMA' \(did you mean "EMA"\?\)$""",
    ),
    "wrong kind of value": (
        add("layers: {bn: {batch_norm_param: 3}}"),
        r'yaml:12: .*"batch_norm_param" is a mapping of fields to values, got 3$',
    ),
    "empty value": (add("layers: {bn: {batch_norm_param: {eps: }}}"), r'yaml:12: .*"eps" has no value$'),
    "a number of seeds": (
        swap("name: A", "seeds: 3\nname: A"),
        r'yaml:2: "seeds" must be a list such as \[1, 2, 3\], or \{first: 1, count: 3\}, got 3$',
    ),
    "engine": (
        add("set: {solver_mode: GPU}"),
        r'yaml:12: .*solver_mode" has no effect: --engine of the command decides',
    ),
    "unknown rule": (add("set: {type: Admn}"), r'yaml:10: variant "merged": type is one of .*did you mean "Adam"'),
    "wrong value": (add("set: {max_iter: soon}"), r"yaml:12: .*max_iter"),
    "no data": (
        swap("dataset: ", "dataset: /nowhere"),
        r'yaml:\d+: variant "plain": the data folder ".*" does not exist',
    ),
    "data in a file": (
        lambda text: re.sub("dataset: .*", "dataset: solver.prototxt", text),
        r"solver\.prototxt\" is a file, expected a folder made by `dragon data`$",
    ),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_mistakes_are_one_line(what: str, comparison: Path) -> None:
    change, expected = MISTAKES[what]
    comparison.write_text(change(comparison.read_text()))
    with pytest.raises(DragonError, match=expected) as caught:
        plan_of(comparison)
    assert "\n" not in str(caught.value)


# nine aliases of nine aliases of ...: 9^9 values
LAUGHS = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}' if i else 'x'] * 9)}]" for i in range(9))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("iterations: !!int abc", "'abc' is no"),
        ("budget: !!timestamp x", "'x' is no"),
        ("name: !!binary ä", "no|binary|ascii"),
        ("iterations: " + "9" * 5000, "is no"),
        ("iterations: 99999999999", "must be a whole number of at most 2147483647"),
        ("seeds: [1, 99999999999]", "must be whole numbers of at most 2147483647"),
        ("learning_rates: [" + "9" * 400 + "]", "must be positive numbers, got a number of very many digits"),
        ("budget: " + "9" * 400 + " h", "must be a time"),
        ("set: &a [*a]", "levels, aliases written out"),
        ("set: &a {b: *a}", "levels, aliases written out"),
        (LAUGHS, "values, aliases written out"),
        ("a: " + "[" * 2000, "nested too deeply|levels"),
        ("? [a, b]\n: c", "a key must be a string"),
        ("solver: " + "x" * 5000, "no such file"),
        ("equal: {a: b}", r"""\"equal" must be a pair of variants or a list of pairs, got \[\{'a': 'b'\}\]$"""),
        ("equal: [{a: b}, a]", r"""\"equal" names no variant: "\{'a': 'b'\}"$"""),
        ("<<: 3", 'c.yaml:2: "<<" takes a mapping'),
        (r'claim: "\ud83d"', r"c.yaml:2: '\\ud83d' is no text: it has the character"),
        (r'"\ud83d": 3', r"c.yaml:2: '\\ud83d' is no text"),
        (r'claim: "a\0b"', r"c.yaml:2: 'a\\x00b' is no text: it has the character '\\x00'"),
        ("factors: {how: {'': {}}}", "c.yaml:2: the name of a factor or level is one line of text, got ''"),
        (r'factors: {how: {"a\n": {}}}', r"is one line of text, got 'a\\n'"),
        (r'factors: {"a\nb": {a: {}}}', r"is one line of text, got 'a\\nb'"),
        ("picture: {metrics: [3]}", '"picture.metrics" must be words, got 3'),
        ("averages: [[1]]", "unknown rule"),
        ("seeds: []", '"seeds" is an empty list'),
        ("seeds: {count: }", r'c.yaml:2: "seeds.count" has no value'),
        ("stop: {chance: }", r'c.yaml:2: "stop.chance" has no value'),
        ("stop: {chance: {accuracy: , at: 5}}", r'c.yaml:2: "stop.chance.accuracy" has no value'),
        ("contrasts: [{metric: m, of: }]", r'c.yaml:2: "contrasts\[0\].of" has no value'),
        ("learning_rates: []", '"learning_rates" is an empty list'),
    ],
)
def test_yaml_that_takes_too_much_or_converts_to_nothing(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    for name in ("s.prototxt", "n.prototxt"):
        (tmp_path / name).write_text("")
    head, variant = "solver: s.prototxt\n", "variants:\n  - name: a\n    net: n.prototxt\n"
    if text.startswith("averages"):
        path.write_text(f"{head}{variant}    {text}\n")
    else:
        path.write_text(f"{'' if text.startswith('solver') else head}{text}\n{variant}")
    with pytest.raises(UsageError, match=message) as caught:
        read_comparison(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 6000


def test_merge_keys_take_over_a_mapping(comparison: Path) -> None:
    """YAML's `<<`: what stands in the mapping itself comes first, then the first of those that are merged."""
    text = comparison.read_text()
    for old, new in (
        ("name: plain", "&plain\n    name: plain\n    set: &set {momentum: 0.1, gamma: 0.2}"),
        ("name: split", "<<: *plain\n    name: split"),
        ("name: merged", "name: merged\n    set: {gamma: 0.5, <<: [*set, {gamma: 0.3, power: 0.4}]}"),
    ):
        assert f"  - {old}\n" in text
        text = text.replace(f"  - {old}\n", f"  - {new}\n")
    comparison.write_text(text)
    solvers = [plan_of(comparison).first(name).solver for name in ("plain", "split", "merged")]
    assert [solver.momentum for solver in solvers] == pytest.approx([0.1, 0.1, 0.1])
    assert [solver.gamma for solver in solvers] == pytest.approx([0.2, 0.2, 0.5])
    assert solvers[2].power == pytest.approx(0.4)
