"""The layer type Data."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.database import FromDatabase
from dragon.bases.layer import register
from dragon.data import BatchReader, Color, Prefetcher
from dragon.memory.blob import Blob

__all__ = ["Data"]


@register()
class Data(FromDatabase):
    """Images and labels from a database (`source`), transformed, and read ahead by a thread.

    Tops: data (batch_size, C, H, W) and optionally label (batch_size). Without a crop_size the first record of each
    batch decides the height and width of the batch.
    """

    type = "Data"
    settings = ("data_param", "transform_param")
    takes_share = True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.data_param
        self.check_database()
        with self.naming_errors():
            transformer = self.transformer()
            source = self.open_database()
            try:
                color = Color.COLOR if p.force_encoded_color else None
                rows = self.rows(p.batch_size)
                reader = BatchReader(source, transformer, rows, color, self.context.share)
                self.skip_some(reader, len(source))
            except BaseException:
                source.close()
                raise
            self.batches, self.maker = Prefetcher(reader, p.prefetch), reader.maker
        top[0].reshape(rows, *reader.shape)
        if len(top) > 1:
            top[1].reshape(rows)
