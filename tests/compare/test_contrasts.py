"""Expectations, verdicts, Holm's correction, selections and sentences."""

from __future__ import annotations

from typing import Any

import pytest

from dragon.compare.contrasts import conclude, evaluate_contrasts, holm, select
from dragon.compare.expectation import parse_expectation
from dragon.compare.paired import estimate
from dragon.errors import UsageError

BN = [0.743, 0.752, 0.740, 0.739, 0.741]
PLAIN = [0.684, 0.690, 0.681, 0.675, 0.690]


def cell(variant: str, accuracy: list[float | None], **levels: Any) -> dict[str, Any]:
    seeds = list(range(1, len(accuracy) + 1))
    return {
        "variant": variant,
        "levels": levels,
        "seeds": seeds,
        "diverged": 0,
        "metrics": {
            "accuracy": {"values": accuracy},
            "gap": {"values": [None if v is None else v / 10 for v in accuracy]},
            "steps": {"values": [200 for _ in accuracy]},
        },
    }


def one(contrast: dict[str, Any], cells: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    (found,) = evaluate_contrasts([{"metric": "accuracy", **contrast}], cells, **more)
    return found


BOTH = {"of": {"variant": "merged BN"}, "against": {"variant": "plain"}}
CELLS = [cell("merged BN", [*BN]), cell("plain", [*PLAIN])]


def test_sentence_and_verdict() -> None:
    found = one({**BOTH, "expect": "> 0", "primary": True}, CELLS)
    assert found["verdict"] == "agrees"
    assert found["sentence"] == (
        "merged BN reached 74.3 % against 68.4 % for plain: 5.9 points more (95 % interval 5.3 to 6.5, 5 seeds)."
    )
    assert conclude([found])["headline"] == found["sentence"]
    swapped = one({"of": BOTH["against"], "against": BOTH["of"], "expect": "> 0"}, CELLS)
    assert swapped["verdict"] == "disagrees"
    assert "5.9 points less (95 % interval 5.3 to 6.5, 5 seeds)" in swapped["sentence"]
    assert one({**BOTH, "expect": "> 0.06"}, CELLS)["verdict"] == "undecided"


def test_p_values_go_by_the_bound_that_is_expected() -> None:
    found = one({**BOTH, "expect": "> 0.05"}, CELLS)
    reference = estimate(BN, PLAIN)
    assert found["p"] == reference.p(0.05)
    assert one(BOTH, CELLS)["p"] == reference.p(0)
    assert one({"of": BOTH["of"]}, CELLS)["p"] is None


@pytest.mark.parametrize(
    ("text", "interval", "verdict"),
    [
        ("> 0", (0.1, 1), "agrees"),
        ("> 0", (0, 1), "undecided"),
        (">= 0", (0, 1), "agrees"),
        ("> 0", (-1, 0), "disagrees"),
        (">= 0", (-1, 0), "undecided"),
        ("< 45 %", (0.3, 0.44), "agrees"),
        ("< .45", (0.46, 0.5), "disagrees"),
        ("within 0.01", (-0.01, 0.01), "agrees"),
        ("within 0.01", (-0.01, 0.02), "undecided"),
        ("within 0.01", (0.02, 0.03), "disagrees"),
        ("within 1e-2 of 1.467", (1.46, 1.47), "agrees"),
        ("within 0.02 of -1", (-0.5, 0.5), "disagrees"),
    ],
)
def test_verdicts(text: str, interval: tuple[float, float], verdict: str) -> None:
    assert parse_expectation(text).verdict(*interval) == verdict


@pytest.mark.parametrize("text", ["", "more", "> ", "> x", "within 0", "within -1", ">> 1", "> 1 2", "> nan"])
def test_what_is_no_expectation(text: str) -> None:
    with pytest.raises(UsageError, match='"expect" is such as'):
        parse_expectation(text)


def test_equivalence_of_a_ratio_is_around_one() -> None:
    cells = [cell("a", [1.0, 2.0, 3.0]), cell("b", [1.01, 2.0, 2.99])]
    found = one({"of": {"variant": "a"}, "against": {"variant": "b"}, "scale": "ratio", "expect": "within 0.05"}, cells)
    assert found["verdict"] == "agrees"
    assert found["p"] < 0.05
    wide = one({"of": {"variant": "a"}, "against": {"variant": "b"}, "expect": "within 0.001"}, cells)
    assert wide["verdict"] == "undecided"
    assert wide["p"] > 0.05


def test_two_seeds_decide_nothing_unless_none_is_needed() -> None:
    cells = [cell("a", [1.467, 1.468]), cell("b", [1.0, 1.0])]
    contrast = {"of": {"variant": "a"}, "expect": "within 0.01 of 1.467"}
    found = one(contrast, cells)
    assert found["verdict"] == "undecided"
    assert "2 seeds cannot decide it: three are the least." in found["sentence"]
    exact = one({**contrast, "deterministic": True}, cells)
    assert exact["verdict"] == "agrees"
    assert "seeds play no part" in exact["sentence"]
    assert exact["p"] is None
    assert one({**contrast, "expect": "within 0.0005 of 1.467", "deterministic": True}, cells)["verdict"] == "undecided"


def test_undecided_says_how_many_seeds_would_do() -> None:
    cells = [cell("a", [0.70, 0.74, 0.71, 0.75]), cell("b", [0.70, 0.70, 0.70, 0.70])]
    found = one({"of": {"variant": "a"}, "against": {"variant": "b"}, "expect": "> 0"}, cells)
    assert found["verdict"] == "undecided"
    # sd .0238, mean .025: (2.306 + .889) * .0238 / 9**.5 = .0253, with 10: (2.262 + .883) * .0238 / 10**.5 = .0237
    assert found["seeds_for"]["n"] == 10
    assert "About 10 seeds would decide it in 80 % of cases, if mean and spread are as found." in found["sentence"]


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, None, 0.03]) == pytest.approx([0.03, 0.06, None, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_leaves_the_primary_contrast_out() -> None:
    c = {"metric": "accuracy", **BOTH, "expect": "> 0.0555"}
    primary, first, second = evaluate_contrasts([{**c, "primary": True}, c, {**c, "expect": "> 0.05"}], CELLS)
    assert primary["p_holm"] is None
    assert first["p_holm"] == first["p"], "the larger of two"
    assert second["p_holm"] == 2 * second["p"]


def test_cells_average_seed_by_seed_and_missing_values_are_counted() -> None:
    cells = [
        cell("a", [0.5, 0.6, 0.7, None], batch_size=2), cell("a", [0.7, 0.8, 0.9, 0.9], batch_size=8),
        cell("b", [0.5, 0.5, 0.6, 0.5], batch_size=2),
    ]  # fmt: skip
    found = one({"of": {"variant": "a"}, "against": {"variant": "b"}}, cells)
    assert found["values"] == pytest.approx([0.1, 0.2, 0.2])
    assert (found["n"], found["missing"]) == (3, 1)
    assert "Without a value: 1 seed." in found["sentence"]
    assert select(cells, {"variant": "a", "batch_size": 8.0}) == [cells[1]]
    levels = {"of": {"variant": "a", "batch_size": 8}, "against": {"variant": "a", "batch_size": 2}}
    assert "a at batch_size 8 reached 80.0 % against 60.0 % for a at batch_size 2" in one(levels, cells)["sentence"]


def test_runs_pair_by_seed_not_by_place() -> None:
    a, b = cell("a", [1.0, 2.0, 3.0]), cell("b", [3.0, 2.0, 1.0])
    b["seeds"] = [3, 2, 1]
    assert one({"of": {"variant": "a"}, "against": {"variant": "b"}}, [a, b])["values"] == [0, 0, 0]


def test_metrics_over_a_factor() -> None:
    cells = [cell(v, [0.5] * 3, base_lr=rate) for v in ("bn", "plain") for rate in (0.1, 0.01)]
    factor = [
        {"variant": "bn", "metric": "range", "values": [30.0, 100.0, 30.0]},
        {"variant": "plain", "metric": "range", "values": [3.0, 3.0, 3.0]},
    ]
    contrast = {"metric": "range", "of": {"variant": "bn"}, "against": {"variant": "plain"}, "scale": "ratio"}
    found = one({**contrast, "expect": "> 2"}, cells, factor_metrics=factor)
    assert found["mean"] == pytest.approx((10 * 100 / 3 * 10) ** (1 / 3))
    assert found["verdict"] == "agrees"
    assert "The range of bn is 44.8 against 3 for plain (geometric means): 14.9 times as much" in found["sentence"]


def test_a_ratio_says_that_its_figures_are_geometric_means() -> None:
    cells = [cell("a", [0.1, 0.1, 0.4]), cell("b", [0.1, 0.1, 0.1])]  # the table has 20.0 % for a
    sides = {"of": {"variant": "a"}, "against": {"variant": "b"}}
    sentence = one({**sides, "scale": "ratio"}, cells)["sentence"]
    assert sentence.startswith("a reached 15.9 % against 10.0 % for b (geometric means): 1.59 times as much (95 %")
    assert one(sides, cells)["sentence"].startswith("a reached 20.0 % against 10.0 % for b: 10.0 points more")
    assert "geometric" not in one({**sides, "scale": "ratio"}, [cell("a", [0.2]), cell("b", [0.1])])["sentence"]


def test_diverged_runs_are_named() -> None:
    cells = [cell("a", [0.7, 0.71, 0.72]), cell("b", [0.1, 0.1, 0.6])]
    cells[1]["diverged"] = 2
    found = one({"of": {"variant": "a"}, "against": {"variant": "b"}}, cells)
    assert "Diverged: 2 of 3 runs of b." in found["sentence"]


def test_sides_that_all_diverged_do_not_agree() -> None:
    cells = [cell("a", [0.1, 0.1, 0.1]), cell("b", [0.1, 0.1, 0.1])]
    sides = {"of": {"variant": "a"}, "against": {"variant": "b"}}
    assert one({**sides, "expect": "within 0.01"}, cells)["verdict"] == "agrees"
    for some in cells:
        some["diverged"] = 3
    found = one({**sides, "expect": "within 0.01"}, cells)
    assert found["verdict"] == "undecided"
    assert found["sentence"].endswith(
        "Diverged: 3 of 3 runs of a. Diverged: 3 of 3 runs of b. That both sides are equal says nothing."
    )
    assert one({**sides, "expect": "> 0"}, cells)["verdict"] == "disagrees", "a is expected to train"
    cells[0]["metrics"]["accuracy"]["values"] = [0.3, 0.31, 0.3]  # measured before
    assert one({**sides, "expect": "> 0"}, cells)["verdict"] == "agrees"
    cells[0] |= {"diverged": 2, "metrics": cells[1]["metrics"]}
    assert one({**sides, "expect": "within 0.01"}, cells)["verdict"] == "agrees"


def side(variant: str, metric: str, values: list[float], diverged: bool = False) -> dict[str, Any]:
    """A cell; if its runs diverged, with imputed values."""
    count = len(values) if diverged else 0
    made = {**cell(variant, [*values]), "diverged": count}
    return {**made, "metrics": {metric: {"values": values, **({"imputed": count} if count else {})}}}


@pytest.mark.parametrize(
    ("metric", "worse", "bn", "plain", "expect", "verdict"),
    [
        ("loss", 1, 2.3, 78.6, "< 0", "undecided"),  # chance is better than a net that runs
        ("loss", 1, 2.3, 78.6, "> 0", "undecided"),
        ("loss", 1, 2.3, 2.301, "within 0.01", "undecided"),
        ("loss", 1, 2.3, 0.5, "within 0.01", "disagrees"),
        ("loss", 1, 2.3, 0.5, "> 0", "agrees"),
        ("loss", 1, 2.3, 0.5, "< 0", "disagrees"),
        ("accuracy", -1, 0.1, 0.8, "< 0", "agrees"),
        ("accuracy", -1, 0.1, 0.8, "within 0.02", "disagrees"),
        ("accuracy", -1, 0.1, 0.09, "> 0", "undecided"),
        ("gap", 0, 0.0, 0.2, "< 0", "undecided"),  # of which nobody can say whether chance is good or bad
    ],
)
def test_a_side_that_all_diverged_does_not_win_by_imputed_figures(
    metric: str, worse: int, bn: float, plain: float, expect: str, verdict: str
) -> None:
    cells = [side("bn", metric, [bn] * 3, True), side("plain", metric, [plain, plain * 1.0001, plain * 1.0002])]
    contrast = {"metric": metric, "of": {"variant": "bn"}, "against": {"variant": "plain"}, "expect": expect}
    found = one(contrast, cells, worse={metric: worse})
    assert found["verdict"] == verdict
    reason = "Diverged: 3 of 3 runs of bn. The figures that stand in for the runs of bn decide nothing."
    assert found["sentence"].endswith(reason) == (verdict == "undecided")
    assert found["seeds_for"] is None
    turned = {**contrast, "of": contrast["against"], "against": contrast["of"]}
    if expect[0] in "<>":
        turned["expect"] = ("> " if expect[0] == "<" else "< ") + "0"
    assert one(turned, cells, worse={metric: worse})["verdict"] == verdict


def test_the_level_of_a_side_that_all_diverged_is_no_figure_of_its_own() -> None:
    cells = [side("bn", "loss", [2.3] * 3, True)]
    for expect, verdict in (("< 3", "undecided"), ("within 0.1 of 2.3", "undecided"), ("> 1", "agrees")):
        found = one({"metric": "loss", "of": {}, "expect": expect}, cells, worse={"loss": 1})
        assert found["verdict"] == verdict, expect


def test_a_side_that_diverged_at_all_levels_does_not_win_over_a_factor() -> None:
    cells = [side("bn", "loss", [2.3] * 3, True), side("plain", "loss", [78.0, 79.0, 80.0])]
    over = [
        {
            "variant": one["variant"],
            "levels": {},
            "metric": "best",
            "seeds": [1, 2, 3],
            "values": one["metrics"]["loss"]["values"],
        }
        for one in cells
    ]
    contrast = {"metric": "best", "of": {"variant": "bn"}, "against": {"variant": "plain"}, "expect": "< 0"}
    more = {"factor_metrics": over, "metrics": {"best": {"of": "loss", "over": "base_lr", "take": "min"}}}
    assert one(contrast, cells, **more, worse={"best": 1})["verdict"] == "undecided"


@pytest.mark.parametrize(
    ("lost", "expect", "worse", "verdict"),
    [
        ("merged BN", "> 0", -1, "undecided"),  # its diverged run may be as bad as can be
        ("plain", "> 0", -1, "agrees"),  # the worse plain is, the more it holds
        ("plain", "> 0.04", -1, "agrees"),
        ("plain", "within 0.1", -1, "undecided"),
        ("merged BN", "< 0", -1, "undecided"),
        ("plain", "< 0", -1, "disagrees"),
        ("plain", "> 0", 0, "undecided"),  # where worse runs have it cannot be said
        ("plain", "> 0", 1, "undecided"),
        ("", "> 0", 0, "agrees"),
    ],
)
def test_a_verdict_does_not_rest_on_leaving_out_a_diverged_run(
    lost: str, expect: str, worse: int, verdict: str
) -> None:
    cells = [cell("merged BN", [*BN]), cell("plain", [*PLAIN])]
    for one_side in cells:
        if one_side["variant"] == lost:
            one_side["diverged"] = 1
            one_side["metrics"]["accuracy"]["values"][2] = None
    found = one({**BOTH, "expect": expect}, cells, worse={"accuracy": worse})
    assert found["verdict"] == verdict
    said = f"Without the runs of {lost} that diverged the others decide nothing." in found["sentence"]
    assert said == (verdict == "undecided")
    assert found["seeds_for"] is None or not lost


def test_sides_whose_tests_all_give_nan_do_not_agree() -> None:
    cells = [side("a", "loss", [2.3] * 3), side("b", "loss", [2.3] * 3)]
    for one_side in cells:
        one_side["metrics"]["loss"]["imputed"] = 3
    contrast = {"metric": "loss", "of": {"variant": "a"}, "against": {"variant": "b"}, "expect": "within 0.1"}
    (found,) = evaluate_contrasts([contrast], cells)
    assert (found["verdict"], found["sentence"].endswith("both sides are equal says nothing.")) == ("undecided", True)


def test_holm_counts_contrasts_that_can_be_decided() -> None:
    """One of two seeds, or of runs that diverged without a figure, claims nothing: the others pay nothing for it."""
    first = {"metric": "accuracy", **BOTH, "expect": "> 0"}
    alone = evaluate_contrasts([first], CELLS)[0]
    few = [*CELLS, cell("few", [0.5, 0.6])]
    found = evaluate_contrasts([first, {**first, "of": {"variant": "few"}}], few)
    assert found[0]["p_holm"] == alone["p_holm"] == alone["p"]
    assert found[1]["p"] is not None
    assert found[1]["p_holm"] is None
    diverged = {**cell("diverged", [*BN[:4], None]), "diverged": 1}
    found = evaluate_contrasts([first, {**first, "of": {"variant": "diverged"}}], [*CELLS, diverged])
    assert (found[0]["p_holm"], found[1]["p_holm"]) == (alone["p"], None)


def test_runs_that_never_got_there_are_counted_and_decide_nothing() -> None:
    cells = [cell("a", [0.3] * 3), cell("b", [0.3] * 3)]
    contrast = {
        "metric": "steps",
        "scale": "ratio",
        "of": {"variant": "a"},
        "against": {"variant": "b"},
        "expect": "< 1",
    }
    assert one(contrast, cells)["verdict"] == "disagrees"
    for some in cells:
        some["metrics"]["steps"]["never"] = 3
    found = one(contrast, cells)
    assert found["verdict"] == "undecided"
    assert "Never got there: 3 of 3 runs of a. Never got there: 3 of 3 runs of b. That both" in found["sentence"]
    cells[0]["metrics"]["steps"] = {"values": [90, 100, 110], "never": 0}
    found = one(contrast, cells)
    assert found["verdict"] == "agrees"
    assert found["sentence"].endswith("Never got there: 3 of 3 runs of b.")


def test_runs_that_were_stopped_are_named_as_are_those_of_all_variants() -> None:
    cells = [cell("a", [0.7, 0.71, 0.72]), cell("b", [0.1, 0.1, 0.6])]
    cells[0]["stopped"], cells[1]["diverged"] = 1, 2
    found = one({"of": {"variant": "a"}, "against": {"variant": "b"}}, cells)
    assert found["sentence"].endswith("Diverged: 2 of 3 runs of b. Stopped at chance: 1 of 3 runs of a.")
    assert "Diverged: 2 of 6 runs of all variants. Stopped at chance: 1 of 6" in one({"of": {}}, cells)["sentence"]


def test_diverged_runs_of_a_metric_over_a_factor_are_those_of_the_selection() -> None:
    cells = [{**cell("bn", [*BN], rate=rate, eps=eps), "diverged": 1} for rate in (1, 2) for eps in ("small", "usual")]
    entry = {"variant": "bn", "levels": {"eps": "small"}, "metric": "range", "seeds": [1, 2, 3], "values": [2, 3, 4]}
    found = one({"metric": "range", "of": {"variant": "bn", "eps": "small"}}, cells, factor_metrics=[entry])
    assert "Diverged: 2 of 10 runs of bn at eps small." in found["sentence"]


def test_no_figure_is_undecided_and_says_why() -> None:
    cells = [cell("a", [0.0, 0.1, 0.1]), cell("b", [0.1, 0.1, 0.1])]
    contrast = {"of": {"variant": "a"}, "against": {"variant": "b"}, "expect": "> 1"}
    for scale, why in (("ratio", "a ratio needs positive values, got 0"), ("sd_ratio", "values that differ")):
        found = one({**contrast, "scale": scale}, cells)
        assert found["verdict"] == "undecided"
        assert why in found["sentence"]


def test_what_is_a_share_follows_from_the_definitions() -> None:
    metrics = {
        "gap": {"minus": ["train_accuracy", "accuracy"]},
        "steps": {"series": "test/accuracy", "take": "first_at_least"},
    }
    found = one({"metric": "gap", **BOTH}, CELLS, metrics=metrics)
    assert "The gap of merged BN is 7.4 % against 6.8 % for plain: 0.6 points more" in found["sentence"]
    for entry in CELLS:
        entry["metrics"]["steps"] = {"values": [100, 200, 300, 200, 200]}
    assert (
        "is 200 against 200 for plain: no difference"
        in one({"metric": "steps", **BOTH}, CELLS, metrics=metrics)["sentence"]
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"of": {"variant": "plan"}}, r'no variant "plan" \(did you mean "plain"'),
        ({"of": {"variant": "plain", "rate": 1}}, 'no factor "rate"'),
        ({"metric": "acuracy"}, r'no metric "acuracy" \(did you mean "accuracy"'),
        ({"scale": "ratio", "against": None}, 'scale "ratio" needs "against"'),
        ({"scale": "ratio", "expect": "> 0"}, 'a ratio is always above 0, and 1 is no difference: "> 1", not "> 0"'),
        ({"scale": "ratio", "expect": ">= -1"}, '"> 1", not ">= -1"'),
        ({"scale": "sd_ratio", "expect": "<= 0 %"}, '"< 1", not "<= 0 %"'),
        ({"scale": "ratio", "expect": "within 0.1 of -1"}, '"within 0.05", not "within 0.1 of -1"'),
        ({"expect": "better"}, '"expect" is such as'),
    ],
)
def test_wrong_contrasts_are_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        one({**BOTH, **change}, CELLS)


def test_without_contrasts_there_is_no_verdict() -> None:
    assert conclude([]) == {"verdict": None, "headline": "", "seeds_for": None}
