"""`dragon zoo download`: fetches weights of nets of the zoo."""

from __future__ import annotations

import click

from dragon.counting import how_many
from dragon.data.download import download, read_tar
from dragon.errors import DataError, DragonError, UsageError
from dragon.files.atomic import write_atomically
from dragon.files.folders import make_folder
from dragon.files.stored_weights import read_weights
from dragon.models import zoo
from dragon.models.facts import ROOT
from dragon.tools.common.numbers import Real
from dragon.tools.common.progress import progress_bar

__all__ = ["command"]


@click.command("download")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--timeout", type=Real(0), default=30.0, show_default=True,
              help="Seconds without an answer after which it gives up.")  # fmt: skip
def command(names: tuple[str, ...], timeout: float) -> None:
    """Fetch the weights of the nets NAME from the addresses in their readmes, and check them.

    They are kept in `dragon/zoo` of $XDG_CACHE_HOME, by default ~/.cache, and found there by every command that takes
    the name. What is there already is kept; an interrupted download goes on. A file with another checksum than the
    readme's is thrown away. Of an archive only the weights are kept.

    \b
    Example: dragon zoo download squeezenet_v1.1
    """
    for name in names:
        zoo.file_of(name, zoo.DEPLOY, ROOT)
    for name in names:
        _fetch(name, timeout)


def _fetch(name: str, timeout: float) -> None:
    listed = zoo.offers(name, ROOT)
    here = next((offer for offer in listed if offer.path.is_file()), None)
    if here is not None:
        click.echo(f"{name}: here already: {here.path}")
        return
    direct = [offer for offer in listed if offer.is_direct]
    if not direct:
        raise UsageError(f'weights of "{name}" cannot be downloaded: {zoo.how_to_get(name, ROOT)}')
    failures = []
    for offer in direct:
        try:
            _fetch_one(offer, timeout)
        except DataError as error:
            failures.append(str(error))
            continue
        known = f"{offer.checksum[0]} as published" if offer.checksum else "unchecked: no checksum is published"
        click.echo(f"{name}: {offer.path}, {how_many(offer.path.stat().st_size, 'byte')} ({known})")
        return
    raise DataError("; ".join(failures))


def _fetch_one(offer: zoo.Offer, timeout: float) -> None:
    """Raises DataError for a file that cannot be fetched, has another checksum, or holds no weights."""
    make_folder(offer.path.parent)
    algorithm, digest = offer.checksum or ("sha256", None)
    target = offer.path if offer.member is None else offer.path.with_name(f"{offer.path.name}.archive")
    with progress_bar() as progress:
        download(str(offer.url), target, digest, progress, timeout, algorithm)
    if offer.member is not None:
        try:
            write_atomically(offer.path, read_tar(target, [offer.member])[offer.member])
        finally:
            target.unlink(missing_ok=True)
    elif offer.checksum is not None:
        return
    try:
        for _ in read_weights(offer.path):
            pass
    except DragonError as error:
        offer.path.unlink()
        raise DataError(f"{offer.url} gave no weights: {error}") from None
