"""`dragon zoo verify`: checks the weights of the zoo that lie on this machine."""

from __future__ import annotations

import click

from dragon.bases.layer import TEST
from dragon.counting import how_many
from dragon.data.download import check_digest
from dragon.errors import DataError, DragonError
from dragon.files.weights import load_weights
from dragon.graph.net import Net
from dragon.models import zoo
from dragon.models.facts import ROOT, without_fillers
from dragon.proto.text import read_net
from dragon.tools.common.tables import table

__all__ = ["command"]


@click.command("verify")
@click.argument("names", nargs=-1, metavar="[NAME]...")
def command(names: tuple[str, ...]) -> int:
    """Check the weights of the nets NAME, or all that are here: their checksums, and whether their blobs fit the nets.

    The exit status is 2 if a file is wrong.
    """
    for name in names:
        zoo.file_of(name, zoo.DEPLOY, ROOT)
    rows, wrong = [], 0
    for name in names or zoo.names(ROOT):
        files = [offer for offer in zoo.offers(name, ROOT) if offer.path.is_file()]
        if not files and names:
            zoo.require_weights(name, ROOT)
        for offer in files:
            checksum, blobs = _checksum(offer), _blobs(name, offer)
            wrong += "WRONG" in checksum or "WRONG" in blobs
            rows.append([name, checksum, blobs, offer.path])
    click.echo(table(["net", "checksum", "blobs", "file"], rows, left=(0, 1, 2, 3)) if rows else "no weights are here")
    if wrong:
        raise DataError(f"wrong: {wrong} of {how_many(len(rows), 'file')}; remove what is wrong, and download it again")
    return 0


def _checksum(offer: zoo.Offer) -> str:
    if offer.checksum is None or offer.member is not None:
        return "unknown"
    try:
        with offer.path.open("rb") as content:
            check_digest(offer.path.name, content, offer.checksum[1], offer.checksum[0])
    except DataError:
        return f"WRONG {offer.checksum[0]}"
    return f"{offer.checksum[0]} ok"


def _blobs(name: str, offer: zoo.Offer) -> str:
    """Whether the file has the blobs of every layer of the net that has weights."""
    definition = without_fillers(read_net(zoo.file_of(name, zoo.DEPLOY, ROOT)))
    with Net(definition, phase=TEST, engine="numpy", seed=1) as net:
        try:
            loaded = load_weights(net, [offer.path])
        except DragonError as error:
            return f"WRONG: {error}"
        missing = [layer for layer in net.params if layer not in loaded]
    return f"WRONG: none for {', '.join(missing[:3])}" if missing else "fit"
