"""`dragon zoo list`: lists the nets of the zoo."""

from __future__ import annotations

from typing import Any

import click

from dragon.models import zoo
from dragon.models.facts import ROOT, read_facts
from dragon.models.recipes import read_recipe
from dragon.tools.common.json_output import json_option
from dragon.tools.common.tables import table

__all__ = ["command", "entry_of"]

_STATES = ("here", "web", "none")


@click.command("list")
@click.option("--task", metavar="TASK", help="Only nets for this, such as classification or detection.")
@click.option("--dataset", metavar="NAME", help="Only nets for this data set, such as cifar10 or imagenet.")
@click.option("--weights", type=click.Choice(_STATES), help="Only nets whose weights are here, on the web, or nowhere.")
@json_option
def command(task: str | None, dataset: str | None, weights: str | None) -> list[dict[str, Any]]:
    """List the nets of the zoo.

    parameters: learned values. multiply-adds: of one sample. accuracy: of the weights that Dragon trained, on the test
    set; reference: what others published. weights: here (shipped or downloaded), web (an address is known), none.

    \b
    Example: dragon zoo list --dataset cifar10
    """
    wanted = {"task": task, "dataset": dataset, "weights": weights}
    entries = [
        entry
        for entry in map(entry_of, zoo.names(ROOT))
        if all(value is None or entry[key] == value.lower() for key, value in wanted.items())
    ]
    rows = [
        [
            entry["name"],
            entry["task"],
            entry["dataset"],
            f"{entry['parameters']:,}",
            f"{entry['multiply_adds']:,}",
            _percent(entry["accuracy"]),
            _percent(entry["reference_accuracy"]),
            entry["weights"],
        ]
        for entry in entries
    ]
    head = ["name", "task", "dataset", "parameters", "multiply-adds", "accuracy", "reference", "weights"]
    click.echo(table(head, rows, left=(0, 1, 2, 7)) if rows else "the zoo has no such net")
    return entries


def entry_of(name: str) -> dict[str, Any]:
    """The line of a net, by the names of its columns."""
    facts, recipe = read_facts(name, ROOT), read_recipe(name, ROOT)
    listed = zoo.offers(name, ROOT)
    here = any(offer.path.is_file() for offer in listed)
    return {
        "name": name,
        "task": facts.task,
        "dataset": facts.dataset,
        "parameters": facts.deployed,
        "multiply_adds": facts.multiply_adds,
        "accuracy": None if recipe is None else recipe.accuracy,
        "reference_accuracy": facts.reference_accuracy,
        "weights": "here" if here else "web" if any(offer.url for offer in listed) else "none",
    }


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"
