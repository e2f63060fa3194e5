"""`dragon compare --set`: every variant's solver and nets are changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragon.compare import compare
from dragon.compare.about import command_line
from dragon.compare.plan import make_plan
from dragon.compare.reading import read_experiment
from dragon.compare.solver_fields import with_assignments
from dragon.errors import UsageError
from dragon.proto.assign import Assignment

FACTOR = "\nfactors: {base_lr: [0.1, 0.2]}\n"


def changed(path: Path, *texts: str) -> list[str]:
    """The keys of the runs."""
    experiment = with_assignments(read_experiment(path), map(Assignment.parse, texts))
    plan = make_plan(experiment, "numpy", "fp32")
    for run in plan.runs:
        for layer in run.solver.train_net_param.layer:
            if layer.name == "conv":
                assert layer.convolution_param.num_output == (6 if texts else 4)
        assert run.solver.momentum == pytest.approx(0.5 if texts else 0.9)
    assert experiment.net_changes is not None
    experiment.net_changes.check()
    return [run.id for run in plan.runs]


def test_solver_and_nets_of_every_variant(comparison: Path) -> None:
    before = changed(comparison)
    after = changed(comparison, "momentum=.5", "conv.num_output=6", "bn.eps=1e-3")  # plain has no layer bn
    assert len(after) == len(before)
    assert not set(after) & set(before)  # runs with other settings are not taken from the store


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("random_seed=3", '"seeds" of the experiment decides it'),
        ("snapshot=3", "an experiment decides it by itself"),
        ("base_lr=3", "the experiment varies it"),
        ("cnov.num_output=3", 'no layer has the name or type "cnov" (did you mean "conv"?)'),
        ("momentun=3", 'SolverParameter has no field "momentun" (did you mean "momentum"?)'),
    ],
)
def test_mistakes(comparison: Path, tmp_path: Path, text: str, message: str) -> None:
    comparison.write_text(comparison.read_text() + FACTOR)
    with pytest.raises(UsageError) as raised:
        compare(comparison, tmp_path / "out", engine="numpy", assignments=[text])
    assert str(raised.value).startswith(f"--set {text}: ")
    assert message in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_the_command_that_a_report_shows() -> None:
    assert (
        command_line("x", {"set": ["a=1", "b=2 3"], "quick": True})
        == "dragon compare x --set a=1 --set 'b=2 3' --quick"
    )
