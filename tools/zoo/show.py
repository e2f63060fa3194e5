"""`dragon zoo show`: shows what a net of the zoo is."""

from __future__ import annotations

import click

from dragon.counting import how_many
from dragon.files.reading import read_text
from dragon.models import zoo
from dragon.models.facts import ROOT, read_facts
from dragon.models.recipes import read_recipe

__all__ = ["command"]


@click.command("show")
@click.argument("name", metavar="NAME")
def command(name: str) -> None:
    """Show the net NAME: its readme, counts, weights with their checksums, and commands that use it.

    \b
    Example: dragon zoo show lenet
    """
    folder = zoo.file_of(name, zoo.DEPLOY, ROOT).parent
    facts = read_facts(name, ROOT)
    click.echo(read_text(folder / "readme.md").split("---\n", 2)[2].strip())
    click.echo("")
    click.echo(f"task           {facts.task} ({facts.dataset})")
    click.echo(f"input          {facts.input}")
    statistics = f" + {how_many(facts.statistics, 'running statistic')}" if facts.statistics else ""
    click.echo(f"parameters     {facts.deployed:,}{statistics}")
    click.echo(f"multiply-adds  {facts.multiply_adds:,}")
    if facts.reference_accuracy is not None:
        click.echo(f"reference      {100 * facts.reference_accuracy:.1f} % ({facts.reference_source})")
    click.echo(f"folder         {folder}")
    click.echo("\nweights")
    for line in _weights(name):
        click.echo(f"  {line}")
    click.echo("\ncommands")
    for line in _commands(name, facts.task):
        click.echo(f"  {line}")


def _weights(name: str) -> list[str]:
    """Lines about the weights."""
    lines: list[str] = []
    recipe = read_recipe(name, ROOT)
    for offer in zoo.offers(name, ROOT):
        state = "here" if offer.path.is_file() else "not here"
        lines.append(f"{offer.what} ({state}: {offer.path})")
        if offer.url:
            lines.append(f"  address   {offer.url}")
        checksum = " ".join(offer.checksum) if offer.checksum else "unknown: nobody has published one"
        lines.append(f"  checksum  {checksum}{' of the archive' if offer.checksum and offer.member else ''}")
        if offer.license:
            lines.append(f"  license   {offer.license}")
    if recipe is not None:
        accuracy = "" if recipe.accuracy is None else f"; accuracy {100 * recipe.accuracy:.2f} %"
        lines.append(
            f"recipe: `dragon zoo train {name}`, seed {recipe.seed}, {recipe.engine}, {recipe.precision},"
            f" {how_many(recipe.threads, 'thread')}, about {how_many(recipe.minutes, 'minute')}{accuracy}"
        )
    return lines or [zoo.how_to_get(name, ROOT)]


def _commands(name: str, task: str) -> list[str]:
    """Command lines that use the net."""
    lines = [f"dragon summarize --model {name}"]
    if zoo.find_weights(name, ROOT) is not None:
        if task == "classification":
            lines.append(f"dragon classify --model {name} IMAGE")
        lines.append(f"dragon export --model {name} --onnx {name}.onnx")
    elif any(offer.is_direct for offer in zoo.offers(name, ROOT)):
        lines.append(f"dragon zoo download {name}")
    lines.append(f"dragon zoo run {name}")
    if (ROOT / name / zoo.SOLVER).is_file():
        lines.append(f"dragon train --solver {name}")
    return lines
