"""Choices at an end of the grid are named: a wider grid might change the verdict."""

from __future__ import annotations

from typing import Any

from dragon.compare.grid_edges import edge_lines


def entry(variant: str, chosen: dict[str, float], *grid: dict[str, float], **levels: float) -> dict[str, Any]:
    points = [{**point, "score": [0.5], "mean": 0.5} for point in grid]
    return {"variant": variant, "levels": levels, "metric": "accuracy", "grid": points, "chosen": chosen}


RATES = [{"base_lr": rate} for rate in (0.1, 0.01, 0.03)]  # in any order


def test_each_end_is_named_with_all_that_chose_it() -> None:
    tuning = [
        entry("bn", {"base_lr": 0.1}, *RATES),
        entry("group", {"base_lr": 0.03}, *RATES),
        entry("frn", {"base_lr": 0.1}, *RATES, batch_size=4),
        entry("plain", {"base_lr": 0.01}, *RATES),
    ]
    assert edge_lines({"tuning": tuning}) == [
        "bn, frn at batch_size 4: tuning chose the highest base_lr of its grid, 0.1; one beyond it may be better.",
        "plain: tuning chose the lowest base_lr of its grid, 0.01; one beyond it may be better.",
    ]


def test_each_field_has_its_own_ends() -> None:
    grid = [{"base_lr": rate, "weight_decay": decay} for rate in (1, 2, 3) for decay in (0.1, 0.2)]
    (line,) = edge_lines({"tuning": [entry("bn", {"base_lr": 2, "weight_decay": 0.2}, *grid)]})
    assert "highest weight_decay" in line


def test_what_has_no_choice_has_no_edge() -> None:
    assert edge_lines({}) == []
    assert edge_lines({"tuning": None}) == []
    assert edge_lines({"tuning": [entry("bn", {"base_lr": 1}, {"base_lr": 1})]}) == []


def test_nothing_lies_below_zero() -> None:
    grid = [{"momentum": value} for value in (0.0, 0.9)]
    assert edge_lines({"tuning": [entry("bn", {"momentum": 0.0}, *grid)]}) == []
    assert len(edge_lines({"tuning": [entry("bn", {"momentum": 0.9}, *grid)]})) == 1
