"""Experiment files that ship can be planned at both sizes, and say what is claimed, by whom, and ask for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragon.compare.config import Experiment
from dragon.compare.listing import list_experiments
from dragon.compare.plan import make_plan
from dragon.compare.probing import check_probes
from dragon.compare.questions import check_questions
from dragon.compare.reading import read_experiment
from dragon.compare.tuning import plan_tuning
from dragon.data import write_synthetic

FILES = {one.name: one.file for one in list_experiments()}
DEMOS = {"demo_cifar10", "demo_mnist"}  # as short as they are
CLAIMS = {
    "adversarial", "affine", "batch_size", "bias", "caffenet128", "cost", "deep_linear", "depth_init", "dragon2016",
    "dropout", "edge", "effective_rate", "ensemble", "eps", "fc", "gamma_beta_start", "gradients_by_layer", "ics",
    "inception_recipe", "initialisation", "jitter", "landscape", "lr_range", "merged_split", "mnist_percentiles",
    "naive_normalisation", "noisy", "norm_free", "only_bn", "optimisers", "placement", "precise_bn", "regulariser",
    "renorm", "same_small_rate", "saturation", "seed004_statistics", "test_batch", "tuned", "ulp", "vgg_rates",
    "whitening",
}  # fmt: skip


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn data set with validation images in place of the real ones."""
    folder = tmp_path_factory.mktemp("drawn")
    write_synthetic(folder, train=20, test=10)
    (folder / "synthetic_val_lmdb").symlink_to(folder / "synthetic_test_lmdb")
    return folder


def check(c: Experiment, folder: Path) -> int:
    """Plan all runs, and return how many there are."""
    plan = make_plan(c, "numpy", "fp32", str(folder))
    check_questions(plan)
    check_probes(c.probes)
    runs = len(plan.runs)
    if c.tune is not None:
        runs += len(plan_tuning(c, c.tune, "numpy", "fp32", str(folder)).runs)
    return runs


@pytest.mark.parametrize("name", FILES)
def test_it_can_be_planned_at_both_sizes(name: str, drawn: Path) -> None:
    full, quick = (check(read_experiment(FILES[name], quick=quick), drawn) for quick in (False, True))
    assert 1 <= quick <= full


@pytest.mark.parametrize("name", FILES)
def test_it_says_what_is_claimed_and_asks_for_it(name: str) -> None:
    for quick in (False, True):
        c = read_experiment(FILES[name], quick=quick)
        assert all((c.claim, c.source, c.expected, c.description))
        primary = [contrast.expect for contrast in c.contrasts if contrast.primary]
        assert len(primary) == 1
        assert primary[0]
        assert c.picture is not None
    assert name in DEMOS or c.top.section("quick") is not None


def test_each_claim_has_its_file() -> None:
    assert set(FILES) >= CLAIMS | DEMOS
